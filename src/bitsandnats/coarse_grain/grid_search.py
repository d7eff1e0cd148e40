"""The global search where losses are cheap: for each threshold the spacing at the boundary, then thresholds between."""

from collections.abc import Sequence

from bitsandnats.coarse_grain.boundary import boundary
from bitsandnats.coarse_grain.grain import coarse_grain, scale
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.coarse_grain.trials import Attempt, Trial, Trials
from bitsandnats.compressors.coding import first_order_bits

ORIGIN = "grid"
_THRESHOLDS = (1.0, 0.99, 0.97, 0.94, 0.9, 0.84, 0.75, 0.6)
_REFINED = 4  # thresholds tried between the best and its neighbours
_FINEST, _WIDEST = 2.0**-12, 2.0**5  # of the root mean square weight


class GlobalGrid:
    """ΔL and size by (Δ, τ), each network tried once."""

    def __init__(self, trials: Trials) -> None:
        self.trials, self.checkpoint = trials, trials.checkpoint
        self._known: dict[tuple[float, float], Trial] = {}

    def at(self, points: Sequence[tuple[float, float]]) -> list[Trial]:
        """The trials at spacings and thresholds, made together where they are new."""
        new = [point for point in dict.fromkeys(points) if point not in self._known]
        made = self.trials.add([self._attempt(*point) for point in new])
        self._known |= {point: trial for point, (trial, _) in zip(new, made, strict=True)}
        return [self._known[point] for point in points]

    def trial(self, spacing: float, threshold: float) -> Trial:
        """The trial at a spacing and a threshold, made if it is new."""
        return self.at([(spacing, threshold)])[0]

    def widest(self, threshold: float, tolerance: float, start: float, ratio: float) -> float | None:
        """The widest spacing within a tolerance at a threshold."""
        low, high = spacing_range(self.checkpoint)

        def excess(spacings: Sequence[float]) -> list[float]:
            return [trial.excess for trial in self.at([(s, threshold) for s in spacings])]

        at_once = self.trials.workers
        return boundary(excess, tolerance, start, low=low, high=high, ratio=ratio, at_once=at_once)

    def _attempt(self, spacing: float, threshold: float) -> Attempt:
        return Attempt(
            ORIGIN,
            {"spacing": spacing, "threshold": threshold},
            lambda _: coarse_grain(self.checkpoint, spacing, threshold),
            lambda network: first_order_bits(network) / 8,
        )


def spacing_range(checkpoint: Checkpoint) -> tuple[float, float]:
    """The spacings worth trying: from 2⁻¹² of the root mean square weight to 32 times it."""
    rms = scale(checkpoint)
    return rms * _FINEST, rms * _WIDEST


def search_grid(grid: GlobalGrid, tolerance: float) -> Trial | None:
    """The smallest network within a tolerance over (Δ, τ); None where none is.

    At each of eight thresholds the boundary in Δ by bisection, from that of the threshold before, as long as sizes do
    not grow for three in a row; then thresholds halfway between the best and its neighbours.
    """
    found: dict[float, float] = {}
    start, grown, least = scale(grid.checkpoint) / 4, 0, float("inf")
    thresholds = _THRESHOLDS if grid.checkpoint.spectra else _THRESHOLDS[:1]
    for threshold in thresholds:
        spacing = grid.widest(threshold, tolerance, start, 1.05)
        if spacing is None:
            if threshold == 1.0:
                return None
            break
        start = found[threshold] = spacing
        size = grid.trial(spacing, threshold).size
        grown, least = (0, size) if size < least else (grown + 1, least)
        if grown == 3:
            break
    for _ in range(_REFINED if len(found) > 1 else 0):
        best = min(found, key=lambda t: grid.trial(found[t], t).size)
        ordered = sorted(found)
        at = ordered.index(best)
        gaps = [(ordered[i + 1] - ordered[i], i) for i in (at - 1, at) if 0 <= i < len(ordered) - 1]
        _, i = max(gaps)
        threshold = (ordered[i] + ordered[i + 1]) / 2
        spacing = grid.widest(threshold, tolerance, found[best], 1.05)
        if spacing is None:
            break
        found[threshold] = spacing
    best = min(found, key=lambda t: grid.trial(found[t], t).size)
    grid.widest(best, tolerance, found[best], 1.01)
    return grid.trials.best(tolerance, ORIGIN)
