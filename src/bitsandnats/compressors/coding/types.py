"""What is coded: a network whose matrices are whole numbers times a spacing."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int32
from numpy import ndarray
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.errors import GridError, InputError, message

_LARGEST = 2**31 - 1
_EXACT = 2**53  # whole numbers up to here are exact in float64


@dataclass(frozen=True)
class Grid:
    """An array of whole numbers and what one step is worth.

    Attributes:
        symbols: whole numbers k.
        spacing: Δ > 0, in units of weight.
    """

    symbols: Int32[ndarray, "*shape"]
    spacing: float


@dataclass(frozen=True)
class Piece:
    """One tensor of the network: kΔ, or the product of two such matrices.

    Attributes:
        dtype: of the tensor.
        grids: one: the tensor itself; two: left `[rows, rank]` and right `[rank, columns]`.
    """

    dtype: torch.dtype
    grids: tuple[Grid, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        if len(self.grids) == 1:
            return tuple(self.grids[0].symbols.shape)
        return self.grids[0].symbols.shape[0], self.grids[1].symbols.shape[1]

    @property
    def rank(self) -> int | None:
        """Of the product; None where the tensor is coded as it is."""
        return self.grids[0].symbols.shape[1] if len(self.grids) == 2 else None

    def tensor(self) -> Tensor:
        """The weights, the same bits on every machine.

        A product is one of whole numbers, exact in float64 in whatever order it is summed, and is rounded once after
        that. Checked in `tests/coding/test_round_trip.py`.

        Raises:
            GridError: the whole numbers are too large for an exact product.
        """
        whole = [torch.from_numpy(np.ascontiguousarray(g.symbols)).double() for g in self.grids]
        if len(whole) == 1:
            return whole[0].mul_(self.grids[0].spacing).to(self.dtype)
        left, right = whole
        if left.numel() and right.numel():
            largest = float(left.abs().max()) * float(right.abs().max()) * left.shape[1]
            if largest >= _EXACT:
                expected = "factors that are small numbers of steps"
                got = f"a product of {largest:.2g}"
                raise GridError(message(expected=expected, got=got, do="use a wider spacing"))
        return (left @ right).mul_(self.grids[0].spacing * self.grids[1].spacing).to(self.dtype)


@dataclass(frozen=True)
class Network:
    """A whole network as it is coded.

    Attributes:
        pieces: what was coarse-grained, by name, in the order of the parameters.
        plain: what was not (fixed parameters, buffers), at full precision.
        aliases: further names of tied parameters, by their first.
        architecture: what tells one architecture from another; only its hash is coded.
        config: a model's config.json, coded with it; empty where there is none.
    """

    pieces: dict[str, Piece]
    plain: Params = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    architecture: str = ""
    config: str = ""

    def params(self) -> Params:
        """The coarse weights by name: what takes the place of a Task's center."""
        return {name: piece.tensor() for name, piece in self.pieces.items()}

    def state(self) -> Params:
        """All tensors under all their names, tied ones sharing their storage: what `load_state_dict` takes."""
        tensors = {**self.params(), **self.plain}
        return tensors | {alias: tensors[name] for name, more in self.aliases.items() for alias in more}

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes that tell the architecture: its description, names, shapes and types."""
        return fingerprint(
            self.architecture,
            {name: (piece.shape, piece.dtype) for name, piece in self.pieces.items()},
        )


def fingerprint(architecture: str, tensors: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> bytes:
    """Eight bytes that tell an architecture from others.

    Args:
        architecture: its description.
        tensors: shape and type of each moving parameter.
    """
    lines = [f"{name} {shape} {dtype}" for name, (shape, dtype) in tensors.items()]
    return hashlib.blake2b("\n".join([architecture, *lines]).encode(), digest_size=8).digest()


def to_grid(values: Tensor, spacing: float) -> Grid:
    r"""The nearest whole numbers of steps: $k=\mathrm{round}(\theta/\Delta)$, halves to even.

    Args:
        values: θ.
        spacing: Δ.

    Raises:
        InputError: Δ is not positive and finite.
        GridError: the values are not finite, or more than 2³¹ steps.
    """
    if not (spacing > 0 and np.isfinite(spacing)):
        raise InputError(message(expected="a spacing above 0", got=f"{spacing:g}", do="give a positive number"))
    steps = values.detach().double().cpu().div(spacing).round_()
    if steps.numel() and not bool(torch.isfinite(steps).all()):
        do = "use an undamaged checkpoint"
        raise GridError(message(expected="finite weights", got="NaN or infinite values", do=do))
    if steps.numel() and float(steps.abs().max()) > _LARGEST:
        got = f"a weight of {float(values.abs().max()):g} at a spacing of {spacing:g}"
        raise GridError(message(expected="weights of at most 2³¹ steps", got=got, do="use a wider spacing"))
    return Grid(steps.to(torch.int32).numpy(), float(spacing))
