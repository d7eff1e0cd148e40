"""Rounding that makes up for rounding: a few gradient steps by which some weights correct the errors of others."""

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.coarse_grain.evaluator import Evaluator
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.coarse_grain.rounding import Part, cheapest
from bitsandnats.compressors.coding import Grid, Network, Piece

_STEP = 0.05  # of a spacing, at most about, a step
_MEMORY = 0.8, 0.95  # of gradients and of their squares


def compensate(
    evaluator: Evaluator, checkpoint: Checkpoint, network: Network, sensitivity: Params, *, price: float, steps: int
) -> Network:
    r"""The network after some steps down its own loss, each weight still a multiple of its tensor's Δ.

    Unrounded values are kept beside the rounded ones. In each step the gradient of the loss is taken at the rounded
    weights, the unrounded ones follow it by Adam with steps in proportion to Δ that shrink to nothing, and are rounded
    anew for rate and distortion. Errors of rounding that add up in the loss are thus turned against each other; ranks
    and spacings stay. Checked in `tests/truth/test_coarse_grain.py`.

    Args:
        evaluator: takes the gradients.
        checkpoint: the network before.
        network: the coarse one.
        sensitivity: h, by weight.
        price: λ of the rounding, nats a bit; 0 for the nearest multiple.
        steps: how many; each costs a gradient over all data.

    Raises:
        GridError: a gradient that is not finite, or factors too large for an exact product.
    """
    pieces = dict(network.pieces)
    grids = [grid for piece in pieces.values() for grid in piece.grids]
    parts = [part for name, piece in pieces.items() for part in _parts(checkpoint, name, piece, sensitivity[name])]
    ends = np.cumsum([grid.symbols.size for grid in grids])
    values = np.concatenate([part.values.numpy().ravel() for part in parts])  # unrounded, moved in place
    shaped = [
        torch.from_numpy(v).reshape(p.values.shape) for v, p in zip(np.split(values, ends[:-1]), parts, strict=True)
    ]
    parts = [part._replace(values=v) for part, v in zip(parts, shaped, strict=True)]
    spacings = np.repeat(np.array([g.spacing for g in grids], np.float32), [g.symbols.size for g in grids])
    adam = _Adam(ends)
    for step in range(1, steps + 1):
        gradients = evaluator.gradient({name: piece.tensor() for name, piece in pieces.items()})
        flat = [g.numpy().ravel() for name, piece in pieces.items() for g in _by_factor(piece, gradients[name])]
        move = adam.step(np.concatenate(flat).astype(np.float32), step)
        move *= spacings
        move *= _STEP * (1 - (step - 1) / steps)
        values -= move
        grids = cheapest(parts, price, grids)
        rounded = iter(grids)
        pieces = {name: Piece(p.dtype, tuple(next(rounded) for _ in p.grids)) for name, p in pieces.items()}
    return checkpoint.network(pieces)


class _Adam:
    """Adam's direction, its squares smoothed by their mean over each array, so that no weight moves for being quiet."""

    def __init__(self, ends: ndarray) -> None:
        self._starts = np.concatenate([[0], ends[:-1]])
        self._sizes = ends - self._starts
        self._first, self._second = np.zeros(ends[-1], np.float32), np.zeros(ends[-1], np.float32)

    def step(self, gradient: Float32[ndarray, " n"], step: int) -> Float32[ndarray, " n"]:
        a, b = _MEMORY
        self._first += (1 - a) * (gradient - self._first)
        gradient *= gradient
        self._second += (1 - b) * (gradient - self._second)
        squares = self._second / (1 - b**step)
        full = self._sizes > 0  # an empty array has no sum of its own
        sums = np.add.reduceat(squares, self._starts[full], dtype=np.float64) / self._sizes[full]
        typical = np.sqrt(np.maximum(sums, 1e-60)).astype(np.float32)
        root = np.sqrt(squares)
        root += np.repeat(np.maximum(typical, np.float32(1e-30)), self._sizes[full])
        return self._first / (root * np.float32(1 - a**step))


def _parts(checkpoint: Checkpoint, name: str, piece: Piece, h: Tensor) -> list[Part]:
    """Unrounded values with their sensitivities: of a tensor those of the checkpoint, of factors the rounded ones."""
    if len(piece.grids) == 1:
        return [Part(checkpoint.weights[name], h, piece.grids[0].spacing)]
    left, right = (_values(grid) for grid in piece.grids)
    return [
        Part(left, h @ right.square().T, piece.grids[0].spacing),
        Part(right, left.square().T @ h, piece.grids[1].spacing),
    ]


def _values(grid: Grid) -> Tensor:
    return Piece(torch.float64, (grid,)).tensor()


def _by_factor(piece: Piece, gradient: Tensor) -> list[Tensor]:
    if len(piece.grids) == 1:
        return [gradient]
    left, right = (Piece(gradient.dtype, (grid,)).tensor() for grid in piece.grids)
    return [gradient @ right.T, left.T @ gradient]
