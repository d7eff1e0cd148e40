"""What the benchmark is to reach, stated beforehand; shown beside each number that it is about."""

from typing import NamedTuple


class Aim(NamedTuple):
    """The largest errors, the least order and the longest time that count as reached.

    Attributes:
        median: of |λ̂/λ − 1|.
        ninetieth: 90th percentile of the same; a network beyond it misses, and its verdict has to say so.
        order: share of pairs of networks with different λ that λ̂ puts in the right order.
        seconds: longest time a network, calibration included, on two cores; None = none stated.
    """

    median: float
    ninetieth: float
    order: float
    seconds: float | None = None


CALIBRATED = "calibrated"
"""The name under which the sampler that sets itself is listed."""

_AIMS = {
    ("1k", 20_000): Aim(0.02, 0.06, 0.99, 60.0),
    ("10k", 20_000): Aim(0.02, 0.06, 0.99),
    ("100k", 20_000): Aim(0.05, 0.12, 0.98),
    ("1k", 1_000_000): Aim(0.03, 0.08, 0.99),
}
_MISS = {"1k": 0.06, "10k": 0.06}
_MISS_LARGE = 0.12


def aim_of(size: str, samples: int, sampler: str) -> Aim | None:
    """The aim of an arm; only the calibrated sampler has one.

    Args:
        size: a size class.
        samples: n.
        sampler: `calibrated` or the name of another.
    """
    return _AIMS.get((size, samples)) if sampler == CALIBRATED else None


def miss_line(size: str, samples: int) -> float:
    """The |relative error| beyond which a network counts as missed: the aim's 90th percentile, or that of its size."""
    aim = aim_of(size, samples, CALIBRATED)
    return aim.ninetieth if aim else _MISS.get(size, _MISS_LARGE)
