"""ΔL by level on one fixed set of items: each level as far as its side of every tolerance asks for."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats._tree import numel
from bitsandnats._types import Params, Progress
from bitsandnats.compressors.types import Level, Prepared
from bitsandnats.errors import ModelError, message
from bitsandnats.task import Task

CERTAIN = 5.0
"""Standard errors from a tolerance at which a level's side counts as certain."""

_FIRST_LOOK = 16
_LOOKS = 3  # before the last: at an eighth, a quarter and half of the items
_BATCH = {"token": 32, "sequence": 32, "sample": 256}
_KEPT_BYTES = 1 << 28
_GOLDEN = 0.6180339887498949


class Excess(NamedTuple):
    """ΔL at a level, nats a unit: mean and standard error; infinite where the losses are not finite."""

    mean: float
    se: float


class Sweep:
    """ΔL by level, remembered; every level is looked at once, and once more where it turns out to decide a number.

    Items are taken in an order that spreads any first part of them over the whole set. After an eighth of them, a
    quarter and a half, a level is left where |ΔL − ε| exceeds five standard errors of its mean over *all* items (so the
    factor √(1 − k/n) for k of n) at every tolerance ε.
    """

    def __init__(self, task: Task, prepared: Prepared, tolerances: Sequence[float], progress: Progress) -> None:
        self.task, self.prepared, self.tolerances = task, prepared, tuple(tolerances)
        self._progress = progress
        items = len(task.data)
        self._order = np.argsort(np.arange(items) * _GOLDEN % 1.0, kind="stable")
        looks = {min(items, max(_FIRST_LOOK, -(-items >> k))) for k in range(1, _LOOKS + 1)}
        self._looks = sorted({*looks, items})
        self._batches = _batches(self._looks, _BATCH[task.unit])
        self._differences: dict[Level, Float[ndarray, "draw item"]] = {}
        self._kept: dict[Level, list[Params]] = {}
        self._copies: set[Level] = set()
        self._reference = np.zeros(items)
        self._reference = self._losses(task.center, 0, items)
        self._evaluated = items
        if not np.isfinite(self._reference).all():
            raise ModelError(
                message(
                    expected="a finite loss before compression",
                    got=f"NaN or infinity on {int((~np.isfinite(self._reference)).sum())} of {items} items",
                    do="use an undamaged checkpoint and data",
                )
            )

    def excess(self, level: Level) -> float:
        """ΔL at a level, good enough for its side of every tolerance."""
        if level not in self._differences:
            self._differences[level] = np.zeros((self.prepared.draws, 0))
            self._extend(level, self._looks)
            self._progress("compressing", len(self._differences), max(len(self._differences), 12))
        return self.seen(level).mean

    def settle(self, level: Level) -> Excess:
        """ΔL at a level from all items."""
        self.excess(level)
        self._extend(level, self._looks[-1:])
        return self.seen(level)

    def seen(self, level: Level) -> Excess:
        """What is known of a level that was evaluated."""
        return mean_and_error(self._differences[level])

    def seen_levels(self) -> list[Level]:
        """The levels evaluated, from severe to mild."""
        return sorted(self._differences, reverse=not self.prepared.levels.rising)

    def rise(self, severe: Level, mild: Level) -> float:
        """ΔL at the milder of two levels over that at the severer, on the items on which both were evaluated.

        Above 1 where the loss rises, infinite where it rises from below zero.
        """
        low, high = self._differences[severe], self._differences[mild]
        count = min(low.shape[1], high.shape[1])
        before, after = (mean_and_error(d[:, :count]).mean for d in (low, high))
        if not math.isfinite(before) or after <= before:
            return 1.0
        return after / before if before > 0 else math.inf

    def error_between(self, low: Level, high: Level, share: float) -> float:
        """Standard error of the mean of (1 − share)·d(low) + share·d(high) over paired items and draws.

        Where the two were evaluated on different items, as if their errors were one and the same: an upper bound.
        """
        first, second = self._differences[low], self._differences[high]
        if first.shape == second.shape:
            return mean_and_error((1 - share) * first + share * second).se
        return (1 - share) * mean_and_error(first).se + share * mean_and_error(second).se

    def same(self, level: Level, others: Sequence[Level]) -> bool:
        """Whether a level is the same network as one of two evaluated ones it lies between, and so known already.

        It is where their lengths in bits are equal: along its levels a scheme's length only ever grows with mildness.
        """
        length = self.prepared.bits(level)
        alike = [other for other in others if length is not None and self.prepared.bits(other) == length]
        if alike and level not in self._differences:
            self._differences[level] = self._differences[alike[0]]
            self._copies.add(level)
        return bool(alike)

    def forget(self, level: Level) -> None:
        """Drops a level that was never evaluated, only known to be the same network as another."""
        if level in self._copies:
            self._copies.remove(level)
            del self._differences[level]

    def curve(self) -> xr.Dataset:
        """Every level evaluated, from severe to mild; `items` is how many each was evaluated on."""
        levels = self.seen_levels()
        found = [self.seen(level) for level in levels]
        bits = [self.prepared.bits(level) for level in levels]
        columns = {
            "excess_loss": [e.mean for e in found],
            "excess_loss_se": [e.se for e in found],
            "bits": [math.nan if b is None else b for b in bits],
            "items": [self._differences[level].shape[1] for level in levels],
        }
        details = [self.prepared.details(level) for level in levels]
        columns |= {name: [d[name] for d in details] for name in details[0]}
        coordinate = np.asarray(levels, dtype=int if self.prepared.levels.kind == "integer" else float)
        attributes = {
            "unit": self.prepared.levels.unit,
            "kind": self.prepared.levels.kind,
            "parameters": self.task.dimension + numel(self.task.fixed),
            "passes": self._evaluated / len(self._order),
        }
        variables = {k: ("level", np.asarray(v, float)) for k, v in columns.items()}
        return xr.Dataset(variables, {"level": coordinate}, attributes)

    def _extend(self, level: Level, looks: Sequence[int]) -> None:
        """Evaluates a level up to the look at which it is certain, or to the last."""
        if self._differences[level].shape[1] >= looks[-1]:
            return
        draws = range(self.prepared.draws)
        weights = self._kept.pop(level, None) or [self.prepared.compress(level, d) for d in draws]
        for look in looks:
            start = self._differences[level].shape[1]
            if look <= start:
                continue
            new = np.stack([self._losses(w, start, look) for w in weights])
            self._differences[level] = np.concatenate([self._differences[level], new], axis=1)
            self._evaluated += new.size
            if self._certain(level):
                break
        if self._differences[level].shape[1] < len(self._order):
            self._keep(level, weights)

    def _certain(self, level: Level) -> bool:
        """Only items are still to come: the draws are those that the result is a mean over."""
        count, items = self._differences[level].shape[1], len(self._order)
        found = mean_and_error(self._differences[level].mean(0, keepdims=True))
        if not math.isfinite(found.mean):
            return True
        margin = CERTAIN * found.se * math.sqrt(1 - count / items)
        return all(abs(found.mean - tolerance) > margin for tolerance in self.tolerances)

    def _keep(self, level: Level, weights: list[Params]) -> None:
        """Holds on to weights that may be asked for again: retraining them would cost more than memory."""
        size = sum(p.numel() * p.element_size() for w in weights for p in w.values())
        if size > _KEPT_BYTES:
            return
        self._kept[level] = weights
        while len(self._kept) * size > _KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    @torch.no_grad()
    def _losses(self, params: Params, start: int, stop: int) -> Float[ndarray, " item"]:
        """Losses of some items in the fixed order, less the reference; nats a unit."""
        found = []
        for begin, end in self._batches:
            if start <= begin and end <= stop:
                batch = self.task.batch(torch.from_numpy(self._order[begin:end]))
                found.append(self.task.item_losses(params, batch).double().cpu().numpy())
        return np.concatenate(found) / self.task.mean_weight - self._reference[start:stop]


def _batches(looks: Sequence[int], size: int) -> list[tuple[int, int]]:
    """First item and last + 1 of each batch; one ends at every look, so that an item is always in the same batch."""
    parts = itertools.pairwise([0, *looks])
    return [(begin, min(begin + size, stop)) for start, stop in parts for begin in range(start, stop, size)]


def mean_and_error(differences: Float[ndarray, "draw item"]) -> Excess:
    """Mean and standard error of ΔL over items, and over draws where there are several; infinite if not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(differences.mean())
    if not math.isfinite(mean):
        return Excess(math.inf, math.inf)
    items = differences.mean(0)
    variance = items.var(ddof=1) / len(items) if len(items) > 1 else 0.0
    if len(differences) > 1:
        variance += differences.mean(1).var(ddof=1) / len(differences)
    return Excess(mean, float(math.sqrt(variance)))
