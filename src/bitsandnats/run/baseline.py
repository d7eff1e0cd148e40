"""L(w*) beside the draws: of every item once, of each batch again, or of a few batches."""

from typing import NamedTuple

import torch
from torch import Tensor

from bitsandnats._rng import generator
from bitsandnats._tree import fetched, map_batch
from bitsandnats._types import Batch, Params
from bitsandnats.settings import Settings
from bitsandnats.task import Task

_UNPAIRED_BATCHES = 8


class Baseline(NamedTuple):
    """Losses at w*: of every item (computed once), or None where each batch is evaluated again."""

    item_losses: Tensor | None
    paired: bool


def batch_indices(batches: list[torch.Generator], items: int, size: int) -> Tensor:
    """Items of each chain's next batch, each from the chain's own generator."""
    return torch.stack([torch.randint(items, (size,), generator=g) for g in batches])


def choose_baseline(task: Task, settings: Settings, full: bool) -> Baseline:
    """Where L(w*) comes from: as the settings say, or the cheaper of all items once and each batch again."""
    visits = settings.chains * settings.steps * settings.batch_size
    kind = settings.baseline
    if kind == "auto":
        kind = "all" if len(task.data) <= visits else "batch"
    if kind == "batch" and full:  # every batch is all of the data
        kind = "all"
    if kind == "all":
        return Baseline(task.all_item_losses(task.center, max(settings.batch_size, 32)), True)
    return Baseline(None, kind == "batch")


def baseline_loss(task: Task, baseline: Baseline, indices: Tensor | None, batch: Batch | None) -> Tensor | None:
    """L_B(w*) of each chain's batch; None where the baseline is unpaired."""
    if baseline.item_losses is not None:
        losses = (
            baseline.item_losses if indices is None else baseline.item_losses[indices.to(baseline.item_losses.device)]
        )
        return task.mean_loss(losses)
    if not baseline.paired or batch is None or indices is None:
        return None
    return _batch_loss(task, task.center, batch, len(indices))


def losses_ahead(task: Task, batches: list[torch.Generator], *, size: int, steps: int) -> list[Tensor]:
    """L_B(w*) of each chain's batches to come, one tensor a step: w* of a task that the CPU keeps is fetched once.

    Args:
        task: the task.
        batches: generators of their own, in the states of those that the chains draw their batches from.
        size: items a batch.
        steps: to come.
    """
    center = {name: fetched(w, task.device) for name, w in task.center.items()}
    chosen = (batch_indices(batches, len(task.data), size) for _ in range(steps))
    return [_batch_loss(task, center, task.batch(indices), len(batches)) for indices in chosen]


@torch.no_grad()
def _batch_loss(task: Task, center: Params, batch: Batch, chains: int) -> Tensor:
    losses = [task.item_losses(center, map_batch(lambda t, c=c: t[c], batch)) for c in range(chains)]
    return task.mean_loss(torch.stack(losses))


def unpaired_center_loss(task: Task, settings: Settings) -> tuple[float, float]:
    """L(w*) from a few batches, and its standard error; nats a unit."""
    random = generator(settings.seed, 0, "probe")
    with torch.no_grad():
        losses = [
            task.mean_loss(task.item_losses(task.center, task.batch(i[0])))
            for i in (batch_indices([random], len(task.data), settings.batch_size) for _ in range(_UNPAIRED_BATCHES))
        ]
    stacked = torch.stack(losses).double()
    return float(stacked.mean()), float(stacked.std() / len(stacked) ** 0.5)
