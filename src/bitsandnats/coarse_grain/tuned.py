"""Coarse-graining by sensitivity: spacings by tensor, rounding for rate and distortion, ranks by matrix."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.coarse_grain.matrices import Checkpoint, Spectrum
from bitsandnats.coarse_grain.rounding import Part, cheapest, size_and_loss
from bitsandnats.compressors.coding import Network, Piece

Refinement = Literal["spacings", "rounding", "ranks", "compensation"]
REFINEMENTS: tuple[Refinement, ...] = ("spacings", "rounding", "ranks", "compensation")

_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)  # of the largest rank that saves numbers
_MANTISSA = 32  # steps an octave, at most, that spacings are rounded to
_PATIENCE = 3
_WORTH = 20.0  # bits that another grid costs beside its symbols


class Plan(NamedTuple):
    """What a network is coarse-grained by.

    Attributes:
        sensitivity: h, by weight.
        price: λ, nats a bit.
        width: Δ of a tensor in units of √(λ/h̄), h̄ its mean sensitivity.
        refinements: which are used; compensation is the search's.
        ranks: rank of each matrix that becomes a product; chosen by `choose_ranks`.
    """

    sensitivity: Params
    price: float
    width: float
    refinements: tuple[Refinement, ...]
    ranks: dict[str, int]

    @property
    def rate(self) -> float:
        """λ where rounding weighs rate against distortion, else 0."""
        return self.price if "rounding" in self.refinements else 0.0


def refine(checkpoint: Checkpoint, plan: Plan) -> Network:
    r"""The network under a plan.

    At fine spacings $\tfrac12\sum h(w-\tilde w)^2+\lambda\,\mathrm{bits}$ is least where every tensor has
    $\Delta\propto\sqrt{\lambda/\bar h}$; at wide ones the factor, `width`, is larger, and is searched.

    Args:
        checkpoint: the network, decomposed once.
        plan: sensitivities, price, width and ranks.
    """
    mean = _mean(list(plan.sensitivity.values()))
    parts = {
        name: _product(checkpoint.spectra[name], plan.ranks[name], plan.sensitivity[name], plan, mean)
        if name in plan.ranks
        else [_part(w, plan.sensitivity[name], plan, mean)]
        for name, w in checkpoint.weights.items()
    }
    grids = iter(cheapest([part for found in parts.values() for part in found], plan.rate))
    center = checkpoint.task.center
    return checkpoint.network(
        {name: Piece(center[name].dtype, tuple(next(grids) for _ in found)) for name, found in parts.items()}
    )


def choose_ranks(checkpoint: Checkpoint, plan: Plan) -> dict[str, int]:
    """The rank of each matrix for which a product makes loss and price of its bits smaller, by name.

    Ranks are tried from the largest that saves numbers downwards, until three in a row are no better.

    Args:
        checkpoint: the network, decomposed once.
        plan: sensitivities, price and width; its ranks do not matter.
    """
    mean = _mean(list(plan.sensitivity.values()))
    found = {}
    for name, spectrum in checkpoint.spectra.items():
        w, h = checkpoint.weights[name], plan.sensitivity[name]
        (whole,) = cheapest([_part(w, h, plan, mean)], plan.rate)
        bits, loss = size_and_loss(whole, w, h)
        least, worse = loss + plan.price * bits, 0
        for rank in _candidates(*w.shape):
            left, right = cheapest(_product(spectrum, rank, h, plan, mean), plan.rate)
            a, b = (Piece(torch.float64, (grid,)).tensor() for grid in (left, right))
            bits = sum(size_and_loss(grid, v, v)[0] for grid, v in ((left, a), (right, b))) + _WORTH
            cost = float((h * (w - a @ b).square()).sum()) / 2 + plan.price * bits
            worse = 0 if cost < least else worse + 1
            if cost < least:
                found[name], least = rank, cost
            elif worse == _PATIENCE:
                break
    return found


def _candidates(rows: int, columns: int) -> list[int]:
    """Ranks from the largest with fewer numbers than the matrix downwards."""
    most = (rows * columns - 1) // (rows + columns)
    return sorted({max(1, round(share * most)) for share in _SHARES}, reverse=True) if most else []


def _part(w: Tensor, h: Tensor, plan: Plan, mean: float) -> Part:
    if not w.numel():
        return Part(w, h, 1.0)
    own = _mean([h]) if "spacings" in plan.refinements else mean
    return Part(w, h, _round(plan.width * math.sqrt(plan.price / own)))


def _product(spectrum: Spectrum, rank: int, h: Tensor, plan: Plan, mean: float) -> list[Part]:
    """Both factors with the roots of the singular values, each under the sensitivities that the other gives it."""
    roots = spectrum.values[:rank].sqrt()
    left, right = spectrum.left[:, :rank] * roots, roots[:, None] * spectrum.right[:rank]
    return [
        _part(left, h @ right.square().T, plan, mean),
        _part(right, left.square().T @ h, plan, mean),
    ]


def _mean(sensitivities: list[Tensor]) -> float:
    total = sum(float(h.sum()) for h in sensitivities)
    return max(total / max(sum(h.numel() for h in sensitivities), 1), 1e-300)


def _round(spacing: float) -> float:
    """To five leading bits, so that a spacing takes few bytes."""
    mantissa, exponent = math.frexp(spacing)
    return math.ldexp(round(mantissa * _MANTISSA) / _MANTISSA, exponent)
