"""Which of a scheme's levels is the most severe within a tolerance, from few of them."""

import itertools
import math

from bitsandnats.compressors.types import Level, Levels
from bitsandnats.critical.sweep import Sweep

_PROBES = 2
_REFINEMENTS = 8
_AGREE = 0.25  # of the crossing's standard error
_CLOSE, _BESIDE = 0.004, 0.03  # of the crossing where levels are on a ratio scale; else of their whole range
_WIDE = 8.0


def most_severe(sweep: Sweep, tolerance: float) -> Level | None:
    """The most severe of the scheme's values with ΔL ≤ ε, or None.

    The mildest value, then those at places 0, 1, 3, 7, 15, … from the severe end until one is within the tolerance;
    then, between that and the last one that is not, by interpolation of log ΔL against log level and by halving in
    turn, until they are neighbours; then, as probes, the two below these and the one above. Where ΔL never rises with
    mildness this is exact.

    Where it does rise between two values seen, to one above ε and by a factor r at most, every value below the answer
    is evaluated unless it lies between two seen of which the milder is above r²·ε; and all this is repeated with what
    is then known. So an outlier as large as any seen, twice over, is found. Checked against all levels in
    `tests/truth/test_critical.py`.

    Args:
        sweep: evaluates and remembers.
        tolerance: ε, nats a unit.
    """
    values = sweep.prepared.levels.values
    last = len(values) - 1
    sweep.excess(values[last])
    low, high = -1, 0
    while sweep.excess(values[high]) > tolerance:
        if high == last:
            return _scanned(sweep, tolerance)
        low, high = high, min(2 * high + 1, last)
    halve = False
    while high - low > 1:
        at = _between(sweep, low, high, tolerance, halve)
        low, high = (low, at) if sweep.excess(values[at]) <= tolerance else (at, high)
        halve = not halve
    return _scanned(sweep, tolerance)


def rises(sweep: Sweep, up_to: Level, above: float = -math.inf) -> float:
    """The largest factor by which ΔL rises with mildness among the levels seen up to one; 1 where it only falls.

    Args:
        sweep: what was evaluated.
        up_to: the mildest level to look at, seen.
        above: of rises, only those to levels whose ΔL is above this.
    """
    seen = sweep.seen_levels()
    seen = seen[: seen.index(up_to) + 1]
    ends = [(at, b) for at, b in enumerate(seen) if sweep.seen(b).mean > above]
    return max((sweep.rise(a, b) for at, b in ends for a in seen[:at]), default=1.0)


def refine(sweep: Sweep, tolerance: float, severe: Level, mild: Level) -> tuple[Level, Level]:
    """A closer pair of levels around the tolerance, for real levels: ΔL > ε at the first and ≤ ε at the second.

    It begins with the closest two that were evaluated. The crossing is interpolated twice, ΔL and log ΔL, both against
    the level (or its logarithm where levels span a factor of 8 and more). Until the two agree within a quarter of the
    crossing's standard error (or 0.2 %), and the milder level lies within one standard error of it (or 3 %; 1 % of the
    range), the loss is evaluated just on the mild side of the second; where that did not halve the gap, in its middle
    next. A level of the same length in bits as one of the two is the same network, and not evaluated again.

    Args:
        sweep: evaluates and remembers.
        tolerance: ε, nats a unit.
        severe: a level with ΔL > ε.
        mild: a level with ΔL ≤ ε.
    """
    levels = sweep.prepared.levels
    severe, mild = _closest(sweep, tolerance, severe, mild)
    span = abs(place(levels, levels.values[0]) - place(levels, levels.values[-1]))
    near, beside = (_CLOSE, _BESIDE) if _ratio(levels) else (_CLOSE * span, _BESIDE * span / 3)
    halve, evaluated = False, 0
    while evaluated < _REFINEMENTS:
        broken = not math.isfinite(sweep.seen(severe).mean)
        start, end = place(levels, severe), place(levels, mild)
        straight, curved, error = crossing(sweep, tolerance, severe, mild)
        agreed = abs(straight - curved) <= max(_AGREE * error, near / 2) and abs(end - curved) <= max(error, beside)
        shift = min(beside, abs(end - curved)) / 2
        at = (start + end) / 2 if halve or broken else curved + math.copysign(shift, end - curved)
        level = _level(levels, at)
        if abs(end - start) <= near or level in (severe, mild):
            break
        known = sweep.same(level, (severe, mild))
        if agreed and not broken and not known:
            break
        evaluated += not known
        inside = sweep.excess(level) <= tolerance
        sweep.forget(mild if inside else severe)
        severe, mild = (severe, level) if inside else (level, mild)
        halve = abs(place(levels, mild) - place(levels, severe)) > abs(end - start) / 2
    return severe, mild


def crossing(sweep: Sweep, tolerance: float, severe: Level, mild: Level) -> tuple[float, float, float]:
    """Where ΔL meets ε between two levels, by a straight line in ΔL and in log ΔL, and its standard error; as places.

    The second is the first where ΔL is not positive; both are the milder level where ΔL is not finite at the other, and
    the error is NaN. Else the error is that of ΔL at the crossing, over paired items and draws, divided by the slope
    there: of the second line for real levels, of the first for integers.
    """
    start, end = place(sweep.prepared.levels, severe), place(sweep.prepared.levels, mild)
    above, below = sweep.seen(severe).mean, sweep.seen(mild).mean
    if not math.isfinite(above):
        return end, end, math.nan
    share = _share(sweep, tolerance, severe, mild)
    curved = math.log(above / tolerance) / math.log(above / below) if below > 0 else share
    fall = above - below
    if sweep.prepared.levels.kind == "real" and below > 0:
        fall = tolerance * math.log(above / below)
    error = sweep.error_between(severe, mild, share) * abs(end - start) / fall
    return start + share * (end - start), start + curved * (end - start), error


