"""The pool of trials: every network that was tried, its size and what it costs in loss; one pool for all tolerances."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bitsandnats._functional import for_another_thread
from bitsandnats._types import Params, Progress
from bitsandnats.coarse_grain.evaluator import Evaluator
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.compressors.coding import Network
from bitsandnats.errors import GridError, ModelError, message
from bitsandnats.executor import run_in_threads


class Trial(NamedTuple):
    """One coarse network: how it was made, its size as the search sees it, and its distortion.

    Attributes:
        origin: which part of a search made it.
        settings: by name, as that part knows how to read: `spacing`, `threshold`, `price` …
        size: bytes; exact for some searches, first-order entropy for others.
        excess: L(θ̃) − L(θ) on the data, nats a unit.
        se: its standard error, from paired losses.
    """

    origin: str
    settings: dict[str, float]
    size: float
    excess: float
    se: float

    def within(self, tolerance: float) -> bool:
        """Whether |ΔL| < ε."""
        return abs(self.excess) < tolerance


class Attempt(NamedTuple):
    """A coarse network to be made and tried.

    Attributes:
        origin: which part of a search wants it.
        settings: by name.
        make: builds the network, with losses and gradients where it needs them.
        size: its size as the search sees it, bytes.
    """

    origin: str
    settings: dict[str, float]
    make: Callable[[Evaluator], Network]
    size: Callable[[Network], float]


class Trials:
    """Evaluates coarse networks against the loss at the checkpoint, and remembers all of them."""

    def __init__(self, checkpoint: Checkpoint, progress: Progress, workers: int = 1) -> None:
        self.checkpoint, self.workers = checkpoint, workers
        self.seen: list[Trial] = []
        self._progress = progress
        task = checkpoint.task
        others = [dataclasses.replace(task, loss=for_another_thread(task.loss)) for _ in range(workers - 1)]
        self.evaluators = [Evaluator(one) for one in (task, *others)]
        self._reference = self.evaluators[0].losses(task.center)
        if not np.isfinite(self._reference).all():
            bad = int((~np.isfinite(self._reference)).sum())
            got = f"NaN or infinity on {bad} of {len(self._reference)} items"
            raise ModelError(message(expected="a finite loss before coarse-graining", got=got, do="check the model"))

    @property
    def loss(self) -> float:
        """L(θ), nats a unit."""
        return float(self._reference.mean())

    @property
    def loss_seconds(self) -> float:
        """Time spent in losses and gradients, that of several workers added up."""
        return sum(evaluator.seconds for evaluator in self.evaluators)

    def evaluate(self, params: Params) -> tuple[float, float]:
        """ΔL of some weights and its standard error over items, nats a unit; infinite where it is not finite."""
        return self._compare(self.evaluators[0], params)

    def add(self, attempts: Sequence[Attempt]) -> list[tuple[Trial, Network | None]]:
        """Makes and evaluates networks, as many at once as there are workers, and adds them to the pool in order.

        One that no whole numbers of steps stand for is infinitely far from any tolerance, and there is no network.
        """
        done = run_in_threads(self._attempt, attempts, self.evaluators)
        self.seen += [trial for trial, _ in done]
        self._progress("searching", len(self.seen), max(len(self.seen) + 8, 48))
        return done

    def best(self, tolerance: float, origin: str | None = None) -> Trial | None:
        """The smallest network within a tolerance, of one part of the search or of all."""
        inside = [t for t in self.seen if t.within(tolerance) and origin in (None, t.origin)]
        return min(inside, key=lambda t: t.size, default=None)

    def _attempt(self, attempt: Attempt, evaluator: Evaluator) -> tuple[Trial, Network | None]:
        try:
            network = attempt.make(evaluator)
            params = self.checkpoint.params(network)
        except GridError:
            return Trial(attempt.origin, attempt.settings, math.inf, math.inf, math.inf), None
        excess, se = self._compare(evaluator, params)
        return Trial(attempt.origin, attempt.settings, attempt.size(network), excess, se), network

    def _compare(self, evaluator: Evaluator, params: Params) -> tuple[float, float]:
        differences = evaluator.losses(params) - self._reference
        mean = float(differences.mean())
        if not math.isfinite(mean):
            return math.inf, math.inf
        spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
        return mean, spread / math.sqrt(len(differences))
