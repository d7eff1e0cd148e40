"""The search over prices, widths and ranks of a tuned coarse-graining, for one tolerance after the other."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

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
_PRECISION = 1.05  # of the price at the boundary, without compensation
_COARSE = 1.1  # with it
_STEPS, _FEWER = 100, 30  # of compensation; the second where losses are not cheap
_CHEAP = 1e8  # parameters times items
_WIDER = 5.0  # spacings that compensation allows, about, in units of the widest without


class _Start(NamedTuple):
    """What compensation begins with."""

    refinements: tuple[Refinement, ...]
    width: float
    ranks: dict[str, int]
    price: float


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
        self._total = sum(float(h.sum()) for h in self._sensitivity.values()) / trials.checkpoint.task.dimension
        self._spacing = spacing
        self._price = self._total * (spacing / _WIDTHS[0]) ** 2
        self.found: list[tuple[Trial, Network]] = []

    def run(self) -> list[tuple[Trial, Network]]:
        """The smallest network within the tolerance for each width and choice of ranks, smallest first."""
        self._choose()
        if "compensation" in self._refinements:
            task = self._trials.checkpoint.task
            for start in self._starts():
                self._narrow(start, compensation_steps(task.dimension, len(task.data)))
        return sorted(self.found, key=lambda f: f[0].size)

    def _starts(self) -> list[_Start]:
        """What compensation begins with: one spacing alone, the smallest plan of all, the smallest with one spacing.

        Compensation moves errors to where they cost little by itself, and rounding for rate, which pulls numbers to
        zero and holds them there, leaves it less to choose from; sensitivities, at last, are those of a network that it
        moves away from. Which of the three wins differs from network to network.
        """
        plain: tuple[Refinement, ...] = ("compensation",)
        width = _WIDTHS[0]
        starts = [_Start(plain, width, {}, self._total * (_WIDER * self._spacing / width) ** 2)]
        if self._refinements != plain:
            own = self._smallest([f for f in self.found if "plain" not in f[0].settings], self._refinements)
            starts += own
            even: tuple[Refinement, ...] = tuple(r for r in self._refinements if r != "spacings")
            if own and even not in (self._refinements, plain):
                starts += self._even(even, own[0].width)
        return starts

    def _even(self, refinements: tuple[Refinement, ...], width: float) -> list[_Start]:
        """The smallest network's plan of those with one spacing for all; none where none is within the tolerance."""
        first = len(self.found)
        self._narrow(_Start(refinements, width, {}, self._total * (self._spacing / _WIDTHS[0]) ** 2))
        if "ranks" in refinements and len(self.found) > first:
            plan = Plan(self._sensitivity, self._price, width, refinements, {})
            chosen = choose_ranks(self._trials.checkpoint, plan)
            if chosen:
                self._narrow(_Start(refinements, width, chosen, self._price))
        return self._smallest(self.found[first:], refinements)

    def _smallest(self, found: list[tuple[Trial, Network]], refinements: tuple[Refinement, ...]) -> list[_Start]:
        if not found:
            return []
        trial, network = min(found, key=lambda f: f[0].size)
        return [_Start(refinements, trial.settings["width"], ranks(network), trial.settings["price"])]

    def _choose(self) -> None:
        """Widths and ranks."""
        best = {width: self._narrow(self._plain(width, {})) for width in _WIDTHS[:2]}
        further = _WIDTHS[3] if best[_WIDTHS[1]] < best[_WIDTHS[0]] else _WIDTHS[2]
        best[further] = self._narrow(self._plain(further, {}))
        if "rounding" in self._refinements:  # which is not always better: sensitivities are estimates
            price = self._price
            less: tuple[Refinement, ...] = tuple(r for r in self._refinements if r != "rounding")
            self._narrow(_Start(less, _WIDTHS[0], {}, self._total * (self._spacing / _WIDTHS[0]) ** 2))
            self._price = price
        if "ranks" in self._refinements:
            ordered = sorted(best, key=lambda w: best[w])
            for width in ordered[:2]:
                plan = Plan(self._sensitivity, self._price, width, self._refinements, {})
                chosen = choose_ranks(self._trials.checkpoint, plan)
                if not chosen:
                    break
                self._narrow(self._plain(width, chosen))
                again = choose_ranks(self._trials.checkpoint, plan._replace(price=self._price))
                if again != chosen:
                    self._narrow(self._plain(width, again))
            if self._known_ranks:
                self._narrow(self._plain(ordered[0], self._known_ranks))

    def _plain(self, width: float, chosen: dict[str, int]) -> _Start:
        return _Start(self._refinements, width, chosen, self._price)

    def _narrow(self, start: _Start, steps: int = 0) -> float:
        """The highest price within the tolerance from a start; the size there, infinite where there is none."""
        known: dict[float, tuple[Trial, Network | None]] = {}

        def attempt(price: float) -> Attempt:
            settings = {"price": price, "width": start.width, **({"steps": float(steps)} if steps else {})}
            settings |= {} if start.refinements == self._refinements else {"plain": 1.0}
            plan = Plan(self._sensitivity, price, start.width, start.refinements, start.ranks)
            return Attempt(ORIGIN, settings, partial(self._make, plan, steps), lambda n: first_order_bits(n) / 8)

        def excess(prices: Sequence[float]) -> list[float]:
            new = [p for p in prices if p not in known]
            known.update(zip(new, self._trials.add([attempt(p) for p in new]), strict=True))
            return [known[p][0].excess for p in prices]

        at_once, precision = self._trials.workers, _COARSE if steps else _PRECISION
        low, high = start.price / _RANGE, start.price * _RANGE
        price = boundary(excess, self._tolerance, start.price, low=low, high=high, ratio=precision, at_once=at_once)
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


def compensation_steps(dimension: int, items: int) -> int:
    """How many gradient steps compensation takes: fewer where losses are not cheap, by parameters times items."""
    return _STEPS if dimension * items <= _CHEAP else _FEWER


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
