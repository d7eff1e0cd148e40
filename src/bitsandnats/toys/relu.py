"""A two-layer ReLU network with data, whose weights can be rescaled without changing the function."""

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from bitsandnats import losses
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task
from bitsandnats.theory.learning_coefficient import regular
from bitsandnats.toys.types import Toy


def relu_pair(
    inputs: int = 3, hidden: int = 4, outputs: int = 2, *, samples: int = 1000, sigma: float = 0.1, seed: int = 0
) -> Toy:
    """W₂ relu(W₁x + b₁) + b₂ at a random noise-free teacher: λ = (d − hidden)/2, m = 1.

    Each hidden unit can be scaled by c > 0 on its way in and by 1/c on its way out, which is one flat direction a unit.
    The Hessian has full rank across these (`tests/truth/test_known_answers.py`), so that the loss is quadratic there.

    Args:
        inputs: of x, standard normal.
        hidden: units; every one is active on a part of the data.
        outputs: of y.
        samples: n, all of them items of the task.
        sigma: s.d. of the noise that the loss assumes on y.
        seed: any non-negative integer.
    """
    random = np.random.default_rng([seed, inputs, hidden, outputs])
    x = torch.as_tensor(random.standard_normal((samples, inputs)))
    first = random.standard_normal((hidden, inputs))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    module = _Pair(
        first=torch.as_tensor(first),
        shift=torch.as_tensor(random.uniform(-0.5, 0.5, hidden)),
        second=torch.as_tensor(random.standard_normal((outputs, hidden)) / hidden**0.5),
        offset=torch.zeros(outputs, dtype=torch.float64),
    )
    with torch.no_grad():
        y = module(x)
    task = Task.from_module(module, losses.gaussian(sigma), (x, y))
    return Toy(
        task=task,
        coefficient=regular(task.dimension - hidden),
        exact=None,
        samples=float(samples),
        summary=f"ReLU network {inputs}-{hidden}-{outputs} at a noise-free teacher",
    )


def rescaled(toy: Toy, scale: float) -> Toy:
    """The same function at other weights: (W₁, b₁) times c and W₂ divided by c. λ does not change.

    Args:
        toy: of `relu_pair`.
        scale: c > 0.

    Raises:
        InputError: c ≤ 0, which is another function, or a toy of another kind.
    """
    if not scale > 0 or set(toy.task.center) != {"first", "shift", "second", "offset"}:
        raise InputError(
            message(expected="a toy of relu_pair and a scale > 0", got=f"scale {scale:g}", do="change one of them")
        )
    factors = {"first": scale, "shift": scale, "second": 1 / scale, "offset": 1.0}
    center = {name: w * factors[name] for name, w in toy.task.center.items()}
    return dataclasses.replace(
        toy, task=toy.task.at(center), summary=f"{toy.summary}, first layer × {scale:g}, second ÷ {scale:g}"
    )


class _Pair(nn.Module):
    def __init__(self, first: Tensor, shift: Tensor, second: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.first, self.shift = nn.Parameter(first), nn.Parameter(shift)
        self.second, self.offset = nn.Parameter(second), nn.Parameter(offset)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs @ self.first.T + self.shift) @ self.second.T + self.offset
