"""Chains on networks of heads: exact Hamiltonian Monte Carlo, at a temperature and a pull that rules give."""

from math import log
from typing import Literal, NamedTuple

import numpy as np
import torch

from bitsandnats._rng import generator
from bitsandnats._types import Params
from bitsandnats.curvature import top_curvature
from bitsandnats.experiments.heads.text import LENGTH
from bitsandnats.settings import Settings, changed
from bitsandnats.task import Task

NOISE = 1e-6
"""nβ of the controls: draws of noise alone."""

RULE = (
    "Temperature: nβ = n/ln n with n the tokens that L is the mean of. Pull: γ = ratio × nβ, with the largest ratio "
    "among 3, 1, 0.3, 0.1, 0.03 at which the likelihood matters: at which the rise of L in a head's own chains is at "
    "most half of that which noise of the same pull gives, for the median head. It was found from the spectra of the "
    "Hessians of another network's heads, as the sum of h/(h + ratio) over that of h/ratio, and the study of "
    "susceptibilities measures it again."
)

_REACH = 0.9  # of a trajectory, in the softest direction's phase
_LEAPFROGS = (4, 32)
_ERROR = 6.4  # d (h√γ)⁴: the many soft directions alone then cost a tenth of a nat, d (h√γ)⁴/64, of energy
_ITEMS, _ITERATIONS = 35, 12


class Sampling(NamedTuple):
    """Chains of exact Hamiltonian Monte Carlo from w* + N(0, 1/γ).

    Attributes:
        chains: at once.
        burn_in: transitions of each that are discarded.
        draws: of each.
        ratio: γ/nβ.
    """

    chains: int
    burn_in: int
    draws: int
    ratio: float

    def words(self, nbeta: float) -> str:
        """In a sentence."""
        return (
            f"{self.chains} chains of {self.draws} draws after {self.burn_in} discarded, exact Hamiltonian Monte Carlo "
            f"on all of these texts, nβ = n/ln n = {nbeta:.0f}, γ = {self.ratio:g} nβ = {self.ratio * nbeta:.0f}"
        )


def temperature(texts: int) -> float:
    """nβ = n/ln n with n the tokens of these texts that are predicted."""
    n = texts * LENGTH
    return n / log(n)


def chain_settings(
    task: Task, sampling: Sampling, *, seed: int, statistics: Literal["step", "none"] = "none"
) -> Settings:
    """Settings of chains on a network or a part of it, from its stiffest direction and the pull.

    Args:
        task: with all of its texts.
        sampling: how much.
        seed: of the chains.
        statistics: as in `Settings`.
    """
    nbeta = temperature(len(task.data))
    gamma = sampling.ratio * nbeta
    top = top_curvature(task, items=_ITEMS, iterations=_ITERATIONS, tolerance=0.05, seed=seed).value
    step = min((nbeta * max(top, 0.0) + gamma) ** -0.5, _soft_step(task, gamma))
    return Settings(
        sampler=_sampler(step, gamma),  # a step that is known needs no transitions to adapt in
        step_size=step,
        gamma=gamma,
        nbeta=nbeta,
        batch_size=len(task.data),
        chains=sampling.chains,
        burn_in=sampling.burn_in,
        draws=sampling.draws,
        start="noise",  # from w* itself the many soft directions would reject nearly every first trajectory
        seed=seed,
        mode="vmap",
        statistics=statistics,
        baseline="none" if statistics == "none" else "all",
    )


def noise_settings(settings: Settings) -> Settings:
    """As many draws of N(w*, 1/γ), each independent of the one before.

    SGLD with a pull of 2γ and a step of 1/γ forgets where it was; nβ = 1e-6 leaves nothing of the likelihood.

    Args:
        settings: of the chains that these are the control of.
    """
    own = {"sampler": "sgld", "step_size": 1 / settings.gamma, "gamma": 2 * settings.gamma, "nbeta": NOISE}
    return changed(settings, {**own, "batch_size": 1, "burn_in": 1, "start": "center", "mode": "loop"})


def _soft_step(task: Task, gamma: float) -> float:
    """The largest step at which directions that the pull alone holds are followed well enough."""
    return (_ERROR / task.dimension) ** 0.25 * gamma**-0.5


def _sampler(step: float, gamma: float) -> str:
    leapfrogs = round(_REACH / (step * gamma**0.5))
    return f"hmc(leapfrogs={min(max(leapfrogs, _LEAPFROGS[0]), _LEAPFROGS[1])})"


@torch.no_grad()
def noise_rise(task: Task, gamma: float, *, draws: int, seed: int) -> tuple[float, float]:
    """Mean of L(w* + v) − L(w*) over v of N(0, 1/γ) in every coordinate, and its standard error; nats.

    Each v is taken with both signs, so that slopes cancel. Checked in `tests/experiments/test_refined_llc.py`.

    Args:
        task: whose weights move.
        gamma: the pull, nats per squared unit of weight.
        draws: vectors.
        seed: of the vectors.
    """
    source, items = generator(seed, 0, "probe", task.device), len(task.data)

    def mean(weights: Params) -> float:
        return float(task.mean_loss(task.all_item_losses(weights, items)))

    center, values = mean(task.center), []
    for _ in range(draws):
        noise = {name: torch.empty_like(w).normal_(generator=source) * gamma**-0.5 for name, w in task.center.items()}
        both = (mean({name: w + sign * noise[name] for name, w in task.center.items()}) for sign in (1, -1))
        values.append(sum(both) / 2 - center)
    return float(np.mean(values)), float(np.std(values, ddof=1)) / draws**0.5
