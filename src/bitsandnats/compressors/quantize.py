"""Symmetric quantization that includes zero, one range for all weights or one a group (2510.12077, 4.1 and C.3)."""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch

from bitsandnats._types import Params
from bitsandnats.compressors.fitted_ranges import fitted_ranges
from bitsandnats.compressors.price import FLOAT_BITS, check_weights, fixed_bits
from bitsandnats.compressors.ranges import Granularity, Ranges, RangeSearch, measure, prepare_search, search_range
from bitsandnats.compressors.types import Level, Levels, Prepared
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

_LEVELS = Levels("integer", tuple(range(4, 257, 2)), "n_q")
_SCALES = (1.0, 0.92, 1.08, 0.84, 1.18)  # of the ranges of least squared error, the first unless another is better
_BETTER = 0.005  # nats a unit by which it has to be: less is chance on so few items
_SEARCH_ITEMS = {"token": 16, "sequence": 16, "sample": 512}


@dataclass(frozen=True)
class Quantize:
    """Quantization to `n_q − 1` values; build it with `quantize()`.

    Attributes:
        max_abs: `optimal`, the range minimising the loss, or `largest`, the largest |weight|.
        granularity: what has a range of its own: `model`, `tensor` or `channel`.
    """

    max_abs: Literal["optimal", "largest"]
    granularity: Granularity = "model"

    @property
    def scheme(self) -> str:
        """Its registered name, with those options that are not the default."""
        name = "quantize" if self.max_abs == "optimal" else "quantize-largest"
        return name if self.granularity == "model" else f"{name}(granularity={self.granularity!r})"

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Measures scale and largest value of each group of weights.

        Raises:
            ModelError: the weights are damaged, or all zero.
        """
        check_weights(task)
        return _Quantizer(task, self.max_abs, measure(task.center, self.granularity))


def quantize(max_abs: str = "optimal", granularity: str = "model") -> Quantize:
    r"""Symmetric quantization: $\Delta=m/(n_q/2-1)$, clamp to [−m, m], round to the nearest multiple of Δ.

    The values are kΔ with |k| ≤ n_q/2 − 1: n_q − 1 of them, zero and ±m included. The source counts log₂ n_q bits a
    parameter (`bits_per_parameter`); `bits` is the whole price, d·log₂(n_q − 1) for the values, 32 for each range and
    32 for each fixed parameter. Checked by hand in `tests/truth/test_quantize.py`.

    Args:
        max_abs: `optimal`: the range minimises the loss at each level, on at most 16 evenly spaced items (512 for unit
            `sample`) of the data on which ΔL is measured; the loss is jagged in m, and at severe levels the best m lies
            far below the largest weight; see `compressors.ranges.search_range`. With several groups the ranges are
            those of least squared error group by group, times one of five factors, or min(c · rms, largest) with one c
            searched, whichever loses least. `largest`: m = max|w| of each group.
        granularity: one range for the whole `model` (the source's), for each `tensor`, or for each `channel` (row of a
            matrix; other tensors have one).

    Raises:
        InputError: another value.
    """
    for name, value, known in (
        ("max_abs", max_abs, ("optimal", "largest")),
        ("granularity", granularity, get_args(Granularity)),
    ):
        if value not in known:
            expected = f"{name} {', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
            raise InputError(message(expected=expected, got=repr(value), do="choose one"))
    return Quantize("optimal" if max_abs == "optimal" else "largest", granularity)  # pyright: ignore[reportArgumentType]


def quantize_largest(granularity: str = "model") -> Quantize:
    """Quantization with m = the largest |weight| (2510.12077, C.3)."""
    return quantize("largest", granularity)


def quantize_weights(params: Params, *, intervals: int, max_abs: float | Params) -> Params:
    """Each weight clamped to [−m, m] and rounded to the nearest of n_q − 1 values.

    Args:
        params: weights.
        intervals: n_q, even and at least 4 (2 would divide by zero).
        max_abs: m > 0; or by tensor, in shapes that broadcast against it, where groups of zeros have m = 0.

    Raises:
        InputError: n_q odd or below 4, or m not positive.
    """
    check_intervals(intervals)
    half = intervals // 2 - 1
    if isinstance(max_abs, dict):
        return {name: _rounded(w, half, max_abs[name]) for name, w in params.items()}
    if not max_abs > 0:
        raise InputError(message(expected="max_abs > 0", got=str(max_abs), do="give a positive range"))
    return {
        name: torch.round(torch.clamp(w, -max_abs, max_abs) * (half / max_abs)) * (max_abs / half)
        for name, w in params.items()
    }


def check_intervals(intervals: Level) -> None:
    """Refuses an n_q that is odd or below 4.

    Raises:
        InputError: it is.
    """
    if intervals < 4 or intervals % 2:
        raise InputError(message(expected="n_q even and at least 4", got=f"n_q = {intervals}", do="use 4, 6, 8, …"))


class _Range(NamedTuple):
    """What was chosen at a level: the range of each group, and how many losses that took."""

    max_abs: float | Params
    losses: int


@dataclass(frozen=True)
class _Quantizer:
    task: Task
    rule: Literal["optimal", "largest"]
    ranges: Ranges
    levels: Levels = _LEVELS
    draws: int = 1
    chosen: dict[Level, _Range] = field(default_factory=dict)  # level by level
    shared: dict[str, RangeSearch] = field(default_factory=dict)  # made when the first level is searched

    def compress(self, level: Level, draw: int = 0) -> Params:
        return quantize_weights(self.task.center, intervals=int(level), max_abs=self._range(level).max_abs)

    def bits(self, level: Level) -> float:
        """log₂(n_q − 1) a moving parameter, 32 a range, 32 a fixed parameter."""
        check_intervals(level)
        return self.task.dimension * math.log2(level - 1) + FLOAT_BITS * self.ranges.groups + fixed_bits(self.task)

    def details(self, level: Level) -> dict[str, float]:
        """`max_abs` is the largest m of all groups, `range_losses` the evaluations spent on choosing it."""
        found = self._range(level)
        most = found.max_abs
        largest = max(float(m.max()) for m in most.values()) if isinstance(most, dict) else most
        return {
            "max_abs": largest,
            "range_losses": float(found.losses),
            "bits_per_parameter": math.log2(level),
        }

    def _range(self, level: Level) -> _Range:
        check_intervals(level)
        if level not in self.chosen:
            self.chosen[level] = _Range(self.ranges.largest, 0) if self.rule == "largest" else self._search(int(level))
        return self.chosen[level]

    def _search(self, level: int) -> _Range:
        if "search" not in self.shared:
            self.shared["search"] = prepare_search(self.task.center, self.ranges, self._clipped_loss)
        clip, losses = search_range(
            self.shared["search"], level, lambda c: self._quantized_loss(level, self.ranges.at(c))
        )
        most = self.ranges.at(clip)
        if not isinstance(self.ranges.largest, dict):
            return _Range(most, losses)
        fitted = fitted_ranges(self.task.center, self.ranges.largest, level // 2 - 1)
        tried = [{name: scale * m for name, m in fitted.items()} for scale in _SCALES]
        found = [self._quantized_loss(level, ranges) for ranges in (*tried, most)]
        best = min(range(len(found)), key=found.__getitem__)
        chosen = best if found[best] < found[0] - _BETTER else 0
        return _Range((*tried, most)[chosen], losses + len(_SCALES))

    def _quantized_loss(self, level: int, most: float | Params) -> float:
        return self._loss(quantize_weights(self.task.center, intervals=level, max_abs=most))

    def _clipped_loss(self, clip: float) -> float:
        most = self.ranges.at(clip)
        if isinstance(most, dict):
            return self._loss({name: torch.clamp(w, -most[name], most[name]) for name, w in self.task.center.items()})
        return self._loss({name: torch.clamp(w, -most, most) for name, w in self.task.center.items()})

    @torch.no_grad()
    def _loss(self, weights: Params) -> float:
        count = min(_SEARCH_ITEMS[self.task.unit], len(self.task.data))
        batch = self.task.batch(torch.linspace(0, len(self.task.data) - 1, count).round().long())
        value = float(self.task.mean_loss(self.task.item_losses(weights, batch)))
        return value if math.isfinite(value) else math.inf


def _rounded(w: torch.Tensor, half: int, most: torch.Tensor) -> torch.Tensor:
    safe = torch.where(most > 0, most, 1)  # a group of zeros stays zero
    return torch.round(torch.clamp(w, -most, most) * (half / safe)) * (safe / half)
