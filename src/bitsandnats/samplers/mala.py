"""MALA: Langevin proposals with accept/reject on all data (Roberts & Tweedie 1996), and its acceptance by itself."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats.errors import InputError, message
from bitsandnats.samplers.metropolis import Schedule, metropolis
from bitsandnats.samplers.types import Sampler
from bitsandnats.target import LocalPosterior

_BLOCK = 1 << 16  # coordinates at a time, in 64 bits


def mala(target: LocalPosterior, *, step_size: float, adapt_steps: int = 0, target_accept: float = 0.574) -> Sampler:
    r"""SGLD's step on all data as a proposal: $w'=w-\tfrac\epsilon2\nabla U(w)+\sqrt\epsilon\,\eta$, accepted or not.

    The same as one leapfrog of $h=\sqrt\epsilon$ from a fresh momentum, so it is made that way. The stationary law is
    the local posterior itself at any ε. One evaluation of all data a transition. Checked in `tests/truth/test_mala.py`.

    Args:
        target: the local posterior.
        step_size: ε, as in SGLD.
        adapt_steps: transitions during which each chain's ε adapts to `target_accept`, then stays; count them as
            burn-in.
        target_accept: mean acceptance that is adapted to; 0.574 is the best for large independent dimensions.

    Raises:
        InputError: an option is out of range, or weights of several floating types.
    """
    if adapt_steps < 0 or not 0 < target_accept < 1:
        raise InputError(
            message(
                expected="adapt_steps ≥ 0, 0 < target_accept < 1",
                got=f"adapt_steps={adapt_steps}, target_accept={target_accept}",
                do="change that option of mala",
            )
        )
    schedule = Schedule(step_size**0.5, lambda transition: 1, adapt_steps, target_accept, torch.square)
    return metropolis(target, schedule)


class Point(NamedTuple):
    """A place of each chain.

    Attributes:
        position: w.
        gradient: ∇U(w).
        energy: U(w), nats.
    """

    position: Float[Tensor, "chain parameter"]
    gradient: Float[Tensor, "chain parameter"]
    energy: Float[Tensor, " chain"]


def mala_acceptance(start: Point, proposal: Point, *, step_size: float) -> Float[Tensor, " chain"]:
    r"""Probability with which MALA would accept the move: $\min\{1,e^{U(w)-U(w')}q(w|w')/q(w'|w)\}$.

    $q(w'|w)=N(w-\tfrac\epsilon2\nabla U(w),\epsilon)$. For an unadjusted Langevin step it tells how far the step is
    from reversible: near 1, discretisation is harmless. Checked in `tests/truth/test_mala.py`.

    Args:
        start: where the step began.
        proposal: where it led.
        step_size: ε.
    """
    difference = torch.zeros_like(start.energy, dtype=torch.float64)
    for parts in zip(*(t.split(_BLOCK, -1) for t in (*start[:2], *proposal[:2])), strict=True):
        here, slope, there, slope_there = (part.double() for part in parts)
        move = there - here
        back, forth = slope_there * (step_size / 2) - move, slope * (step_size / 2) + move
        difference += back.square().sum(-1) - forth.square().sum(-1)
    excess = proposal.energy.double() - start.energy.double() + difference / (2 * step_size)
    return torch.exp(-excess.clamp(min=0)).nan_to_num(nan=0.0)
