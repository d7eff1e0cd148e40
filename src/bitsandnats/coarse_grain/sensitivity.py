"""How much each weight matters: mean squared gradients of single losses, taken where the loss has risen a little."""

import math

import torch
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.task import Task

_BATCH = {"token": 16, "sequence": 16, "sample": 256}


def squared_gradients(task: Task, points: list[Params], *, items: int, generator: torch.Generator) -> Params:
    r"""Mean over losses of $(\partial\ell/\partial w)^2$, an estimate for each weight; squared nats a squared weight.

    With random signs s, $E[(\partial\sum_i s_i\ell_i/\partial w)^2]=\sum_i(\partial\ell_i/\partial w)^2$, so that one
    gradient a batch does for all of its losses. For cross-entropies it is about the curvature's diagonal where the
    model is unsure as often as it is wrong; at a trained minimum without loss it vanishes, which is why the points are
    networks whose loss has risen by about what is tolerated. Checked in `tests/truth/test_sensitivity.py`.

    Args:
        task: the loss and its data.
        points: weights at which gradients are taken, each over other batches.
        items: how many items in all; each batch has its own signs.
        generator: of the signs, on the CPU.
    """
    size, total = _BATCH[task.unit], 0.0
    sums = {name: torch.zeros_like(w) for name, w in task.center.items()}
    order = torch.randperm(len(task.data), generator=generator)
    batches = max(len(points), math.ceil(items / size))
    for index in range(batches):
        start = index * size % len(order)
        batch = task.batch(order[start : start + size])
        moving = {name: w.detach().requires_grad_() for name, w in points[index % len(points)].items()}
        losses = task.loss(moving, batch)
        if task.weight is not None:
            losses = losses * task.weight(batch).to(losses.dtype)
        signs = torch.randint(0, 2, losses.shape, generator=generator).to(losses) * 2 - 1
        gradients = torch.autograd.grad((signs * losses).sum(), list(moving.values()), allow_unused=True)
        for name, g in zip(moving, gradients, strict=True):
            if g is not None:
                sums[name] += g.square()
        total += losses.numel()
    return {name: s.cpu().double() / max(total, 1) for name, s in sums.items()}


def smoothed(sensitivities: Params) -> Params:
    """Each matrix half as estimated and half as the product of its row and column means; never below a floor.

    Row and column means have little noise, and for a linear map they are what its inputs and outputs alone would give.
    """
    floor = 1e-6 * max(float(h.max()) for h in sensitivities.values() if h.numel()) or 1e-12
    return {name: _smooth(h).clamp_min(floor) for name, h in sensitivities.items()}


def _smooth(h: Tensor) -> Tensor:
    if h.ndim < 2 or not h.numel():
        return h
    flat = h.flatten(1)
    product = flat.mean(1, keepdim=True) * flat.mean(0, keepdim=True) / flat.mean().clamp_min(1e-300)
    return ((flat + product) / 2).reshape(h.shape)
