"""Where quantization clips: one number c a level, each group of weights cut at min(c · rms, largest)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from bitsandnats._types import Params
from bitsandnats.errors import ModelError, message

Granularity = Literal["model", "tensor", "channel"]

_CANDIDATES = 160
_LEAST = 0.7  # times the root mean square; below it nothing but zeros and signs is left
_BINS = 1 << 13
_CLIP_TABLE = 4
_BY_MODEL, _NEAR_BEST = 7, 4
_APART, _APART_NEAR = 1.08, 1.015


class Ranges(NamedTuple):
    """The scale and the largest |weight| of each group; a group is the model, a tensor or a channel of one.

    Attributes:
        granularity: what a group is.
        rms: root mean square, by tensor, in shapes that broadcast against it; a float where the model is one group.
        largest: largest |weight|, in the same form.
        groups: how many there are.
    """

    granularity: Granularity
    rms: Params | float
    largest: Params | float
    groups: int

    def at(self, clip: float) -> Params | float:
        """The range of each group, min(c · rms, largest): no weight is clipped at c = ∞."""
        if math.isinf(clip):
            return self.largest
        if isinstance(self.rms, dict) and isinstance(self.largest, dict):
            return {name: torch.minimum(clip * rms, self.largest[name]) for name, rms in self.rms.items()}
        assert isinstance(self.rms, float)
        assert isinstance(self.largest, float)
        return min(clip * self.rms, self.largest)


def measure(params: Params, granularity: Granularity) -> Ranges:
    """The groups of some weights.

    `channel`: one range a row (output) of every tensor with two axes or more, one for every other tensor.

    Raises:
        ModelError: all weights are zero.
    """
    largest = max(float(w.abs().max()) for w in params.values())
    if not largest > 0:
        raise ModelError(
            message(expected="weights that are not all zero", got="zeros only", do="use a trained checkpoint")
        )
    if granularity == "model":
        squares = sum(float(w.double().square().sum()) for w in params.values())
        return Ranges(granularity, math.sqrt(squares / sum(w.numel() for w in params.values())), largest, 1)
    rows = {name: granularity == "channel" and w.ndim > 1 for name, w in params.items()}
    axes = {name: tuple(range(1 if rows[name] else 0, w.ndim)) for name, w in params.items()}
    rms = {name: w.double().square().mean(axes[name], keepdim=True).sqrt().to(w.dtype) for name, w in params.items()}
    most = {name: w.abs().amax(axes[name], keepdim=True) for name, w in params.items()}
    return Ranges(granularity, rms, most, sum(m.numel() for m in most.values()))


@dataclass(frozen=True)
class RangeSearch:
    """What clipping and rounding cost before any loss at a level is known; shared by all levels.

    Attributes:
        candidates: c, ascending in equal ratios up to where nothing is clipped.
        clipping: loss that clipping alone adds at each, nats a unit, interpolated from a few evaluations.
        base: loss at the weights themselves, nats a unit.
        sizes: |w| / rms of the weights in equal bins. shares: share of the summed squared rms in each bin.
    """

    candidates: Float[ndarray, " candidate"]
    clipping: Float[ndarray, " candidate"]
    base: float
    sizes: Float[ndarray, " bin"]
    shares: Float[ndarray, " bin"]

    def errors(self, half: int) -> tuple[Float[ndarray, " candidate"], Float[ndarray, " candidate"]]:
        """Mean squared error of rounding alone, and of rounding and clipping, for ±half steps; units of rms²."""
        rounding, whole = [], []
        for clip in self.candidates:
            inside = np.minimum(self.sizes, clip)
            rounded = np.round(inside * (half / clip)) * (clip / half)
            rounding.append(float(((rounded - inside) ** 2 * self.shares).sum()))
            whole.append(float(((rounded - self.sizes) ** 2 * self.shares).sum()))
        return np.maximum(rounding, 1e-300), np.array(whole)


def prepare_search(params: Params, ranges: Ranges, loss: Callable[[float], float]) -> RangeSearch:
    """Five evaluations that serve every level: the loss under clipping alone, at four c and at none.

    Args:
        params: the weights.
        ranges: their groups.
        loss: c -> loss of the weights clipped at c, not rounded; nats a unit.
    """
    sizes, weights = _sizes(params, ranges)
    top = float(sizes.max())
    counts, edges = np.histogram(sizes, bins=_BINS, range=(0.0, top), weights=weights)
    candidates = np.geomspace(min(_LEAST, top), top, _CANDIDATES)
    base = loss(math.inf)
    table = np.geomspace(min(1.25 * _LEAST, top), top, _CLIP_TABLE + 1)
    costs = np.array([min(max(loss(float(c)) - base, 0.0), 1e6) for c in table[:-1]] + [0.0])
    falling = np.maximum.accumulate(costs[::-1])[::-1]
    clipping = np.interp(np.log(candidates), np.log(table), falling)
    return RangeSearch(candidates, clipping, base, (edges[:-1] + edges[1:]) / 2, counts / counts.sum())


def search_range(search: RangeSearch, intervals: int, loss: Callable[[float], float]) -> tuple[float, int]:
    """The c of least loss among eleven, and how many were evaluated.

    The loss is jagged in c with tens of local minima, so neither bisection nor a coarse grid finds the best. But it is
    close to a sum, what clipping at c costs (measured once for all levels) + k · mean squared rounding error at this
    level (known without evaluating a loss), with k slowly varying in c. The first point is the one of least squared
    error; then, seven points in all, each is the minimum of that sum, at least 8 % away from all before, with k
    refitted to all of them; the last four lie next to the best. Compared with dense scans in
    `tests/truth/test_quantize.py`.

    Args:
        search: from `prepare_search`.
        intervals: n_q.
        loss: c -> loss of the weights quantized with that c; nats a unit.
    """
    logs = np.log(search.candidates)
    rounding, whole = search.errors(intervals // 2 - 1)
    seen: dict[int, float] = {}
    at = int(whole.argmin())
    for count in range(1, _BY_MODEL + _NEAR_BEST + 1):
        seen[at] = loss(float(search.candidates[at]))
        known = np.array(sorted(seen))
        excess = np.array([min(seen[i], search.base + 1e6) - search.base for i in known]) - search.clipping[known]
        scale = np.log(np.maximum(excess, 1e-4) / rounding[known])
        predicted = search.clipping + np.exp(np.interp(logs, logs[known], scale)) * rounding
        if count >= _BY_MODEL:
            predicted = np.abs(logs - logs[min(seen, key=seen.__getitem__)])
        distance = np.abs(logs[:, None] - logs[known]).min(1)
        for apart in (_APART, _APART_NEAR) if count < _BY_MODEL else (_APART_NEAR,):
            free = distance > math.log(apart) - 1e-9
            if free.any():
                at = int(np.where(free, predicted, np.inf).argmin())
                break
        else:
            break
    return float(search.candidates[min(seen, key=seen.__getitem__)]), len(seen)


def _sizes(params: Params, ranges: Ranges) -> tuple[Float[ndarray, " weight"], Float[ndarray, " weight"]]:
    """|w| / rms of every weight, and its rms² as a weight."""
    sizes, weights = [], []
    for name, w in params.items():
        rms = (
            ranges.rms[name]
            if isinstance(ranges.rms, dict)
            else torch.tensor(ranges.rms, dtype=w.dtype, device=w.device)
        )
        spread = rms.expand_as(w)
        sizes.append(torch.where(spread > 0, w.abs() / spread, 0).flatten().double().cpu().numpy())
        weights.append(spread.double().square().flatten().cpu().numpy())
    return np.concatenate(sizes), np.concatenate(weights)
