"""critical_point() and critical_points(): where along a compressor's levels the tolerance is met."""

import math
from collections.abc import Sequence
from typing import Any

import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.compressors.types import Compressor, Level, Levels
from bitsandnats.critical.point import CriticalPoint
from bitsandnats.critical.search import crossing, interval, level_at, most_severe, refine, rises
from bitsandnats.critical.sweep import Sweep
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

_Z95 = 1.959964
_MATTERS = 0.3


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
        ModelError: the scheme cannot be applied to this model, or the loss is not finite before compression.
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

    Which levels are evaluated, and when the search is exact, is said at `critical.search.most_severe`; how far each of
    them is, at `critical.sweep.Sweep`. The level found and the one below it, which decide the numbers, are evaluated on
    all items (for real levels the second only where it adds to the error of the crossing); so is the mildest level,
    whose ΔL is measured and not taken for zero.

    Raises:
        InputError: no tolerance, or one that is not positive.
        ModelError: the scheme cannot be applied to this model, or the loss is not finite before compression.
    """
    check_tolerances(tolerances)
    sweep = Sweep(task, compressor.prepare(task, seed), tolerances, progress)
    sweep.settle(sweep.prepared.levels.values[-1])
    found = {}
    for tolerance in sorted(tolerances, reverse=True):  # what is learnt at severe levels serves the milder ones
        found[tolerance] = _ends(sweep, tolerance)
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


def _ends(sweep: Sweep, tolerance: float) -> tuple[Level | None, Level | None]:
    """The mildest level beyond the tolerance and the most severe one within it; None where there is none."""
    levels = sweep.prepared.levels
    while True:  # what a part of the items said may turn out otherwise, and is then known better
        found = most_severe(sweep, tolerance)
        if found is None:
            return levels.values[-1], None
        at = levels.values.index(found)
        if at == 0 and sweep.settle(found).mean <= tolerance:
            return None, found
        if at > 0:
            severe = levels.values[at - 1]
            if levels.kind == "real":
                severe, found = refine(sweep, tolerance, severe, found)
            sweep.settle(found)
            if levels.kind == "integer" or _matters(sweep, tolerance, severe, found):
                sweep.settle(severe)
            if sweep.seen(severe).mean > tolerance >= sweep.seen(found).mean:
                return severe, found


def _matters(sweep: Sweep, tolerance: float, severe: Level, found: Level) -> bool:
    """Whether the severer level's error has a part in that of the crossing, rather than only its slope."""
    (above, error), (below, found_error) = sweep.seen(severe), sweep.seen(found)
    if not math.isfinite(above) or not above > tolerance >= below:
        return True
    share = (above - tolerance) / (above - below)
    return (1 - share) * error > _MATTERS * share * found_error


def _point(
    scheme: str, sweep: Sweep, curve: xr.Dataset, tolerance: float, pair: tuple[Level | None, Level | None]
) -> CriticalPoint:
    prepared, (severe, level) = sweep.prepared, pair
    levels = prepared.levels
    shown = level if level is not None else levels.values[-1]
    excess, se = sweep.seen(shown)
    bits = per_parameter = math.nan
    at, ends = math.nan, (math.nan, math.nan)
    if level is not None:
        bits = _or_nan(prepared.bits(level))
        per_parameter = prepared.details(level).get("bits_per_parameter", bits / sweep.task.dimension)
        at = float(level)
    if severe is not None and level is not None:
        straight, curved, _ = crossing(sweep, tolerance, severe, level)
        at = level_at(levels, curved if levels.kind == "real" else straight)
        ends = interval(sweep, tolerance, severe, level, _Z95)
    return CriticalPoint(
        scheme=scheme,
        unit=levels.unit,
        tolerance=tolerance,
        level=level,
        crossing=at,
        bits=bits,
        bits_per_parameter=per_parameter,
        excess_loss=excess,
        excess_loss_se=se,
        interval=ends,
        censored=severe is None,
        monotone=rises(sweep, shown) <= 1 and not _fails_beyond(sweep, tolerance, level),
        bound=_bound(levels, severe, level),
        remark=_remark(sweep, tolerance, severe, level),
        curve=curve,
    )


def _fails_beyond(sweep: Sweep, tolerance: float, level: Level | None) -> bool:
    """Whether a level milder than the one found was seen to exceed the tolerance."""
    if level is None:
        return False
    seen = sweep.seen_levels()
    return any(sweep.seen(v).mean > tolerance for v in seen[seen.index(level) :])


def _bound(levels: Levels, severe: Level | None, level: Level | None) -> str:
    rising = levels.rising
    if level is None:
        return f"{'>' if rising else '<'} {levels.values[-1]:.4g}"
    return f"{'≤' if rising else '≥'} {level:.4g}" if severe is None else ""


def _remark(sweep: Sweep, tolerance: float, severe: Level | None, level: Level | None) -> str:
    levels = sweep.prepared.levels
    if severe is not None and level is not None:
        return ""
    end = levels.values[-1] if level is None else levels.values[0]
    excess = sweep.seen(end)
    said = f"{levels.unit} = {end:g}, has ΔL = {excess.mean:.3g} ± {excess.se:.2g}"
    if level is None:
        return f"even the mildest, {said}, above {tolerance:g}"
    return f"already the most severe, {said}, within {tolerance:g}: the critical level lies there or beyond"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
