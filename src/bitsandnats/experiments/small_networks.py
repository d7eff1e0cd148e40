"""Many small networks trained at once, each on its own weighting of the same items."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bitsandnats._rng import generator


class Recipe(NamedTuple):
    """How one network is trained: Adam on all items at once, its rate falling to 0 as half a cosine.

    Attributes:
        width: hidden units, tanh.
        steps: of Adam.
        rate: at first.
        decay: μ of the penalty μ‖w‖²/2 that is part of the training loss.
    """

    width: int
    steps: int
    rate: float
    decay: float


class Net(NamedTuple):
    """Weights of one network, or of a stack with a leading axis."""

    first: Float[Tensor, "*net pixel hidden"]
    first_bias: Float[Tensor, "*net hidden"]
    second: Float[Tensor, "*net hidden label"]
    second_bias: Float[Tensor, "*net label"]


class Trained(NamedTuple):
    """A stack after training.

    Attributes:
        nets: the weights.
        checkpoints: on the way and at the end, where they were asked for.
        rates: Adam's rate before each checkpoint.
    """

    nets: Net
    checkpoints: tuple[Net, ...]
    rates: tuple[float, ...]


def fresh(pixels: int, width: int, labels: int, seed: int) -> Net:
    """One network's first weights, a function of the seed: N(0, 1/inputs), biases 0."""
    random = generator(seed, 0, "start")
    first = torch.empty(pixels, width).normal_(generator=random) / pixels**0.5
    second = torch.empty(width, labels).normal_(generator=random) / width**0.5
    return Net(first, torch.zeros(width), second, torch.zeros(labels))


def train_stack(
    recipe: Recipe,
    inputs: Float[Tensor, "item pixel"],
    labels: Int64[Tensor, " item"],
    weights: Float[Tensor, "net item"],
    seeds: list[int],
    *,
    checkpoints: int = 0,
) -> Trained:
    r"""Trains one network a row of weights on $\sum_iw_i\ell_i/\sum_iw_i+\mu\lVert w\rVert^2/2$.

    Items of weight 0 take no part: each network is what training it alone on its items gives, to rounding. Checked in
    `tests/experiments/test_influence_retraining.py`.

    Args:
        recipe: how.
        inputs: of all items.
        labels: of all items.
        weights: 0 or 1, which items each network sees.
        seeds: of each network's first weights.
        checkpoints: kept of the way, evenly, the end among them.
    """
    starts = [fresh(inputs.shape[1], recipe.width, int(labels.max()) + 1, seed) for seed in seeds]
    leaves = Net(*(torch.stack(parts).to(inputs.dtype).requires_grad_() for parts in zip(*starts, strict=True)))
    share = weights / weights.sum(1, keepdim=True)
    seen = int((weights > 0).sum(1).max())
    if 2 * seen <= len(labels):  # few enough that each network's own items are worth gathering
        own = torch.argsort((weights <= 0).to(torch.int8), dim=1, stable=True)[:, :seen]
        inputs, labels, share = inputs[own], labels[own], share.gather(1, own)
    optimizer = torch.optim.Adam(list(leaves), lr=recipe.rate)
    kept, rates = [], []
    for step in range(recipe.steps):
        rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * step / recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        penalty = sum((w.square().sum() for w in leaves), start=torch.zeros((), dtype=inputs.dtype))
        loss = (item_losses(leaves, inputs, labels) * share).sum() + recipe.decay / 2 * penalty
        gradients = torch.autograd.grad(loss, list(leaves))
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        optimizer.step()
        if checkpoints and (step + 1) * checkpoints // recipe.steps > step * checkpoints // recipe.steps:
            kept.append(Net(*(w.detach().clone() for w in leaves)))
            rates.append(float(rate))
    return Trained(Net(*(w.detach() for w in leaves)), tuple(kept), tuple(rates))


def item_losses(nets: Net, inputs: Tensor, labels: Tensor) -> Float[Tensor, "net item"]:
    """Cross-entropy of each item under each network of a stack, nats.

    Args:
        nets: with a leading axis.
        inputs: [item, pixel], the same for all, or [net, item, pixel].
        labels: [item] or [net, item].
    """
    equation = "nd,rdh->rnh" if inputs.ndim == 2 else "rnd,rdh->rnh"
    hidden = torch.tanh(torch.einsum(equation, inputs, nets.first) + nets.first_bias[:, None])
    logits = torch.baddbmm(nets.second_bias[:, None], hidden, nets.second)
    answers = labels.expand(len(logits), -1)
    return nn.functional.cross_entropy(logits.transpose(1, 2), answers, reduction="none")


def as_module(net: Net) -> nn.Sequential:
    """One network as a module."""
    pixels, width = net.first.shape
    module = nn.Sequential(nn.Linear(pixels, width), nn.Tanh(), nn.Linear(width, net.second.shape[1]))
    values = (net.first.T, net.first_bias, net.second.T, net.second_bias)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)
    return module.to(net.first.dtype).eval()
