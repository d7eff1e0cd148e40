"""Products of weights: scalar pairs at a regular point, and matrices at zero with λ̂ known at any temperature."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task
from bitsandnats.theory.finite_temperature import conditional_llc, product_llc, two_unit_llc
from bitsandnats.theory.learning_coefficient import copies, reduced_rank, regular
from bitsandnats.toys.types import SAMPLES, Exact, Toy

_ITEMS = 2


def unit_products(*, count: int = 1, samples: float = SAMPLES) -> Toy:
    """L = ½Σ (ab − 1)² at a = b = 1, `count` pairs: minimally singular, λ = 1/2 and m = 1 each.

    Args:
        count: independent pairs.
        samples: n that the toy stands for; the loss does not depend on data.
    """
    one = torch.ones(count, 1, 1, dtype=torch.float64)
    return Toy(
        task=_task(one, one, one),
        coefficient=copies(regular(1), count),
        exact=Exact(((count, product_llc),)),
        samples=float(samples),
        summary=f"{count} linear networks of one weight in and one out, at the map 1",
    )


def zero_products(inputs: int, hidden: int, outputs: int, *, count: int = 1, samples: float = SAMPLES) -> Toy:
    """L = ½Σ ‖BA‖² at A = B = 0: reduced-rank regression at the zero map with white inputs, `count` of them.

    λ and m are those of Aoyagi & Watanabe 2005, λ̂(nβ, γ) is known for one and two hidden units.

    Args:
        inputs: columns of A.
        hidden: 1 or 2, rows of A.
        outputs: rows of B.
        count: independent networks.
        samples: n that the toy stands for; the loss does not depend on data.

    Raises:
        InputError: another number of hidden units, or fewer than two inputs with two of them.
    """
    if hidden not in (1, 2) or inputs < hidden:
        raise InputError(
            message(
                expected="one or two hidden units and at least as many inputs",
                got=f"{hidden} hidden units, {inputs} inputs",
                do="use random_deep_linear with rank 0 for other widths",
            )
        )
    if hidden == 1:
        value = partial(conditional_llc, _square, outputs, (inputs,))
    else:
        value = partial(two_unit_llc, inputs, outputs)
    first = torch.zeros(count, hidden, inputs, dtype=torch.float64)
    second = torch.zeros(count, outputs, hidden, dtype=torch.float64)
    return Toy(
        task=_task(first, second, torch.zeros(count, outputs, inputs, dtype=torch.float64)),
        coefficient=copies(reduced_rank(inputs, hidden, outputs, 0), count),
        exact=Exact(((count, value),)),
        samples=float(samples),
        summary=f"{count} linear networks {inputs}-{hidden}-{outputs} at the zero map",
    )


class _Product(nn.Module):
    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(first.clone()), nn.Parameter(second.clone())

    def forward(self) -> Tensor:
        return self.second @ self.first


@dataclass(frozen=True)
class _Distance:
    """Half the squared distance of the products from their target."""

    target: Tensor

    def __call__(self, model: Callable[[], Any], batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        return (0.5 * (model() - self.target).square().sum()).expand(len(batch))


def _task(first: Tensor, second: Tensor, target: Tensor) -> Task:
    return Task.from_module(_Product(first, second), _Distance(target), torch.zeros(_ITEMS, 1))


def _square(length: Any) -> Any:
    return length**2
