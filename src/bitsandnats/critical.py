"""critical_point(): where along a compressor's levels the tolerance is met."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from bitsandnats._types import Params, Progress, silent
from bitsandnats.compressors.types import Compressor, Prepared
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

_Z95 = 1.959964
_ONE_BY_ONE = 30


@dataclass(frozen=True)
class CriticalPoint:
    """Where a scheme's loss increase meets a tolerance.

    Attributes:
        scheme: the compressor. tolerance: nats a unit.
        level: the smallest level within the tolerance (2510.12077, section 4.1); None where even the mildest is not.
        crossing: where the interpolated curve crosses the tolerance (2510.12077, figure 3); `level` where censored.
        bits: description length at `level`, everything included.
        bits_per_parameter: the scheme's own count where it has one (log₂ n_q for quantization), else `bits` over the
            parameters that were compressed.
        excess_loss: ΔL at `level`, nats a unit; excess_loss_se: its standard error over paired items.
        interval: 95 % interval of the crossing, from the error of ΔL; NaN where censored.
        censored: the most severe level already meets the tolerance.
        monotone: whether ΔL falls all along the levels up to this one and to the next.
        curve: every level evaluated (dims: level).
    """

    scheme: str
    tolerance: float
    level: int | None
    crossing: float
    bits: float
    bits_per_parameter: float
    excess_loss: float
    excess_loss_se: float
    interval: tuple[float, float]
    censored: bool
    monotone: bool
    curve: xr.Dataset

    def __str__(self) -> str:
        if self.level is None:
            return f"{self.scheme}: no level meets ΔL ≤ {self.tolerance:g}"
        name = "n_q*" if self.scheme.startswith("quantize") else "level*"
        floor = ", the floor of the scheme" if self.censored else ""
        return (
            f"{name} = {self.level} ({self.bits_per_parameter:.2f} bits/parameter{floor}), "
            f"ΔL = {self.excess_loss:.3f} ± {self.excess_loss_se:.3f}"
        )

    def as_record(self) -> dict[str, Any]:
        """Plain values for a summary; null where not a number."""
        names = ("tolerance", "level", "crossing", "bits", "bits_per_parameter", "excess_loss", "excess_loss_se")
        plain = {name: getattr(self, name) for name in names}
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}
        interval = [v if math.isfinite(v) else None for v in self.interval]
        return {**finite, "interval": interval, "censored": self.censored, "monotone": self.monotone}


def critical_point(
    compressor: Compressor, task: Task, *, tolerance: float, data: Any = None, seed: int = 0
) -> CriticalPoint:
    """The critical level of one scheme at one tolerance.

    Args:
        compressor: e.g. `bn.compressors.quantize()`.
        task: the checkpoint.
        tolerance: loss increase allowed, nats a unit, > 0.
        data: items on which ΔL is measured; None = the task's own.
        seed: of random schemes.

    Raises:
        InputError: the tolerance is not positive.
    """
    task = task if data is None else task.on(data)
    return critical_points(compressor, task, [tolerance], seed=seed)[0]


def critical_points(
    compressor: Compressor,
    task: Task,
    tolerances: Sequence[float],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> list[CriticalPoint]:
    """Critical levels at several tolerances from one sweep: every level evaluated serves all of them.

    The first 30 levels (for quantization: up to n_q = 62) are taken one by one from the most severe upwards until the
    smallest tolerance is met: ΔL is not monotone in the level, and one found by bisection need not be the smallest.
    Only above them is a level found by doubling and bisection, and every level below scanned where those seen do not
    fall. One level above each answer and the mildest are evaluated as well. Checked against an exhaustive scan in
    `tests/truth/test_critical.py`.

    Raises:
        InputError: no tolerance, or one that is not positive.
    """
    check_tolerances(tolerances)
    sweep = _Sweep(task, compressor.prepare(task, seed), progress)
    levels = sweep.prepared.levels
    found = {tolerance: _smallest(sweep, tolerance) for tolerance in tolerances}
    sweep.excess(levels[-1])
    for level in found.values():
        if level is not None and level != levels[-1]:
            sweep.excess(levels[levels.index(level) + 1])
    curve = sweep.curve()
    return [_point(compressor.scheme, sweep, curve, tolerance, found[tolerance]) for tolerance in tolerances]


def check_tolerances(tolerances: Sequence[float]) -> None:
    """Refuses an empty list and values that are not positive.

    Raises:
        InputError: as said.
    """
    bad = [t for t in tolerances if not t > 0 or not math.isfinite(t)]
    if bad or not tolerances:
        raise InputError(
            message(
                expected="tolerances > 0, in nats a unit",
                got=str(bad[0]) if bad else "none",
                do="give for instance 0.5",
            )
        )


class _Sweep:
    """ΔL by level, remembered; each level is compressed and evaluated once."""

    def __init__(self, task: Task, prepared: Prepared, progress: Progress) -> None:
        self.task, self.prepared, self.progress = task, prepared, progress
        self.seen: dict[int, tuple[float, float]] = {}
        self.reference = self._losses(task.center)

    def excess(self, level: int) -> float:
        """Mean loss increase at a level, nats a unit; infinite where the losses are not finite."""
        if level not in self.seen:
            draws = [self._losses(self.prepared.compress(level, d)) for d in range(self.prepared.draws)]
            self.seen[level] = _paired(np.stack(draws) - self.reference)
            self.progress("compressing", len(self.seen), max(len(self.seen), 12))
        return self.seen[level][0]

    def curve(self) -> xr.Dataset:
        """Every level seen, ascending."""
        levels = sorted(self.seen)
        columns = {
            "excess_loss": [self.seen[level][0] for level in levels],
            "excess_loss_se": [self.seen[level][1] for level in levels],
            "bits": [_or_nan(self.prepared.bits(level)) for level in levels],
        }
        details = [self.prepared.details(level) for level in levels]
        columns |= {name: [d[name] for d in details] for name in details[0]}
        return xr.Dataset({k: ("level", np.asarray(v, float)) for k, v in columns.items()}, {"level": levels})

    @torch.no_grad()
    def _losses(self, params: Params) -> np.ndarray:
        losses = self.task.all_item_losses(params).double().cpu().numpy()
        return losses / self.task.mean_weight


def _paired(differences: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of ΔL over items, and over draws where there are several."""
    mean = float(differences.mean())
    if not math.isfinite(mean):
        return math.inf, math.inf
    items = differences.mean(0)
    variance = items.var(ddof=1) / len(items) if len(items) > 1 else 0.0
    if len(differences) > 1:
        variance += differences.mean(1).var(ddof=1) / len(differences)
    return mean, float(math.sqrt(variance))


