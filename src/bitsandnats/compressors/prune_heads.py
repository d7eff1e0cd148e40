"""Attention heads taken out at random, and the rest trained on (2510.12077, C.5)."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch

from bitsandnats._rng import generator
from bitsandnats._types import Params
from bitsandnats.compressors.price import FLOAT_BITS, check_weights, fixed_bits, mask_bits, structure_of, written
from bitsandnats.compressors.retrain import retrain
from bitsandnats.compressors.types import Level, Levels, Prepared
from bitsandnats.errors import InputError, ModelError, message
from bitsandnats.structure import Head
from bitsandnats.task import Task

_GRID = 8
_RATE_SHARE = 0.1


@dataclass(frozen=True)
class PruneHeads:
    """Pruning of random attention heads; build it with `prune_heads()`.

    Attributes:
        retrain_steps: updates after pruning; 0 for none.
        training_rate: learning rate of the original training; a tenth of it is used.
        batch_size: items a step.
        draws: choices of heads a level.
        data: what is trained on; None for the data of the task.
    """

    retrain_steps: int = 1000
    training_rate: float = 1e-3
    batch_size: int = 32
    draws: int = 3
    data: Any = field(default=None, compare=False, repr=False)

    @property
    def scheme(self) -> str:
        """Its registered name, with those options that are not the default."""
        return written("prune-heads", self)

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Draws the orders in which heads are taken out.

        Raises:
            ModelError: no attention heads, or ones that are fixed, or damaged weights.
        """
        check_weights(task)
        heads = structure_of(task).heads
        if not heads:
            raise ModelError(
                message(
                    expected="a transformer whose attention heads can be told apart",
                    got="a model without them",
                    do="use another scheme, for instance prune-magnitude",
                )
            )
        fixed = {s.name for h in heads for s in (h.query, h.key, h.value, h.output)} - set(task.center)
        if fixed:
            raise ModelError(
                message(expected="attention that moves", got=f"{min(fixed)} fixed", do="set requires_grad_(True) on it")
            )
        streams = [generator(seed, draw, "compress") for draw in range(self.draws)]
        orders = tuple(tuple(torch.randperm(len(heads), generator=g).tolist()) for g in streams)
        kept = sorted({round(i * len(heads) / _GRID) for i in range(_GRID + 1)})
        levels = Levels("real", tuple(k / len(heads) for k in kept), "fraction of heads")
        training = task if self.data is None else task.on(self.data)
        return _Pruner(self, task, training, heads, orders, levels, seed)


def prune_heads(
    *,
    retrain_steps: int = 1000,
    training_rate: float = 1e-3,
    batch_size: int = 32,
    draws: int = 3,
    data: Any = None,
) -> PruneHeads:
    """A level is the fraction p of the N heads that is kept: the matrices of ⌊(1−p)N⌋ random heads are set to zero.

    Zeroed are a head's rows of the query, key and value matrices and its columns of the one behind attention, not
    their biases: its part in the layer's output is then zero. Keys and values that several heads share are zeroed
    with the last of these. Heads are drawn from the whole model, in one random order a draw, so that those taken
    out at a level are among those of a more severe one. Then the network is trained on with those gradients fixed to
    0, and the weights of the smallest training loss are kept; without retraining, the pruned weights.
    Checked by `tests/truth/test_prune_heads.py`.

    Args:
        retrain_steps: updates after pruning, with AdamW; 0 for none.
        training_rate: learning rate of the original training; a tenth of it is used.
        batch_size: items a step, drawn with replacement.
        draws: choices of heads, each with its own retraining; losses are averaged over them.
        data: what to train on, of the form of the task's data; None = that of the task itself, which must then not be
            taken for held-out data.

    Raises:
        InputError: a number out of its range.

    Source: arXiv 2510.12077, C.5, equation 16.
    """
    for name, value, least in (("retrain_steps", retrain_steps, 0), ("batch_size", batch_size, 1), ("draws", draws, 1)):
        if value < least:
            raise InputError(message(expected=f"{name} of at least {least}", got=str(value), do="choose a larger one"))
    if not 0 < training_rate < math.inf:
        raise InputError(message(expected="training_rate > 0", got=str(training_rate), do="give a learning rate"))
    return PruneHeads(retrain_steps, training_rate, batch_size, draws, data)


@dataclass(frozen=True)
class _Pruner:
    options: PruneHeads
    task: Task
    training: Task
    heads: tuple[Head, ...]
    orders: tuple[tuple[int, ...], ...]  # heads in the order of their removal, a draw each
    levels: Levels
    seed: int
    losses: dict[tuple[int, int], float] = field(default_factory=dict)  # smallest training loss by heads pruned, draw

    @property
    def draws(self) -> int:
        return self.options.draws

    def compress(self, level: Level, draw: int = 0) -> Params:
        count = self._pruned(level)
        zeros = self._zeros(count, draw)
        params = {
            name: w.masked_fill(zeros[name], 0) if name in zeros else w.clone() for name, w in self.task.center.items()
        }
        if self.options.retrain_steps == 0:
            return params
        trained = retrain(
            self.training,
            params,
            zeros=zeros,
            rate=_RATE_SHARE * self.options.training_rate,
            steps=self.options.retrain_steps,
            batch_size=self.options.batch_size,
            generator=generator(self.seed, draw, "batches"),
        )
        self.losses[count, draw] = trained.loss
        return trained.params

    def bits(self, level: Level) -> float:
        """32 a weight that is left or fixed, the mean over draws; 32 for how many heads, the entropy of which."""
        count = self._pruned(level)
        zeros = [sum(int(mask.sum()) for mask in self._zeros(count, draw).values()) for draw in range(self.draws)]
        left = self.task.dimension - sum(zeros) / self.draws
        return FLOAT_BITS * (left + 1) + fixed_bits(self.task) + mask_bits(len(self.heads), count)

    def details(self, level: Level) -> dict[str, float]:
        """`training_loss` is the smallest of each retraining, in nats a unit, the mean over draws."""
        count = self._pruned(level)
        found = {"heads": float(len(self.heads)), "heads_kept": float(len(self.heads) - count)}
        if self.options.retrain_steps == 0:
            return found
        for draw in range(self.draws):
            if (count, draw) not in self.losses:
                self.compress(level, draw)
        return {**found, "training_loss": sum(self.losses[count, draw] for draw in range(self.draws)) / self.draws}

    def _pruned(self, level: Level) -> int:
        self.levels.check(level)
        return math.floor((1 - level) * len(self.heads) + 1e-9)  # (1 − 0.9)·10 is 1 and not 0.999…

    def _zeros(self, count: int, draw: int) -> Params:
        return head_masks(self.task.center, self.heads, self.orders[draw][:count])


def head_masks(params: Params, heads: tuple[Head, ...], pruned: Collection[int]) -> Params:
    """Masks of the weights that belong to some heads alone, true there; only of the parameters that have any.

    Args:
        params: of the model.
        heads: all of the model's.
        pruned: indices in `heads`.
    """
    shared = {part for i, h in enumerate(heads) if i not in pruned for part in (h.key, h.value)}
    masks: Params = {}
    for index in pruned:
        head = heads[index]
        for part in {head.query, head.key, head.value, head.output} - shared:
            mask = masks.setdefault(part.name, torch.zeros_like(params[part.name], dtype=torch.bool))
            part.of(mask).fill_(True)
    return masks
