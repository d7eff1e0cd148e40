"""Curvature of a task's loss: Hessian-vector products and the largest eigenvalue."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bitsandnats import _tree
from bitsandnats._rng import generator
from bitsandnats._types import Batch, Params
from bitsandnats.differences import Differences
from bitsandnats.task import Task

_LARGE = 20_000_000  # weights above which there is no room for second derivatives
_NOTHING = 1e-6  # of the largest number met


@dataclass(frozen=True)
class TopCurvature:
    """Largest Hessian eigenvalue of the mean loss, nats a unit per squared unit of weight.

    Attributes:
        value: the eigenvalue; NaN where a second derivative is not finite.
        relative_change: of the last iteration; an idea of its error.
        iterations: Hessian-vector products spent.
    """

    value: float
    relative_change: float
    iterations: int


def center_gradient(task: Task, *, items: int, batch_size: int) -> Params:
    """∇L at w*, a mean over evenly spaced items; nats a unit per unit of weight. Zero at a minimum.

    Args:
        task: the task.
        items: items of the data that L is estimated on, at most.
        batch_size: items a pass.
    """
    chosen = torch.linspace(0, len(task.data) - 1, min(items, len(task.data))).round().long()
    leaves = {name: p.detach().requires_grad_() for name, p in task.center.items()}
    total = _tree.side_by_side(task.center)
    for name, leaf in leaves.items():  # added up in place: one array, not two
        leaf.grad = total[name].zero_()
    for part in chosen.split(batch_size):
        with torch.enable_grad():
            loss = task.item_losses(leaves, task.batch(part)).sum() / (len(chosen) * task.mean_weight)
        if loss.requires_grad:
            torch.autograd.backward(loss, inputs=list(leaves.values()))
    return total


@dataclass(frozen=True)
class GradientNoise:
    """Scatter of minibatch gradients at w*.

    Attributes:
        trace: tr Cov(g_B), squared nats a unit per squared unit of weight.
        curvature: ξᵀHξ/ξᵀξ for that scatter ξ: how stiff the directions are that it points to; nats a unit per squared
            unit of weight.
    """

    trace: float
    curvature: float


def gradient_noise(task: Task, *, batch_size: int, batches: int = 4, items: int = 8, seed: int = 0) -> GradientNoise:
    """How much, and along which curvature, minibatch gradients scatter at w*.

    Checked in `tests/truth/test_step_bias.py`.

    Args:
        task: the task.
        batch_size: items a minibatch; zero noise where the data hold no more.
        batches: minibatches compared.
        items: items of the data that the Hessian is estimated on.
        seed: of the minibatches.
    """
    if batch_size >= len(task.data):
        return GradientNoise(0.0, 0.0)
    random = generator(seed, 0, "control")
    if task.dimension > _LARGE:
        return _noise_by_pairs(task, torch.randint(len(task.data), (batches, batch_size), generator=random), items)
    leaves = {name: p.detach().requires_grad_() for name, p in task.center.items()}
    gradients = []
    for _ in range(batches):
        batch = task.batch(torch.randint(len(task.data), (batch_size,), generator=random))
        with torch.enable_grad():
            loss = task.mean_loss(task.item_losses(leaves, batch))
            grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        gradients.append(dict(zip(leaves, grads, strict=True)))
    mean = {name: torch.stack([g[name] for g in gradients]).mean(0) for name in leaves}
    scatter = [_tree.axpy(-1.0, mean, g) for g in gradients]
    probe = task.batch(torch.linspace(0, len(task.data) - 1, min(items, len(task.data))).round().long())
    squares = sum(float(_tree.dot(s, s)) for s in scatter)
    product = hessian_products(task, probe)
    bent = sum(float(_tree.dot(s, product(s))) for s in scatter)
    return GradientNoise(squares / (batches - 1), bent / squares if squares > 0 else 0.0)


def _noise_by_pairs(task: Task, batches: Tensor, items: int) -> GradientNoise:
    """The same from differences of two batches each, (g₁ − g₂)/√2: no mean to keep."""
    probe = task.batch(torch.linspace(0, len(task.data) - 1, min(items, len(task.data))).round().long())
    products = Differences(task, task.center)
    squares = bent = 0.0
    pairs = batches[: len(batches) // 2 * 2].view(-1, 2, batches.shape[1])
    for one, other in pairs:
        products.clear()
        products.add(task.batch(one), 0.5**0.5)
        products.add(task.batch(other), -(0.5**0.5))
        length = products.length()
        squares += length**2
        if length > 0:
            products.aim(length)
            bent += products.multiply(probe) * length**2
    return GradientNoise(squares / len(pairs), bent / squares if squares > 0 else 0.0)


def hessian_vector(task: Task, params: Params, batch: Batch, vector: Params) -> Params:
    """H v for the Hessian of the batch's mean loss at `params`; nats a unit per unit of weight.

    Above 20 million weights by differences of gradients, an item at a time: a second derivative would need attention's
    scores as a whole, and all that a pass keeps twice. Checked against the dense Hessian in
    `tests/truth/test_curvature.py`.
    """
    if task.dimension > _LARGE:
        return _by_differences(task, params, batch, vector)
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    # fused attention kernels have no second derivative
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        loss = task.mean_loss(task.item_losses(leaves, batch))
        gradient = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, materialize_grads=True)
        inner = torch.stack([(g * v).sum() for g, v in zip(gradient, vector.values(), strict=True)]).sum()
        if not inner.requires_grad:
            return {name: torch.zeros_like(p) for name, p in params.items()}
        products = torch.autograd.grad(inner, list(leaves.values()), materialize_grads=True)
    return {name: h.detach() for name, h in zip(leaves, products, strict=True)}


def hessian_products(task: Task, batch: Batch) -> Callable[[Params], Params]:
    """`hessian_vector` at w* for many vectors: the gradient's graph is made once and kept as long as the function.

    Args:
        task: the task.
        batch: items, all in one pass.
    """
    if task.dimension > _LARGE:
        return lambda vector: _by_differences(task, task.center, batch, vector)
    leaves = {name: p.detach().requires_grad_() for name, p in task.center.items()}
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        loss = task.mean_loss(task.item_losses(leaves, batch))
        found = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, materialize_grads=True)
    gradient = {name: g for name, g in zip(leaves, found, strict=True) if g.requires_grad}

    def product(vector: Params) -> Params:
        if not gradient:
            return {name: torch.zeros_like(p) for name, p in leaves.items()}
        along = [vector[name] for name in gradient]
        products = torch.autograd.grad(
            list(gradient.values()), list(leaves.values()), along, retain_graph=True, materialize_grads=True
        )
        return dict(zip(leaves, products, strict=True))

    return product


def _by_differences(task: Task, params: Params, batch: Batch, vector: Params) -> Params:
    products = Differences(task, params)
    for name, total in products.sum.items():
        total.copy_(vector[name])
    length = products.length()
    if length > 0:
        products.aim(length)
        products.multiply(batch)
    return {name: total.mul_(length) for name, total in products.sum.items()}


def top_curvature(
    task: Task, *, items: int = 32, iterations: int = 30, tolerance: float = 0.02, seed: int = 0
) -> TopCurvature:
    """Largest eigenvalue of the Hessian of L at w*, by Lanczos' recurrence on evenly spaced items.

    The largest, not that of largest modulus: at an early checkpoint the Hessian may bend down more than up. Vectors are
    not made orthogonal again, which repeats eigenvalues and moves none of them at this tolerance.

    Args:
        task: the task.
        items: items of the data that L is estimated on.
        iterations: Hessian-vector products at most.
        tolerance: relative change of the estimate at which to stop.
        seed: of the start vector.
    """
    batch = task.batch(torch.linspace(0, len(task.data) - 1, min(items, len(task.data))).round().long())
    steps = (_lanczos_large if task.dimension > _LARGE else _lanczos)(task, batch, seed)
    diagonal: list[float] = []
    beside: list[float] = []
    value, change = 0.0, float("inf")
    for along, rest in itertools.islice(steps, min(iterations, task.dimension)):
        diagonal.append(along)
        if not math.isfinite(along):
            return TopCurvature(math.nan, math.inf, len(diagonal))
        last, value = value, float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, -1))[-1])  # the lower half
        change = abs(value - last) / max(abs(value), 1e-300)
        if rest <= _NOTHING * max(map(abs, (*diagonal, *beside))):  # the vectors span all that the Hessian does to them
            return TopCurvature(value, 0.0, len(diagonal))
        if change < tolerance:
            break
        beside.append(rest)
    return TopCurvature(value, change, len(diagonal))


def _lanczos(task: Task, batch: Batch, seed: int) -> Iterator[tuple[float, float]]:
    """Lanczos' recurrence, endlessly: vᵀHv, and the length of what is new in H v."""
    product = hessian_products(task, batch)
    image = _tree.gaussian(task.center, generator(seed, 0, "probe", task.device))
    rest, vector = float(_tree.dot(image, image)) ** 0.5, None
    while True:
        before, vector = vector, {name: v / rest for name, v in image.items()}
        image = product(vector)
        along = float(_tree.dot(vector, image))
        image = _tree.axpy(-along, vector, image)
        if before is not None:
            image = _tree.axpy(-rest, before, image)
        rest = float(_tree.dot(image, image)) ** 0.5
        yield along, rest


def _lanczos_large(task: Task, batch: Batch, seed: int) -> Iterator[tuple[float, float]]:
    """The same in two arrays: w + hv, and a sum that begins with what is to be taken off H v."""
    products = Differences(task, task.center)
    random = generator(seed, 0, "probe", next(iter(task.center.values())).device)
    for total in products.sum.values():
        total.normal_(generator=random)
    rest, keep = products.length(), 0.0
    while True:
        products.aim(rest, keep)
        along = products.multiply(batch)
        products.reduce(along)
        rest = products.length()
        keep = -rest
        yield along, rest