def interval(sweep: Sweep, tolerance: float, severe: Level, mild: Level, quantile: float) -> tuple[float, float]:
    """The levels at which ΔL is within so many standard errors of ε, on the interpolated curve of those evaluated.

    From the crossing outwards: on the severe side to where ΔL − z·se meets ε, on the mild side to where ΔL + z·se does,
    between neighbouring levels by a straight line in ΔL, in log ΔL for real levels. An end that no level evaluated
    reaches is the last level of that side; NaN where ΔL is not finite beside the crossing.

    Args:
        sweep: what was evaluated.
        tolerance: ε, nats a unit.
        severe: a level with ΔL > ε.
        mild: a level with ΔL ≤ ε.
        quantile: z.
    """
    levels, seen = sweep.prepared.levels, sweep.seen_levels()
    straight, curved, error = crossing(sweep, tolerance, severe, mild)
    if not math.isfinite(error):
        return math.nan, math.nan
    middle = curved if levels.kind == "real" else straight
    slack = quantile * sweep.error_between(severe, mild, _share(sweep, tolerance, severe, mild))
    ends = []
    for side, outwards in ((-1, seen[seen.index(severe) :: -1]), (1, seen[seen.index(mild) :])):
        before, at, reached = tolerance + side * slack, middle, place(levels, outwards[-1])
        for level in outwards:
            found = sweep.seen(level)
            bound, here = found.mean + side * quantile * found.se, place(levels, level)
            if side * (bound - tolerance) <= 0:
                log = levels.kind == "real" and min(before, bound) > 0 and math.isfinite(max(before, bound))
                values = [math.log(v) if log else v for v in (before, tolerance, bound)]
                share = (values[1] - values[0]) / (values[2] - values[0]) if values[2] != values[0] else 1.0
                reached = at + (share if math.isfinite(share) else 0.0) * (here - at)
                break
            before, at = bound, here
        ends.append(level_at(levels, reached))
    return min(ends), max(ends)


def place(levels: Levels, level: Level) -> float:
    """A level on the axis on which it is interpolated: its logarithm where real levels span a factor of 8 and more."""
    return math.log(level) if _ratio(levels) else float(level)


def level_at(levels: Levels, at: float) -> float:
    """The level at a place."""
    return math.exp(at) if _ratio(levels) else at


def _share(sweep: Sweep, tolerance: float, severe: Level, mild: Level) -> float:
    """How far from one level to the other a straight line in ΔL meets ε."""
    above, below = sweep.seen(severe).mean, sweep.seen(mild).mean
    return (above - tolerance) / (above - below)


def _closest(sweep: Sweep, tolerance: float, severe: Level, mild: Level) -> tuple[Level, Level]:
    """The last level seen beyond the tolerance and the first one after it within it, from one level to another."""
    seen = sweep.seen_levels()
    for level in seen[seen.index(severe) + 1 : seen.index(mild)]:
        if sweep.seen(level).mean <= tolerance:
            return severe, level
        severe = level
    return severe, mild


def _ratio(levels: Levels) -> bool:
    low, high = sorted((levels.values[0], levels.values[-1]))
    return levels.kind == "real" and low > 0 and high / low >= _WIDE


def _level(levels: Levels, at: float) -> Level:
    """A level of at most five digits, inside the range."""
    low, high = sorted((levels.values[0], levels.values[-1]))
    return min(max(float(f"{level_at(levels, at):.5g}"), low), high)


def _between(sweep: Sweep, low: int, high: int, tolerance: float, halve: bool) -> int:
    """The place to look at next, strictly between two."""
    values, middle = sweep.prepared.levels.values, (low + high) // 2
    if halve or low < 0:
        return middle
    above, below = sweep.seen(values[low]).mean, sweep.seen(values[high]).mean
    if not (math.isfinite(above) and below > 0 and min(values) > 0):
        return middle
    share = math.log(above / tolerance) / math.log(above / below)
    target = math.log(values[low]) + share * math.log(values[high] / values[low])
    return min(range(low + 1, high), key=lambda i: abs(math.log(values[i]) - target))


def _scanned(sweep: Sweep, tolerance: float) -> Level | None:
    """The most severe value within the tolerance, once its neighbours are seen and none is left that could be it."""
    values = sweep.prepared.levels.values
    while True:
        known = [v for v in sweep.seen_levels() if v in values]
        found = next((v for v in known if sweep.seen(v).mean <= tolerance), None)
        at = len(values) - 1 if found is None else values.index(found)
        wanted = {*range(max(at - 1 - _PROBES, 0), min(at + 2, len(values)))}
        reach = rises(sweep, values[-1], above=tolerance) ** 2 * tolerance
        for severe, mild in itertools.pairwise(known[: known.index(values[at]) + 1]):
            if tolerance < reach and sweep.seen(mild).mean <= reach:
                wanted |= {*range(values.index(severe) + 1, values.index(mild))}
        new = [values[i] for i in sorted(wanted) if values[i] not in known]
        for value in new:
            sweep.excess(value)
        if not new:
            return found
