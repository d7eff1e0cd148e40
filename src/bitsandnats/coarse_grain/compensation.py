"""Rounding that makes up for rounding: gradient steps by which some weights correct the errors of others."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.coarse_grain.evaluator import Evaluator
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.coarse_grain.thresholds import Thresholds
from bitsandnats.compressors.coding import Grid, Network, Piece

_STEP = 0.05  # of a spacing, at most about, a step
_FARTHEST = 0.5  # spacings from where it was that an unrounded value may go
_MEMORY = 0.8, 0.95  # of gradients and of their squares
_QUIET = 1e-30  # the least mean square of gradients
_RENEWED = 5  # steps that the means of squares serve, which change slowly
_LARGEST = 1 << 20  # steps of a spacing; of more than that, float32 does not tell a small part

Flat = Float32[Tensor, " n"]


def compensate(
    evaluator: Evaluator, checkpoint: Checkpoint, network: Network, sensitivity: Params, *, price: float, steps: int
) -> Network:
    r"""The network after some steps down its own loss, each number rounded to a multiple next to the unrounded one.

    Unrounded values are kept beside the rounded ones. In each step the gradient of the loss is taken at the rounded
    weights, the unrounded ones follow it by Adam with steps in proportion to Δ that shrink to nothing, by half a Δ at
    most in all, and are rounded anew. Errors of rounding that add up in the loss are thus turned against each other;
    ranks and spacings stay. With a price, rounding weighs rate and distortion as `cheapest` does. Checked in
    `tests/truth/test_coarse_grain.py`.

    Args:
        evaluator: takes the gradients.
        checkpoint: the network before.
        network: the coarse one.
        sensitivity: h, by weight.
        price: λ of the rounding, nats a bit; 0 for the nearest multiple.
        steps: how many; each costs a gradient over all data.
    """
    arrays = _Arrays(checkpoint, network)
    values = arrays.start()
    if not len(values) or float(values.abs().max()) > _LARGEST:
        return network
    low, high = values - _FARTHEST, values + _FARTHEST
    rule: Callable[[Flat], Flat] = torch.round
    if price > 0:
        rule = Thresholds(arrays.weights_of_steps(sensitivity), arrays.owner, price, values, arrays.symbols()).rounded
    rounded = rule(values)
    adam = _Adam(arrays.sizes)
    for step in range(1, steps + 1):
        adam.move(values, arrays.gradient(evaluator, rounded), step, _STEP * (1 - (step - 1) / steps))
        torch.clamp(values, low, high, out=values)
        rounded = rule(values)
    return checkpoint.network(arrays.pieces(rounded))


class _Arrays:
    """All arrays of a network behind each other, in units of their spacings."""

    def __init__(self, checkpoint: Checkpoint, network: Network) -> None:
        self._checkpoint, self._network = checkpoint, network
        self._grids = [grid for piece in network.pieces.values() for grid in piece.grids]
        self._shapes = [tuple(grid.symbols.shape) for grid in self._grids]
        self.sizes = [grid.symbols.size for grid in self._grids]
        counts = torch.tensor(self.sizes, dtype=torch.int64)
        self.owner: Int64[Tensor, " n"] = torch.repeat_interleave(torch.arange(len(counts)), counts)
        self._spacings = torch.tensor([grid.spacing for grid in self._grids])[self.owner]
        self._scaled, self._slope = torch.empty(len(self.owner)), torch.empty(len(self.owner))
        self._weights, self._slopes = self._views(self._scaled), self._views(self._slope)

    def start(self) -> Flat:
        """Unrounded values: of a tensor those of the checkpoint, of factors the rounded ones."""
        found = []
        for name, piece in self._network.pieces.items():
            if len(piece.grids) == 1:
                found.append((self._checkpoint.weights[name] / piece.grids[0].spacing).float().reshape(-1))
            else:
                found += [torch.from_numpy(grid.symbols).float().reshape(-1) for grid in piece.grids]
        return torch.cat(found)

    def symbols(self) -> Flat:
        """Whole numbers of the network."""
        return torch.cat([torch.from_numpy(grid.symbols).float().reshape(-1) for grid in self._grids])

    def weights_of_steps(self, sensitivity: Params) -> Flat:
        """½hΔ² of each number: what a whole step off adds to the loss."""
        found = []
        for name, piece in self._network.pieces.items():
            h = sensitivity[name]
            if len(piece.grids) == 1:
                parts = [h]
            else:
                left, right = (Piece(torch.float64, (grid,)).tensor() for grid in piece.grids)
                parts = [h @ right.square().T, left.square().T @ h]
            found += [(p * (g.spacing**2 / 2)).float().reshape(-1) for p, g in zip(parts, piece.grids, strict=True)]
        return torch.cat(found)

    def gradient(self, evaluator: Evaluator, rounded: Flat) -> Flat:
        """Gradient of the loss in each number, in nats a unit of weight; good until the next call."""
        torch.mul(rounded, self._spacings, out=self._scaled)
        weights: Params = {}
        at = iter(self._weights)
        for name, piece in self._network.pieces.items():
            first = next(at)
            weights[name] = (first if len(piece.grids) == 1 else first @ next(at)).to(piece.dtype)
        gradients, at, into = evaluator.gradient(weights), iter(self._weights), iter(self._slopes)
        for name, piece in self._network.pieces.items():
            g, left = gradients[name], next(at)
            if len(piece.grids) == 1:
                next(into).copy_(g)
            else:
                torch.mm(g.float(), next(at).T, out=next(into))
                torch.mm(left.T, g.float(), out=next(into))
        return self._slope

    def pieces(self, rounded: Flat) -> dict[str, Piece]:
        """The network's pieces with other whole numbers."""
        parts = zip(rounded.to(torch.int32).split(self.sizes), self._grids, self._shapes, strict=True)
        grids = iter([Grid(part.reshape(shape).numpy(), grid.spacing) for part, grid, shape in parts])
        pieces = self._network.pieces.items()
        return {name: Piece(piece.dtype, tuple(next(grids) for _ in piece.grids)) for name, piece in pieces}

    def _views(self, flat: Flat) -> list[Tensor]:
        return [part.view(shape) for part, shape in zip(flat.split(self.sizes), self._shapes, strict=True)]


class _Adam:
    """Adam's direction, its squares smoothed by their mean over each array, so that no weight moves for being quiet."""

    def __init__(self, sizes: list[int]) -> None:
        self._first, self._second, self._root, self._typical = (torch.zeros(sum(sizes)) for _ in range(4))
        self._arrays = list(zip(self._second.split(sizes), self._typical.split(sizes), strict=True))

    def move(self, values: Flat, gradient: Flat, step: int, size: float) -> None:
        """Moves values in place; the gradient is used up.

        Args:
            values: to be moved.
            gradient: at them.
            step: from 1.
            size: of the step, where all gradients so far were alike.
        """
        a, b = _MEMORY
        begun = math.sqrt(1 - b**step)
        self._first.lerp_(gradient, 1 - a)
        self._second.lerp_(gradient.square_(), 1 - b)
        if step % _RENEWED == 1:
            for squares, typical in self._arrays:
                typical.fill_(squares.mean().clamp_min_(_QUIET).sqrt_().div_(begun))
        torch.sqrt(self._second, out=self._root)
        self._root.add_(self._typical, alpha=begun)
        values.addcdiv_(self._first, self._root, value=-size * begun / (1 - a**step))
