"""How many items a pass may hold, from what a pass keeps for its gradient and from the memory there is."""

import dataclasses
import math
import os
from collections.abc import Callable

import torch
from torch import Tensor

from bitsandnats._tree import fetched, map_batch, tensors
from bitsandnats._types import Params
from bitsandnats.target.posterior import LocalPosterior
from bitsandnats.task import Task

_SHARE = 0.4  # of the machine's memory that a pass may keep; not of what is free, so that a run can be repeated
_SMALL = 1 << 20  # weights, and numbers of a batch, below which nothing is measured
_BESIDE = 2.0  # what a pass needs at its peak, beside what it keeps


def choose_micro_batch(target: LocalPosterior, batch_size: int, *, arrays: int) -> int | None:
    """Items a pass at most; None = a whole batch at once.

    On a GPU by trial: the batch is halved for as long as an evaluation runs out of memory beside the arrays that the
    chain will need. Elsewhere by arithmetic: what a pass of one item keeps for its gradient, against a share of
    the machine's memory.

    Args:
        target: the target, one chain at a time.
        batch_size: items of a whole batch.
        arrays: of the weights' size that the chain holds beside w* and the gradient.
    """
    task = target.task
    one = task.batch(torch.arange(1))
    numbers = batch_size * sum(t.numel() for t in tensors(one))
    if batch_size == 1 or (task.dimension < _SMALL and numbers < _SMALL):
        return None
    if task.device.type == "cuda":
        return _by_trial(target, batch_size, arrays)
    item = kept_bytes(task, 1)
    weights = sum(w.numel() * w.element_size() for w in task.center.values())
    room = _SHARE * total_memory(task.device) - (arrays + 2) * weights
    fitting = max(int(room / max(_BESIDE * item, 1.0)), 1)
    return None if fitting >= batch_size else _even(batch_size, fitting)


def kept_bytes(task: Task, items: int) -> int:
    """Bytes that a forward pass over `items` items keeps for its gradient, the weights not counted."""
    center = {name: fetched(w, task.device) for name, w in task.center.items()}
    weights = {w.untyped_storage().data_ptr() for w in center.values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> None:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor.detach()  # a tensor with its graph, kept by that graph, would never be freed

    leaves = {name: w.detach().requires_grad_() for name, w in center.items()}
    batch = task.batch(torch.arange(items) % len(task.data))
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        losses = task.item_losses(leaves, batch)
    del losses
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def total_memory(device: torch.device) -> float:
    """Bytes of memory where a task is; infinity where that is not known."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if hasattr(os, "sysconf") else math.inf


def _by_trial(target: LocalPosterior, batch_size: int, arrays: int) -> int | None:
    task = target.task
    position = {name: fetched(w, task.device).unsqueeze(0) for name, w in task.center.items()}
    arrays -= task.compute is not None  # there is no w* beside the position

    def fits(items: int) -> bool:
        # two passes where there will be several: the second keeps its own beside the whole gradient of the first
        batch = task.batch(torch.arange(min(2 * items, batch_size)) % len(task.data))
        tried = dataclasses.replace(target, micro_batch=items)
        beside: list[Params] = []
        try:
            beside = [{name: torch.empty_like(w) for name, w in position.items()} for _ in range(arrays)]
            tried.evaluate(position, map_batch(lambda t: t.unsqueeze(0), batch))
            return True
        except torch.OutOfMemoryError:
            return False
        finally:
            beside.clear()
            torch.cuda.empty_cache()

    return largest_fitting(batch_size, fits)


def largest_fitting(batch_size: int, fits: Callable[[int], bool]) -> int | None:
    """The batch halved for as long as it does not fit, and half as much again where that fits.

    None = it fits whole, 1 where nothing does.
    """
    items, failed = batch_size, None
    while items > 1 and not fits(items):
        items, failed = math.ceil(items / 2), items
    if failed is None:
        return None
    between = (items + failed) // 2
    return _even(batch_size, between if items < between < failed and fits(between) else items)


def _even(batch_size: int, fitting: int) -> int:
    """The batch in as few passes as fit, all about the same."""
    return math.ceil(batch_size / math.ceil(batch_size / fitting))
