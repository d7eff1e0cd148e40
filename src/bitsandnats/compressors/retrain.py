"""Training from given weights on, with some of them held at zero."""

from typing import NamedTuple

import torch
from torch import nn

from bitsandnats._types import Batch, Params
from bitsandnats.task import Task

_BETAS = (0.9, 0.95)
_CLIP = 1.0


class Retrained(NamedTuple):
    """The weights of the smallest training loss that was seen.

    Attributes:
        params: they.
        loss: that loss, the mean of one batch, in nats a unit.
        step: updates before it.
    """

    params: Params
    loss: float
    step: int


def retrain(
    task: Task,
    params: Params,
    *,
    zeros: Params,
    rate: float,
    steps: int,
    batch_size: int,
    generator: torch.Generator,
) -> Retrained:
    """AdamW at a constant rate on the task's data, from `params` on, which are not written.

    Gradients longer than 1 are cut to 1, as in the training of Pythia; there is no weight decay. The loss of each
    batch is that of the weights before the update that it leads to, so the smallest loss has its weights.

    Args:
        task: loss and data.
        params: where to begin.
        zeros: masks, true where a weight is zero and stays so: its gradient is fixed to 0.
        rate: learning rate.
        steps: updates.
        batch_size: items a step, drawn with replacement.
        generator: of the batches.
    """
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    optimizer = torch.optim.AdamW(leaves.values(), lr=rate, betas=_BETAS, weight_decay=0.0)
    best = Retrained({name: p.detach().clone() for name, p in leaves.items()}, float("inf"), 0)
    for step in range(steps + 1):
        indices = torch.randint(len(task.data), (min(batch_size, len(task.data)),), generator=generator)
        loss = _descend(task, leaves, task.batch(indices), zeros)
        if loss < best.loss:
            best = Retrained({name: p.detach().clone() for name, p in leaves.items()}, loss, step)
        if step < steps:
            optimizer.step()
    return best


def _descend(task: Task, leaves: Params, batch: Batch, zeros: Params) -> float:
    """The loss of a batch; leaves its gradient in the leaves."""
    with torch.enable_grad():
        loss = task.mean_loss(task.item_losses(leaves, batch))
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        leaf.grad = torch.zeros_like(leaf) if gradient is None else gradient
        if name in zeros:
            leaf.grad.masked_fill_(zeros[name], 0)
    nn.utils.clip_grad_norm_(leaves.values(), _CLIP)
    return float(loss.detach())
