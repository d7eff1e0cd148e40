"""Ranges of many groups of weights, each by its own least squared error; no loss is evaluated."""

import torch
from torch import Tensor

from bitsandnats._types import Params

_SHARES = 28  # of the largest weight that are tried as ranges, and as many again closely around the best
_LEAST = 0.03
_AROUND = 1.12


def fitted_ranges(params: Params, largest: Params, half: int) -> Params:
    """For each group the m of least Σ(Q(w) − w)², with Q(w) the nearest of ±half steps of m/half after clipping at m.

    The best of a geometric grid of shares of the group's largest weight, then of a fine one around it: the error is
    jagged in m where a group is small. Compared with dense scans in `tests/truth/test_fitted_ranges.py`.

    Args:
        params: weights.
        largest: largest |weight| of each group, by tensor, in shapes that broadcast against it.
        half: steps on either side of zero.
    """
    return {name: _fitted(w, largest[name], half) for name, w in params.items()}


def _fitted(w: Tensor, largest: Tensor, half: int) -> Tensor:
    axes = tuple(axis for axis in range(w.ndim) if largest.shape[axis] != w.shape[axis] or largest.numel() == 1)
    best, least = largest.clone(), _error(w, largest, half, axes)
    for low, high in ((_LEAST, 1.0), (1 / _AROUND, _AROUND)):
        middle = largest if high == 1.0 else best.clone()
        for k in range(_SHARES):
            share = low * (high / low) ** (k / (_SHARES - 1))
            tried = torch.minimum(share * middle, largest)
            error = _error(w, tried, half, axes)
            best = torch.where(error < least, tried, best)
            least = torch.minimum(error, least)
    return best


def _error(w: Tensor, most: Tensor, half: int, axes: tuple[int, ...]) -> Tensor:
    """Σ(Q(w) − w)² of each group."""
    safe = torch.where(most > 0, most, 1)
    rounded = torch.round(torch.clamp(w, -most, most) * (half / safe)) * (safe / half)
    squares = (rounded - w).square()
    return squares.sum(axes, keepdim=True) if axes else squares
