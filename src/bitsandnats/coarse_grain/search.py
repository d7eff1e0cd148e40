"""Which search finds the network: one of three methods, and for ours the global one by what a loss costs."""

import math
import time
from typing import Literal, NamedTuple

from bitsandnats.coarse_grain.grain import coarse_grain, ranks, scale
from bitsandnats.coarse_grain.grid_search import ORIGIN, GlobalGrid, search_grid, spacing_range
from bitsandnats.coarse_grain.model_search import Told, ask_and_tell
from bitsandnats.coarse_grain.published import bisect_spacing, search_published
from bitsandnats.coarse_grain.trials import Trial, Trials
from bitsandnats.coarse_grain.tuned import Refinement
from bitsandnats.coarse_grain.tuned_search import TunedSearch
from bitsandnats.compressors.coding import Network, encode

Method = Literal["searched", "published", "quantization"]
Global = Literal["auto", "grid", "model"]

_DEAR = 2.0  # seconds a loss, above which trials are chosen by a Gaussian process
_MODEL_TRIALS = 30
_ENCODED = 3  # networks, smallest by entropy, whose files are compared


class Found(NamedTuple):
    """A coarse network and the trial that made it; `size` in bytes, exact."""

    trial: Trial
    network: Network
    size: int


class Search:
    """One checkpoint, all tolerances: what was tried for one serves the next."""

    def __init__(self, trials: Trials, method: Method, how: Global, refinements: tuple[Refinement, ...], seed: int):
        self.trials, self.method, self.refinements, self.seed = trials, method, refinements, seed
        self._grid = GlobalGrid(trials)
        self._how: Literal["grid", "model"] = self._by_cost() if how == "auto" else how

    def smallest(self, tolerance: float) -> Found | None:
        """The smallest network found within a tolerance; None where none is."""
        if self.method != "searched":
            find = search_published if self.method == "published" else bisect_spacing
            trial = find(self.trials, tolerance, self.seed)
            return None if trial is None else Found(trial, self._global(trial), int(trial.size))
        trial = self._globally(tolerance)
        if trial is None:
            return None
        network = self._global(trial)
        found = [Found(trial, network, len(encode(network)))]
        if self.refinements:
            spacing = self._spacing(trial, tolerance)
            dear = self._how == "model"
            used: tuple[Refinement, ...] = tuple(r for r in self.refinements if not (dear and r == "compensation"))
            tuned = TunedSearch(self.trials, tolerance, spacing, used, known_ranks=ranks(network), seed=self.seed).run()
            found += [Found(t, coarse, len(encode(coarse))) for t, coarse in tuned[:_ENCODED]]
        return min(found, key=lambda f: f.size)

    def _global(self, trial: Trial) -> Network:
        return coarse_grain(self.trials.checkpoint, trial.settings["spacing"], trial.settings["threshold"])

    def _globally(self, tolerance: float) -> Trial | None:
        if self._how == "grid":
            return search_grid(self._grid, tolerance)
        checkpoint = self.trials.checkpoint

        def told(trial: Trial) -> Told:
            gap = min(max(abs(trial.excess), 1e-12), 1e6)
            size = min(max(trial.size, 1.0), 8.0 * checkpoint.task.dimension)  # infinite where there is no network
            return Told(math.log(size), math.log(gap / tolerance))

        rms = scale(checkpoint)
        ask_and_tell(
            self._grid.at,
            told,
            spacing_range(checkpoint),
            trials=_MODEL_TRIALS,
            seed=self.seed,
            known=[t for t in self.trials.seen if t.origin == ORIGIN],
            probes=((rms / 4, 1.0), (rms / 4, 0.9), (rms / 32, 1.0)),
            at_once=self.trials.workers,
        )
        return self.trials.best(tolerance, ORIGIN)

    def _spacing(self, trial: Trial, tolerance: float) -> float:
        """Where sensitivities are taken: the widest spacing without factors that is within the tolerance."""
        plain = [
            t.settings["spacing"]
            for t in self.trials.seen
            if t.origin == ORIGIN and t.settings["threshold"] == 1.0 and t.within(tolerance)
        ]
        return max(plain, default=trial.settings["spacing"])

    def _by_cost(self) -> Literal["grid", "model"]:
        began = time.perf_counter()
        self.trials.evaluate(self.trials.checkpoint.task.center)
        return "model" if time.perf_counter() - began > _DEAR else "grid"
