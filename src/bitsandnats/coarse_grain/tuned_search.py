"""The search over prices, widths and ranks of a tuned coarse-graining, for one tolerance after the other."""

from collections.abc import Sequence
from functools import partial

import torch

from bitsandnats._rng import generator
from bitsandnats._types import Params
from bitsandnats.coarse_grain.boundary import boundary
from bitsandnats.coarse_grain.compensation import compensate
from bitsandnats.coarse_grain.evaluator import Evaluator
from bitsandnats.coarse_grain.grain import coarse_grain, ranks
from bitsandnats.coarse_grain.sensitivity import smoothed, squared_gradients
from bitsandnats.coarse_grain.trials import Attempt, Trial, Trials
from bitsandnats.coarse_grain.tuned import Plan, Refinement, choose_ranks, refine
from bitsandnats.compressors.coding import Network, first_order_bits

ORIGIN = "tuned"
_WIDTHS = (4.0, 6.5, 2.5, 10.0)  # in the order of trial; those after the second only if it was better, or not
_ITEMS = {"token": 256, "sequence": 256, "sample": 8192}
_POINTS = 4
_RANGE = 1e6  # of prices, in both directions from the first
_PRECISION, _COARSE = 1.05, 1.2  # of the price at the boundary, without and with compensation
_STEPS = 30  # of compensation


class TunedSearch:
    """One tolerance of one checkpoint: sensitivities measured once, then prices, widths and ranks."""

    def __init__(
        self,
        trials: Trials,
        tolerance: float,
        spacing: float,
        refinements: tuple[Refinement, ...],
        *,
        known_ranks: dict[str, int],
        seed: int,
    ) -> None:
        self._known_ranks = known_ranks if "ranks" in refinements else {}
        self._trials, self._tolerance, self._refinements = trials, tolerance, refinements
        self._sensitivity = measure(trials, spacing, seed)
        total = sum(float(h.sum()) for h in self._sensitivity.values()) / trials.checkpoint.task.dimension
        self._price = total * (spacing / _WIDTHS[0]) ** 2
        self.found: list[tuple[Trial, Network]] = []

    def run(self) -> list[tuple[Trial, Network]]:
        """The smallest network within the tolerance for each width and choice of ranks, smallest first."""
        self._choose()
        if "compensation" in self._refinements:
            for trial, network in self._starts():
                for refinements in dict.fromkeys([self._refinements, self._even]):
                    self._price = trial.settings["price"]
                    self._narrow(trial.settings["width"], ranks(network), _STEPS, refinements)
        return sorted(self.found, key=lambda f: f[0].size)

    @property
    def _even(self) -> tuple[Refinement, ...]:
        """Without spacings by sensitivity: compensation moves errors to where they cost little by itself."""
        return tuple(r for r in self._refinements if r != "spacings")

    def _starts(self) -> list[tuple[Trial, Network]]:
        """The smallest network of each choice of ranks, of the two smallest choices."""
        best: dict[tuple[tuple[str, int], ...], tuple[Trial, Network]] = {}
        for trial, network in sorted(self.found, key=lambda f: f[0].size):
            best.setdefault(tuple(ranks(network).items()), (trial, network))
        return list(best.values())[:2]

    def _choose(self) -> None:
        """Widths and ranks."""
        best = {width: self._narrow(width, {}) for width in _WIDTHS[:2]}
        further = _WIDTHS[3] if best[_WIDTHS[1]] < best[_WIDTHS[0]] else _WIDTHS[2]
        best[further] = self._narrow(further, {})
        if "ranks" in self._refinements:
            ordered = sorted(best, key=lambda w: best[w])
            for width in ordered[:2]:
                plan = Plan(self._sensitivity, self._price, width, self._refinements, {})
                chosen = choose_ranks(self._trials.checkpoint, plan)
                if not chosen:
                    break
                self._narrow(width, chosen)
                again = choose_ranks(self._trials.checkpoint, plan._replace(price=self._price))
                if again != chosen:
                    self._narrow(width, again)
            if self._known_ranks:
                self._narrow(ordered[0], self._known_ranks)

    def _narrow(
        self,
        width: float,
        chosen: dict[str, int],
        steps: int = 0,
        refinements: tuple[Refinement, ...] | None = None,
    ) -> float:
        """The highest price within the tolerance at a width; the size there, infinite where there is none."""
        used = self._refinements if refinements is None else refinements
        known: dict[float, tuple[Trial, Network | None]] = {}

        def attempt(price: float) -> Attempt:
            settings = {"price": price, "width": width, **({"steps": float(steps)} if steps else {})}
            make = partial(self._make, Plan(self._sensitivity, price, width, used, chosen), steps)
            return Attempt(ORIGIN, settings, make, lambda network: first_order_bits(network) / 8)

        def excess(prices: Sequence[float]) -> list[float]:
            new = [p for p in prices if p not in known]
            known.update(zip(new, self._trials.add([attempt(p) for p in new]), strict=True))
            return [known[p][0].excess for p in prices]

        precision = _COARSE if steps else _PRECISION
        low, high = self._price / _RANGE, self._price * _RANGE
        price = boundary(
            excess, self._tolerance, self._price, low=low, high=high, ratio=precision, at_once=self._trials.workers
        )
        inside = [(trial, n) for trial, n in known.values() if n is not None and trial.within(self._tolerance)]
        if price is None or not inside:
            return float("inf")
        self._price = price
        smallest = min(inside, key=lambda pair: pair[0].size)
        self.found.append(smallest)
        return smallest[0].size

    def _make(self, plan: Plan, steps: int, evaluator: Evaluator) -> Network:
        network = refine(self._trials.checkpoint, plan)
        if not steps:
            return network
        return compensate(evaluator, self._trials.checkpoint, network, self._sensitivity, price=plan.rate, steps=steps)


def measure(trials: Trials, spacing: float, seed: int) -> Params:
    """Sensitivities at networks moved by about a spacing, where the loss has risen by about what is allowed."""
    checkpoint = trials.checkpoint
    source = generator(seed, 0, "probe")
    points = [checkpoint.params(coarse_grain(checkpoint, spacing))]
    points += [_dithered(checkpoint.task.center, spacing, source) for _ in range(_POINTS - 1)]
    items = min(_ITEMS[checkpoint.task.unit], 32 * len(checkpoint.task.data))
    return smoothed(squared_gradients(checkpoint.task, points, items=items, generator=source))


def _dithered(weights: Params, spacing: float, source: torch.Generator) -> Params:
    """Weights moved by uniform noise of one spacing: what rounding does to them, on average."""
    return {name: w + (torch.rand(w.shape, generator=source).to(w) - 0.5) * spacing for name, w in weights.items()}
