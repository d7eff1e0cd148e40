"""Rounding that makes up for rounding: a few gradient steps by which some weights correct the errors of others."""

import torch
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.coarse_grain.rounding import cheapest
from bitsandnats.compressors.coding import Grid, Network, Piece

_STEP = 0.05  # of a spacing, at most about, a step
_MEMORY = 0.8, 0.95  # of gradients and of their squares


def compensate(checkpoint: Checkpoint, network: Network, sensitivity: Params, price: float, steps: int) -> Network:
    r"""The network after some steps down its own loss, each weight still a multiple of its tensor's Δ.

    Unrounded values are kept beside the rounded ones. In each step the gradient of the loss is taken at the rounded
    weights, the unrounded ones follow it by Adam with steps in proportion to Δ that shrink to nothing, and are rounded
    anew for rate and distortion. Errors of rounding that add up in the loss are thus turned against each other; ranks
    and spacings stay. Checked in `tests/truth/test_coarse_grain.py`.

    Args:
        checkpoint: the network before, and its data.
        network: the coarse one.
        sensitivity: h, by weight.
        price: λ of the rounding, nats a bit; 0 for the nearest multiple.
        steps: how many; each costs a gradient over all data.
    """
    values = {name: _start(checkpoint, name, piece) for name, piece in network.pieces.items()}
    first = {name: [torch.zeros_like(v) for v in parts] for name, parts in values.items()}
    second = {name: [torch.zeros_like(v) for v in parts] for name, parts in values.items()}
    pieces = dict(network.pieces)
    a, b = _MEMORY
    for step in range(1, steps + 1):
        gradients = _gradients(checkpoint, {name: piece.tensor() for name, piece in pieces.items()})
        for name, piece in pieces.items():
            h, grids = sensitivity[name], []
            for i, (grid, g) in enumerate(zip(piece.grids, _by_factor(piece, gradients[name]), strict=True)):
                first[name][i].mul_(a).add_(g, alpha=1 - a)
                second[name][i].mul_(b).addcmul_(g, g, value=1 - b)
                root = (second[name][i] / (1 - b**step)).sqrt_()
                typical = root.square().mean().sqrt().clamp_min(1e-300)
                move = first[name][i] / (1 - a**step) / (root + typical)
                values[name][i].sub_(move, alpha=_STEP * (1 - (step - 1) / steps) * grid.spacing)
                grids.append(cheapest(values[name][i], _h_of(piece, i, h), grid.spacing, price))
            pieces[name] = Piece(piece.dtype, tuple(grids))
    return checkpoint.network(pieces)


def _start(checkpoint: Checkpoint, name: str, piece: Piece) -> list[Tensor]:
    """Unrounded values: of a tensor those of the checkpoint, of factors the rounded ones."""
    if len(piece.grids) == 1:
        return [checkpoint.weights[name].clone()]
    return [_values(grid) for grid in piece.grids]


def _values(grid: Grid) -> Tensor:
    return Piece(torch.float64, (grid,)).tensor()


def _h_of(piece: Piece, index: int, h: Tensor) -> Tensor:
    """Sensitivity of a tensor, or of a factor given the other."""
    if len(piece.grids) == 1:
        return h
    other = _values(piece.grids[1 - index]).square()
    return h @ other.T if index == 0 else other.T @ h


def _by_factor(piece: Piece, gradient: Tensor) -> list[Tensor]:
    if len(piece.grids) == 1:
        return [gradient]
    left, right = (_values(grid) for grid in piece.grids)
    return [gradient @ right.T, left.T @ gradient]


def _gradients(checkpoint: Checkpoint, params: Params) -> Params:
    """Gradient of the mean loss over all data, float64 on the CPU."""
    task = checkpoint.task
    size = 1024 if task.unit == "sample" else 32
    moving = {name: w.to(task.device).requires_grad_() for name, w in params.items()}
    sums = {name: torch.zeros_like(w) for name, w in moving.items()}
    for batch in task.blocks(size):
        loss = task.item_losses(moving, batch).sum() / (len(task.data) * task.mean_weight)
        found = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
        for name, g in zip(moving, found, strict=True):
            if g is not None:
                sums[name] += g
    return {name: g.detach().cpu().double() for name, g in sums.items()}
