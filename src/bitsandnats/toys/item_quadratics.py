"""A sum of different quadratics, one an item: every covariance of losses is known."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.task import Task

Items = tuple[Tensor, Tensor]
"""Hessians [item, d, d] and minima [item, d]."""


def item_quadratics(
    hessians: Float[ndarray, "item d d"] | Sequence[Any], minima: Float[ndarray, "item d"] | Sequence[Any]
) -> Task:
    """ℓ_i = ½ (w − a_i)ᵀ H_i (w − a_i), at the minimum of the mean loss; the posterior is Gaussian about it.

    Data of other such items, `items(hessians, minima)`, can be followed as queries.

    Args:
        hessians: H_i, symmetric.
        minima: a_i.
    """
    h, a = np.asarray(hessians, dtype=np.float64), np.asarray(minima, dtype=np.float64)
    best = np.linalg.solve(h.sum(0), np.einsum("nij,nj->i", h, a))
    module = _Point(torch.as_tensor(best))
    return Task.from_module(module, _loss, items(h, a))


def items(hessians: Any, minima: Any) -> Items:
    """Quadratics as data."""
    return (
        torch.as_tensor(np.asarray(hessians, dtype=np.float64)),
        torch.as_tensor(np.asarray(minima, dtype=np.float64)),
    )


class _Point(nn.Module):
    """A bare vector of weights."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self) -> Tensor:
        return self.w


def _loss(model: Callable[[], Any], batch: Batch) -> Tensor:
    assert isinstance(batch, tuple)
    hessians, minima = batch
    away = model() - minima
    return 0.5 * torch.einsum("ni,nij,nj->n", away, hessians, away)
