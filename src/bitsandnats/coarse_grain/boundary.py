"""Where a loss crosses a tolerance along one positive number: section of its logarithm, several points at once."""

from collections.abc import Callable, Sequence
from itertools import pairwise

Excess = Callable[[Sequence[float]], Sequence[float]]
"""Numbers -> ΔL at each, nats a unit; remembers what it was asked."""

_FIRST, _MOST = 1.5, 16.0  # factors of the steps outwards


def boundary(
    excess: Excess,
    tolerance: float,
    start: float,
    *,
    low: float,
    high: float,
    ratio: float = 1.03,
    at_once: int = 1,
) -> float | None:
    """The largest number found whose |ΔL| lies within a tolerance, as far as ΔL rises with the number.

    From `start` by growing steps to the other side of the tolerance, then by sections of equal logarithm (halves where
    one number is asked at once), until the numbers on both sides are within `ratio`.

    Args:
        excess: numbers -> ΔL of each.
        tolerance: ε.
        start: where to begin.
        low: the smallest number; None is returned where it is not within the tolerance.
        high: the largest.
        ratio: when to stop, > 1.
        at_once: how many numbers are asked together.
    """
    start = min(max(start, low), high)
    found = _surround(excess, tolerance, start, (low, high), at_once)
    if found is None or found[0] == found[1]:
        return None if found is None else found[0]
    inside, outside = found
    while outside / inside > ratio:
        points = [inside * (outside / inside) ** (j / (at_once + 1)) for j in range(1, at_once + 1)]
        for point, value in zip(points, excess(points), strict=True):
            if abs(value) >= tolerance:
                outside = point
                break
            inside = point
    return inside


def _surround(
    excess: Excess, tolerance: float, start: float, limits: tuple[float, float], at_once: int
) -> tuple[float, float] | None:
    """A number within the tolerance and the next above it that is not; the largest twice; None where none is."""
    known: dict[float, bool] = {}
    factor, points = _FIRST, [start]
    while True:
        if not known:  # on both sides, since nothing says on which the boundary lies
            above = [min(start * _FIRST**j, limits[1]) for j in range(1, at_once // 2 + 1)]
            below = [max(start / _FIRST**j, limits[0]) for j in range(1, (at_once - 1) // 2 + 1)]
            points = list(dict.fromkeys([start, *above, *below]))
        for point, value in zip(points, excess(points), strict=True):
            known[point] = abs(value) < tolerance
        ordered = sorted(known)
        pairs = [(a, b) for a, b in pairwise(ordered) if known[a] and not known[b]]
        if pairs:
            return pairs[-1]
        up = any(known.values())
        at, limit = (ordered[-1], limits[1]) if up else (ordered[0], limits[0])
        if at == limit:
            return (at, at) if up else None
        points = []
        while len(points) < at_once and at != limit:
            at = min(at * factor, limit) if up else max(at / factor, limit)
            factor = min(factor * factor, _MOST)
            points.append(at)
