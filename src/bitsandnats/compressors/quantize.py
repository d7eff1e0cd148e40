"""Symmetric quantization that includes zero, one range for all weights (2510.12077, section 4.1 and C.3)."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from bitsandnats._types import Params
from bitsandnats.compressors.types import Prepared
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

_MOST = 256
_SCAN_POINTS = 12
_TAIL_POINTS = 6
_REFINEMENT_ROUNDS = 3
_RANGE_IN_SD = (1.0, 8.0)
_SEARCH_ITEMS = {"token": 16, "sequence": 16, "sample": 512}
_FLOAT_BITS = 32


@dataclass(frozen=True)
class Quantize:
    """Quantization to `n_q − 1` values; build it with `quantize()`.

    Attributes:
        max_abs: `optimal`, m minimising the loss, or `largest`, m = the largest |weight|.
    """

    max_abs: Literal["optimal", "largest"]

    @property
    def scheme(self) -> str:
        """Its registered name."""
        return "quantize" if self.max_abs == "optimal" else "quantize-largest"

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Measures the weights' scale and largest value, and chooses the items on which m is searched."""
        largest = max(float(w.abs().max()) for w in task.center.values())
        squares = sum(float(w.double().square().sum()) for w in task.center.values())
        return _Quantizer(task, self.max_abs, largest, math.sqrt(squares / task.dimension))


def quantize(max_abs: str = "optimal") -> Quantize:
    r"""Symmetric quantization: $\Delta=m/(n_q/2-1)$, clamp to [−m, m], round to the nearest multiple of Δ.

    The values are kΔ with |k| ≤ n_q/2 − 1: n_q − 1 of them, zero and ±m included; counted as log₂ n_q bits a
    parameter. Checked by hand in `tests/truth/test_quantize.py`.

    Args:
        max_abs: `optimal`: one m for the whole model that minimises the loss at each level, searched densely from 1 to
            8 times the weights' root mean square (the loss is jagged in m, and at severe levels the best m lies far
            below the largest weight) and coarsely from there to the largest weight (where mild levels have it);
            it is searched on evenly spaced items of the data on which ΔL is measured, one number for all weights;
            `largest`: m = max|w|.

    Raises:
        InputError: another value of `max_abs`.
    """
    if max_abs == "optimal":
        return Quantize("optimal")
    if max_abs == "largest":
        return Quantize("largest")
    raise InputError(message(expected="max_abs 'optimal' or 'largest'", got=repr(max_abs), do="choose one"))


def quantize_largest() -> Quantize:
    """Quantization with m = the largest |weight| (2510.12077, C.3)."""
    return Quantize("largest")


def quantize_weights(params: Params, *, intervals: int, max_abs: float) -> Params:
    """Each weight clamped to [−m, m] and rounded to the nearest of n_q − 1 values.

    Args:
        params: weights.
        intervals: n_q, even and at least 4 (2 would divide by zero).
        max_abs: m > 0.

    Raises:
        InputError: n_q odd or below 4, or m not positive.
    """
    check_intervals(intervals)
    if not max_abs > 0:
        raise InputError(message(expected="max_abs > 0", got=str(max_abs), do="give a positive range"))
    half = intervals // 2 - 1
    return {
        name: torch.round(torch.clamp(w, -max_abs, max_abs) * (half / max_abs)) * (max_abs / half)
        for name, w in params.items()
    }


def check_intervals(intervals: int) -> None:
    """Refuses an n_q that is odd or below 4.

    Raises:
        InputError: it is.
    """
    if intervals < 4 or intervals % 2:
        raise InputError(message(expected="n_q even and at least 4", got=f"n_q = {intervals}", do="use 4, 6, 8, …"))


@dataclass(frozen=True)
class _Quantizer:
    task: Task
    rule: Literal["optimal", "largest"]
    largest: float
    scale: float
    levels: tuple[int, ...] = tuple(range(4, _MOST + 1, 2))
    draws: int = 1
    chosen: dict[int, float] = field(default_factory=dict)  # memory of m, level by level

    def compress(self, level: int, draw: int = 0) -> Params:
        return quantize_weights(self.task.center, intervals=level, max_abs=self._max_abs(level))

    def bits(self, level: int) -> float:
        """log₂ n_q a moving parameter, 32 for m, 32 a fixed parameter."""
        check_intervals(level)
        fixed = sum(p.numel() for p in self.task.fixed.values())
        return self.task.dimension * math.log2(level) + _FLOAT_BITS * (1 + fixed)

    def details(self, level: int) -> dict[str, float]:
        return {"max_abs": self._max_abs(level), "bits_per_parameter": math.log2(level)}

    def _max_abs(self, level: int) -> float:
        check_intervals(level)
        if level not in self.chosen:
            self.chosen[level] = self.largest if self.rule == "largest" else self._search(level)
        return self.chosen[level]

    def _search(self, level: int) -> float:
        """M of least loss: a geometric scan, then halvings of the gap around the best point."""
        low, high = (self.scale * k for k in _RANGE_IN_SD)
        high = min(high, self.largest)
        if not low < high:
            return self.largest
        points = _geometric(low, high, _SCAN_POINTS)
        if high < self.largest:  # at mild levels, what clipping outliers costs outweighs a finer grid
            points += _geometric(high, self.largest, _TAIL_POINTS)[1:]
        seen = {m: self._loss(level, m) for m in points}
        for _ in range(_REFINEMENT_ROUNDS):
            points = sorted(seen)
            best = points.index(min(seen, key=seen.__getitem__))
            for neighbour in (best - 1, best + 1):
                if 0 <= neighbour < len(points):
                    m = math.sqrt(points[best] * points[neighbour])
                    seen[m] = self._loss(level, m)
        return min(seen, key=seen.__getitem__)

    @torch.no_grad()
    def _loss(self, level: int, max_abs: float) -> float:
        weights = quantize_weights(self.task.center, intervals=level, max_abs=max_abs)
        count = min(_SEARCH_ITEMS[self.task.unit], len(self.task.data))
        batch = self.task.batch(torch.linspace(0, len(self.task.data) - 1, count).round().long())
        value = float(self.task.mean_loss(self.task.item_losses(weights, batch)))
        return value if math.isfinite(value) else math.inf


def _geometric(low: float, high: float, points: int) -> list[float]:
    return [low * (high / low) ** (i / (points - 1)) for i in range(points)]
