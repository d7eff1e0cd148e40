"""Rounding for rate and distortion together: a weight goes where its loss and its bits cost least."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy import ndarray
from torch import Tensor

from bitsandnats.compressors.coding import Grid, to_grid

_PASSES = 3
_TABLE = 1 << 12  # symbols beyond this have the bits of the last


def cheapest(values: Tensor, sensitivity: Tensor, spacing: float, price: float) -> Grid:
    r"""Whole numbers k that make $\tfrac12h(w-k\Delta)^2+\lambda\,\mathrm{bits}(k)$ small, each weight on its own.

    k is the nearest, the one before it towards zero, or zero. Bits are those of the distribution of all k, begun at the
    nearest and taken anew after each of three passes, so that what is rare becomes rarer.

    Args:
        values: w.
        sensitivity: h, in the values' shape.
        spacing: Δ.
        price: λ, nats a bit; at 0 each weight goes to the nearest.
    """
    grid = to_grid(values, spacing)
    if price <= 0 or grid.symbols.size < 2:
        return grid
    nearest = grid.symbols.ravel().astype(np.int64)
    scaled, weight = (values / spacing).flatten().numpy(), (sensitivity * (spacing**2 / 2)).flatten().numpy()
    chosen = nearest
    inner = nearest - np.sign(nearest)
    losses = [weight * (scaled - k) ** 2 for k in (nearest, inner, 0)]
    for _ in range(_PASSES):
        bits = _bits(chosen)
        index = (np.clip(k, -_TABLE, _TABLE) + _TABLE for k in (nearest, inner))
        costs = [loss + price * bits[i] for loss, i in zip(losses[:2], index, strict=True)]
        costs.append(losses[2] + price * bits[_TABLE])
        chosen = np.where(costs[1] < costs[0], inner, nearest)
        chosen = np.where(costs[2] < np.minimum(costs[0], costs[1]), 0, chosen)
    return Grid(chosen.astype(np.int32).reshape(grid.symbols.shape), grid.spacing)


def _bits(symbols: Int64[ndarray, " n"]) -> Float64[ndarray, " symbol"]:
    """Bits of each symbol by how often it and its neighbours occur; rare ones cost what their size lets expect."""
    counts = np.bincount(np.clip(symbols, -_TABLE, _TABLE) + _TABLE, minlength=2 * _TABLE + 1).astype(np.float64)
    counts = (counts + counts[::-1]) / 2
    mean = max(float(np.abs(symbols).mean()), 1e-3)
    prior = (mean / (1 + mean)) ** np.abs(np.arange(-_TABLE, _TABLE + 1)) + 1e-9
    smooth = counts + prior / prior.sum()
    return -np.log2(smooth / smooth.sum())


def size_and_loss(grid: Grid, values: Tensor, sensitivity: Tensor) -> tuple[float, float]:
    """First-order bits of a grid, and ½ Σ h (w − kΔ)²."""
    symbols = grid.symbols.ravel().astype(np.int64)
    bits = float(_bits(symbols)[np.clip(symbols, -_TABLE, _TABLE) + _TABLE].sum()) if symbols.size else 0.0
    rest = values - torch.from_numpy(grid.symbols).double() * grid.spacing
    return bits, float((sensitivity * rest.square()).sum()) / 2
