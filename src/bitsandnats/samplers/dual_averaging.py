"""A step size that reaches a wanted acceptance, each chain for itself (Hoffman & Gelman 2014, section 3.2)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_GAMMA, _DELAY, _KAPPA = 0.05, 10, 0.75


class Averaging(NamedTuple):
    r"""Nesterov's dual averaging of log h: after update t, $\log h_t=μ-\tfrac{\sqrt t}{\gamma}H_t$.

    Attributes:
        center: μ, the log of the step size given.
        log_step: log h, used for the next transition while adapting.
        log_average: its running average, used afterwards.
        shortfall: H, running mean of wanted minus found acceptance.
    """

    center: float
    log_step: Float[Tensor, " chain"]
    log_average: Float[Tensor, " chain"]
    shortfall: Float[Tensor, " chain"]


def begin(step_size: float, chains: int, device: torch.device) -> Averaging:
    """Every chain at `step_size`."""
    log = torch.full((chains,), math.log(step_size), dtype=torch.float64, device=device)
    return Averaging(math.log(step_size), log, log.clone(), torch.zeros_like(log))


def update(averaging: Averaging, found: Float[Tensor, " chain"], *, wanted: float, count: int) -> Averaging:
    """The adapted step after transition `count` = 1, 2, …, whose acceptance was `found`.

    With γ = 0.05, t₀ = 10, κ = 0.75 as published. Checked in `tests/truth/test_hmc.py`.
    """
    share = 1 / (count + _DELAY)
    shortfall = (1 - share) * averaging.shortfall + share * (wanted - found)
    log_step = averaging.center - math.sqrt(count) / _GAMMA * shortfall
    share = count**-_KAPPA
    return Averaging(averaging.center, log_step, share * log_step + (1 - share) * averaging.log_average, shortfall)
