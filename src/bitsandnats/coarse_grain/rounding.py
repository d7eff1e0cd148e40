"""Rounding for rate and distortion together: a weight goes where its loss and its bits cost least."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from torch import Tensor

from bitsandnats.compressors.coding import Grid, to_grid

_PASSES = 3
_LARGEST = 2**31 - 1
_TABLE = 1 << 12  # magnitudes from here on have the bits of the last before


class Part(NamedTuple):
    """An array that is to be rounded.

    Attributes:
        values: w.
        sensitivity: h, in the values' shape.
        spacing: Δ.
    """

    values: Tensor
    sensitivity: Tensor
    spacing: float


class _Layout(NamedTuple):
    """Arrays laid behind each other, and the tables of bits of each laid likewise."""

    sizes: Int64[ndarray, " part"]
    tables: Int64[ndarray, " part"]  # where each begins
    widths: Int64[ndarray, " part"]
    offsets: Int64[ndarray, " n"]  # of its array's table, for each number


def cheapest(parts: Sequence[Part], price: float, before: Sequence[Grid] = ()) -> list[Grid]:
    r"""Whole numbers k that make $\tfrac12h(w-k\Delta)^2+\lambda\,\mathrm{bits}(k)$ small, each weight on its own.

    k is the nearest, the one before it towards zero, or zero. Bits are those of the distribution of all k of an array:
    begun at the nearest and taken anew after each of three passes, so that what is rare becomes rarer; or one pass
    with those of an earlier rounding. All arrays at once, since most are small. Checked in
    `tests/truth/test_coarse_grain.py`.

    Args:
        parts: the arrays.
        price: λ, nats a bit; at 0 each weight goes to the nearest.
        before: the same arrays as they were rounded earlier.

    Raises:
        GridError: values that are not finite, or more than 2³¹ steps.
    """
    chosen = [i for i, part in enumerate(parts) if part.values.numel() > 1]
    if price <= 0 or not chosen:
        return [to_grid(part.values, part.spacing) for part in parts]
    flat = _round([parts[i] for i in chosen], price, [before[i] for i in chosen] if before else [])
    found = dict(zip(chosen, flat, strict=True))
    return [found[i] if i in found else to_grid(part.values, part.spacing) for i, part in enumerate(parts)]


def _round(parts: Sequence[Part], price: float, before: Sequence[Grid]) -> list[Grid]:
    sizes = np.array([part.values.numel() for part in parts])
    scaled = np.concatenate([part.values.numpy().ravel() / part.spacing for part in parts])
    magnitudes = np.abs(scaled)
    if not magnitudes.max() <= _LARGEST:
        return [to_grid(part.values, part.spacing) for part in parts]  # which says what is wrong
    nearest = np.rint(magnitudes)
    error = (magnitudes - nearest).astype(np.float32)
    nearest = nearest.astype(np.int64)
    layout = _lay_out(sizes, nearest)
    inward = np.concatenate([_weight(part) for part in parts])
    towards_zero = inward * (np.square(magnitudes.astype(np.float32)) - error * error)
    inward *= 1 + 2 * error
    places = np.minimum(nearest, _TABLE - 1)
    places += layout.offsets
    counted = _places(before, layout) if before else places
    step = zero = np.zeros(0, bool)
    for _ in range(1 if before else _PASSES):
        bits = price * _bits(counted, layout)
        saved = np.diff(bits, prepend=0.0)
        saved[layout.tables] = -np.inf  # there is nothing before zero
        by_step = inward - saved.astype(np.float32)[places]
        at_zero = bits - np.repeat(bits[layout.tables], layout.widths)
        by_zero = towards_zero - at_zero.astype(np.float32)[places]
        step = by_step < 0
        zero = by_zero < np.minimum(by_step, 0)
        counted = np.where(zero, layout.offsets, places - step)
    symbols = np.where(zero, 0, nearest - step)
    symbols = np.where(scaled < 0, -symbols, symbols).astype(np.int32)
    arrays = np.split(symbols, np.cumsum(sizes)[:-1])
    return [Grid(a.reshape(tuple(part.values.shape)), part.spacing) for a, part in zip(arrays, parts, strict=True)]


def _weight(part: Part) -> ndarray:
    """½hΔ²: what a whole step off adds to the loss."""
    weight = part.sensitivity.numpy().ravel() * (part.spacing**2 / 2)
    return weight.astype(np.float32)


def _lay_out(sizes: Int64[ndarray, " part"], magnitudes: Int64[ndarray, " n"]) -> _Layout:
    most = np.maximum.reduceat(magnitudes, np.cumsum(sizes) - sizes)
    widths = np.minimum(most, _TABLE - 1) + 1
    tables = np.cumsum(widths) - widths
    return _Layout(sizes, tables, widths, np.repeat(tables, sizes))


def _places(before: Sequence[Grid], layout: _Layout) -> Int64[ndarray, " n"]:
    """Where the magnitudes of an earlier rounding stand in the tables, those beyond at the end."""
    magnitudes = [np.minimum(np.abs(g.symbols.ravel()), w - 1) for g, w in zip(before, layout.widths, strict=True)]
    return np.concatenate(magnitudes) + layout.offsets


def _bits(places: Int64[ndarray, " n"], layout: _Layout) -> Float64[ndarray, " entry"]:
    """Bits of each magnitude by how often it occurs; rare ones cost what the array's mean lets expect."""
    counts = np.bincount(places, minlength=int(layout.widths.sum())).astype(np.float64)
    magnitudes = np.arange(len(counts)) - np.repeat(layout.tables, layout.widths)
    mean = np.maximum(np.add.reduceat(counts * magnitudes, layout.tables) / layout.sizes, 1e-3)
    counts[magnitudes > 0] /= 2  # either sign
    prior = np.repeat(mean / (1 + mean), layout.widths) ** magnitudes / np.repeat(1 + 2 * mean, layout.widths) + 1e-9
    return np.repeat(np.log2(layout.sizes + 1), layout.widths) - np.log2(counts + prior)


def size_and_loss(grid: Grid, values: Tensor, sensitivity: Tensor) -> tuple[float, float]:
    """About the first-order bits of a grid, and ½ Σ h (w − kΔ)²."""
    if not grid.symbols.size:
        return 0.0, 0.0
    magnitudes = np.abs(grid.symbols.ravel().astype(np.int64))
    layout = _lay_out(np.array([magnitudes.size]), magnitudes)
    places = np.minimum(magnitudes, _TABLE - 1)
    rest = values.numpy().ravel() - grid.symbols.ravel() * grid.spacing
    return float(_bits(places, layout)[places].sum()), float(np.dot(sensitivity.numpy().ravel(), rest * rest)) / 2
