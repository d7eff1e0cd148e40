"""One-neuron networks f(x) = a·φ(bx) around a = b = 0, in independent copies."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.task import Task
from bitsandnats.theory.finite_temperature import conditional_llc
from bitsandnats.theory.learning_coefficient import copies, normal_crossing
from bitsandnats.toys.types import SAMPLES, Exact, Toy

_INPUTS = np.linspace(-2.0, 2.0, 16)
_TORCH = {"tanh": torch.tanh, "relu": torch.relu}


def neurons(activation: Literal["tanh", "relu"], *, count: int = 1, samples: float = SAMPLES) -> Toy:
    r"""L = ½Σ E[(a φ(b x))²] over independent neurons that should stay silent, at a = b = 0: λ = 1/2, m = 2 each.

    The loss is quadratic in a with curvature $h(b)=E[φ(bx)^2]$, even in b as the 16 inputs lie symmetrically in
    [−2, 2], so one integral over b is left of λ̂(nβ, γ).

    Args:
        activation: φ, `tanh` or `relu`.
        count: independent neurons, each with an output of its own.
        samples: n that the toy stands for.
    """
    task = Task.from_module(_Neurons(count), _Silence(activation), torch.as_tensor(_INPUTS)[:, None])
    return Toy(
        task=task,
        coefficient=copies(normal_crossing([1, 1]), count),
        exact=Exact(((count, partial(conditional_llc, partial(_curvature, activation), 1, (1,))),)),
        samples=float(samples),
        summary=f"{count} {activation} neurons, one weight in and one out, with nothing to learn",
    )


class _Neurons(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.incoming = nn.Parameter(torch.zeros(count, dtype=torch.float64))
        self.outgoing = nn.Parameter(torch.zeros(count, dtype=torch.float64))

    def forward(self, inputs: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        return self.outgoing * activation(self.incoming * inputs)


@dataclass(frozen=True)
class _Silence:
    """Half the squared outputs, summed over neurons."""

    activation: str

    def __call__(self, model: Callable[..., Any], batch: Batch) -> Tensor:
        return 0.5 * model(batch, _TORCH[self.activation]).square().sum(1)


def _curvature(activation: str, incoming: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """h(b) = E[φ(bx)²] over the inputs, for b ≥ 0."""
    reached = incoming[..., None] * _INPUTS
    outputs = np.tanh(reached) if activation == "tanh" else np.maximum(reached, 0)
    return (outputs**2).mean(-1)
