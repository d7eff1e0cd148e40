"""Losses that are a function of the weights alone, minimal at w* = 0: what a sampler can be checked against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    return _task(len(curvature), _Quadratic(torch.tensor(curvature, dtype=torch.float64)))


def minimally_singular(dimension: int) -> Task:
    """L = ½ Σ_{i<d} w_i², flat along the last coordinate: λ = (d − 1)/2."""
    return quadratic([1.0] * (dimension - 1) + [0.0])


def normal_crossing(exponents: Sequence[int]) -> Task:
    """L = Π w_i^{2 k_i}: λ = min 1/(2 k_i), multiplicity the number of minima.

    Args:
        exponents: k_i ≥ 1.
    """
    return _task(len(exponents), _Crossing(tuple(exponents)))


@dataclass(frozen=True)
class _Quadratic:
    curvature: Tensor

    def __call__(self, model: Callable[[], Any], batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        return (0.5 * (self.curvature * model().square()).sum()).expand(len(batch))


@dataclass(frozen=True)
class _Crossing:
    exponents: tuple[int, ...]

    def __call__(self, model: Callable[[], Any], batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        w = model()
        return torch.stack([w[i] ** (2 * k) for i, k in enumerate(self.exponents)]).prod().expand(len(batch))


def _task(dimension: int, loss: Callable[[Any, Batch], Tensor]) -> Task:
    return Task.from_module(_Point(dimension), loss, torch.zeros(_ITEMS, 1))