def _smallest(sweep: _Sweep, tolerance: float) -> int | None:
    """The smallest level with ΔL ≤ tolerance, or None."""
    levels = sweep.prepared.levels
    first = next((level for level in levels[:_ONE_BY_ONE] if sweep.excess(level) <= tolerance), None)
    if first is not None or len(levels) <= _ONE_BY_ONE:
        return first
    low, high = _ONE_BY_ONE - 1, _ONE_BY_ONE - 1
    while sweep.excess(levels[high]) > tolerance:
        if high == len(levels) - 1:
            return None
        low, high = high, min(2 * high, len(levels) - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if sweep.excess(levels[middle]) <= tolerance else (middle, high)
    if not _falls(sweep, levels[high]):
        return next(level for level in levels if sweep.excess(level) <= tolerance)
    return levels[high]


def _falls(sweep: _Sweep, up_to: int) -> bool:
    """Whether ΔL falls all along the levels seen up to one."""
    losses = [sweep.seen[level][0] for level in sorted(sweep.seen) if level <= up_to]
    return all(milder <= severer for severer, milder in itertools.pairwise(losses))


def _monotone(sweep: _Sweep, level: int) -> bool:
    """Whether ΔL falls up to a level and on to the next one."""
    levels = sweep.prepared.levels
    return _falls(sweep, levels[min(levels.index(level) + 1, len(levels) - 1)])


def _point(scheme: str, sweep: _Sweep, curve: xr.Dataset, tolerance: float, level: int | None) -> CriticalPoint:
    if level is None:
        nan = math.nan
        return CriticalPoint(
            scheme,
            tolerance,
            None,
            nan,
            nan,
            nan,
            nan,
            nan,
            (nan, nan),
            False,
            _monotone(sweep, sweep.prepared.levels[-1]),
            curve,
        )
    excess, se = sweep.seen[level]
    below = [seen for seen in sorted(sweep.seen) if seen < level]
    bits = _or_nan(sweep.prepared.bits(level))
    crossing, interval = float(level), (math.nan, math.nan)
    if below:
        lower = below[-1]
        upper_loss, upper_se = sweep.seen[lower]
        crossing = _cross(lower, level, upper_loss, excess, tolerance)
        error = max(se, upper_se) if math.isfinite(upper_se) else se
        slope = (upper_loss - excess) / (level - lower) if math.isfinite(upper_loss) else math.inf
        half = _Z95 * error / slope if slope > 0 else math.inf
        interval = (crossing - half, crossing + half)
    return CriticalPoint(
        scheme=scheme,
        tolerance=tolerance,
        level=level,
        crossing=crossing,
        bits=bits,
        bits_per_parameter=sweep.prepared.details(level).get("bits_per_parameter", bits / sweep.task.dimension),
        excess_loss=excess,
        excess_loss_se=se,
        interval=interval,
        censored=level == sweep.prepared.levels[0],
        monotone=_monotone(sweep, level),
        curve=curve,
    )


def _cross(low: int, high: int, loss_low: float, loss_high: float, tolerance: float) -> float:
    """Where the straight line between two neighbouring levels meets the tolerance."""
    if not math.isfinite(loss_low) or loss_low <= loss_high:
        return float(high)
    return low + (high - low) * (loss_low - tolerance) / (loss_low - loss_high)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
