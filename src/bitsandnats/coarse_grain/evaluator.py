"""Losses and gradients over all data, and how long they took: what a search cannot do without."""

import time

import torch
from jaxtyping import Float
from numpy import ndarray

from bitsandnats._types import Params
from bitsandnats.task import Task

_BATCH = {"token": 32, "sequence": 32, "sample": 1024}


class Evaluator:
    """A task's losses and gradients; one for each thread, since a module can be at one place only.

    Attributes:
        task: the network and its data.
        seconds: spent in losses and gradients so far.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.seconds = 0.0

    def losses(self, params: Params) -> Float[ndarray, " item"]:
        """Loss of every item, nats a unit."""
        began = time.perf_counter()
        losses = item_losses(self.task, params)
        self.seconds += time.perf_counter() - began
        return losses

    def gradient(self, params: Params) -> Params:
        """Gradient of the mean loss over all data, on the CPU."""
        began = time.perf_counter()
        task = self.task
        moving = {name: w.detach().to(task.device).requires_grad_() for name, w in params.items()}
        sums: Params = {}
        for batch in task.blocks(_BATCH[task.unit]):
            loss = task.item_losses(moving, batch).sum() / (len(task.data) * task.mean_weight)
            found = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
            for (name, w), g in zip(moving.items(), found, strict=True):
                value = torch.zeros_like(w) if g is None else g
                sums[name] = sums[name] + value if name in sums else value
        gradient = {name: g.detach().cpu() for name, g in sums.items()}
        self.seconds += time.perf_counter() - began
        return gradient


@torch.no_grad()
def item_losses(task: Task, params: Params) -> Float[ndarray, " item"]:
    """Loss of every item, nats a unit."""
    losses = task.all_item_losses(params, _BATCH[task.unit])
    return losses.double().cpu().numpy() / task.mean_weight
