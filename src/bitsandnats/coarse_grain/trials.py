"""The pool of trials: every network that was tried, its size and what it costs in loss; one pool for all tolerances."""

import math
import time
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from bitsandnats._types import Params, Progress
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.compressors.coding import Network
from bitsandnats.errors import ModelError, message
from bitsandnats.task import Task

_BATCH = {"token": 32, "sequence": 32, "sample": 1024}


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


class Trials:
    """Evaluates coarse networks against the loss at the checkpoint, and remembers all of them."""

    def __init__(self, checkpoint: Checkpoint, progress: Progress) -> None:
        self.checkpoint = checkpoint
        self.seen: list[Trial] = []
        self.loss_seconds = 0.0
        self._progress = progress
        self._reference = item_losses(checkpoint.task, checkpoint.task.center)
        if not np.isfinite(self._reference).all():
            bad = int((~np.isfinite(self._reference)).sum())
            got = f"NaN or infinity on {bad} of {len(self._reference)} items"
            raise ModelError(message(expected="a finite loss before coarse-graining", got=got, do="check the model"))

    @property
    def loss(self) -> float:
        """L(θ), nats a unit."""
        return float(self._reference.mean())

    def evaluate(self, params: Params) -> tuple[float, float]:
        """ΔL of some weights and its standard error over items, nats a unit; infinite where it is not finite."""
        began = time.perf_counter()
        differences = item_losses(self.checkpoint.task, params) - self._reference
        self.loss_seconds += time.perf_counter() - began
        mean = float(differences.mean())
        if not math.isfinite(mean):
            return math.inf, math.inf
        spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
        return mean, spread / math.sqrt(len(differences))

    def add(self, origin: str, network: Network, size: float, settings: dict[str, float]) -> Trial:
        """Evaluates a network and adds it to the pool."""
        excess, se = self.evaluate(self.checkpoint.params(network))
        trial = Trial(origin, settings, size, excess, se)
        self.seen.append(trial)
        self._progress("searching", len(self.seen), max(len(self.seen) + 8, 48))
        return trial

    def best(self, tolerance: float, origin: str | None = None) -> Trial | None:
        """The smallest network within a tolerance, of one part of the search or of all."""
        inside = [t for t in self.seen if t.within(tolerance) and origin in (None, t.origin)]
        return min(inside, key=lambda t: t.size, default=None)


@torch.no_grad()
def item_losses(task: Task, params: Params) -> Float[ndarray, " item"]:
    """Loss of every item, nats a unit."""
    losses = task.all_item_losses(params, _BATCH[task.unit])
    return losses.double().cpu().numpy() / task.mean_weight
