"""Losses that are a function of the weights alone, minimal at w* = 0: what a sampler can be checked against."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.task import Task

_ITEMS = 2


class _Point(nn.Module):
    """A bare vector of weights at the origin."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(dimension, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.w


def quadratic(curvature: Sequence[float]) -> Task:
    """L = ½ Σ h_i w_i²: a regular model, λ = ½ #{h_i > 0}.

    Args:
        curvature: h_i ≥ 0.
    """
    h = torch.tensor(curvature, dtype=torch.float64)
    return _task(len(h), lambda w: 0.5 * (h * w.square()).sum())


def minimally_singular(dimension: int) -> Task:
    """L = ½ Σ_{i<d} w_i², flat along the last coordinate: λ = (d − 1)/2."""
    return quadratic([1.0] * (dimension - 1) + [0.0])


def normal_crossing(exponents: Sequence[int]) -> Task:
    """L = Π w_i^{2 k_i}: λ = min 1/(2 k_i), multiplicity the number of minima.

    Args:
        exponents: k_i ≥ 1.
    """
    powers = [2 * k for k in exponents]
    return _task(len(powers), lambda w: torch.stack([w[i] ** p for i, p in enumerate(powers)]).prod())


def _task(dimension: int, potential: Callable[[Tensor], Tensor]) -> Task:
    def loss(model: Callable[[], Any], batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        return potential(model()).expand(len(batch))

    return Task.from_module(_Point(dimension), loss, torch.zeros(_ITEMS, 1))
