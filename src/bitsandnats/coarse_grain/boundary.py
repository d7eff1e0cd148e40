"""Where a loss crosses a tolerance along one positive number: bisection of its logarithm."""

import math
from collections.abc import Callable


def boundary(
    excess: Callable[[float], float], tolerance: float, start: float, *, low: float, high: float, ratio: float = 1.03
) -> float | None:
    """The largest number found whose |ΔL| lies within a tolerance, as far as ΔL rises with the number.

    From `start` by steps that double to the other side of the tolerance, then by halving in the logarithm, until the
    numbers on both sides are within `ratio`.

    Args:
        excess: number -> ΔL, nats a unit; remembers what it was asked.
        tolerance: ε.
        start: where to begin.
        low: the smallest number; None is returned where it is not within the tolerance.
        high: the largest.
        ratio: when to stop, > 1.
    """
    inside: float | None = None
    outside: float | None = None
    at, factor = min(max(start, low), high), 1.5
    while inside is None or outside is None:
        if abs(excess(at)) < tolerance:
            inside = at
            if at >= high:
                return high
            at = min(at * factor, high)
        else:
            outside = at
            if at <= low:
                return None
            at = max(at / factor, low)
        factor = min(factor * factor, 16.0)
    while outside / inside > ratio:
        at = math.sqrt(inside * outside)
        inside, outside = (at, outside) if abs(excess(at)) < tolerance else (inside, at)
    return inside
