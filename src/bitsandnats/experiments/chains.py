"""Chains of exact Hamiltonian Monte Carlo on small networks, the same for all studies of attribution."""

from typing import NamedTuple

from bitsandnats.curvature import top_curvature
from bitsandnats.settings import Settings
from bitsandnats.task import Task

_ADAPTING = 50
_REACH = 0.8  # leapfrogs of a trajectory, times √(stiffest over softest curvature)
_LEAPFROGS = (4, 32)


class Sampling(NamedTuple):
    """Chains of exact Hamiltonian Monte Carlo.

    Attributes:
        chains: at once.
        burn_in: transitions of each, during which the step adapts.
        draws: of each.
    """

    chains: int
    burn_in: int
    draws: int


class Chain(NamedTuple):
    """A setting of the chains.

    Attributes:
        nbeta: nβ.
        ratio: γ/nβ.
        decay: μ of a penalty μ‖w‖²/2 that is part of the loss that chains move on.
    """

    nbeta: float
    ratio: float
    decay: float = 0.0

    @property
    def gamma(self) -> float:
        """γ, the pull to w*."""
        return self.nbeta * self.ratio

    @property
    def total(self) -> float:
        """γ + nβμ: curvature where the data have none."""
        return self.gamma + self.nbeta * self.decay

    @property
    def name(self) -> str:
        """In tables and folders."""
        return f"nbeta={self.nbeta:.0f}, gamma={self.gamma:.3g}" + (", penalty" if self.decay else "")


def chain_settings(task: Task, chain: Chain, sampling: Sampling, *, seed: int) -> Settings:
    """HMC's, from the stiffest direction and the softest, that of the pull alone.

    Args:
        task: what chains move on, its penalty included.
        chain: nβ, γ and the penalty.
        sampling: how many chains and draws.
        seed: of the chains.
    """
    top = max(top_curvature(task, items=len(task.data), seed=seed).value, 0.0)
    stiffest = chain.nbeta * top + chain.gamma
    reach = round(_REACH * (stiffest / chain.total) ** 0.5)
    leapfrogs = min(max(reach, _LEAPFROGS[0]), _LEAPFROGS[1])
    return Settings(
        sampler=f"hmc(leapfrogs={leapfrogs}, adapt_steps={_ADAPTING})",
        step_size=stiffest**-0.5,
        gamma=chain.gamma,
        nbeta=chain.nbeta,
        batch_size=len(task.data),
        chains=sampling.chains,
        burn_in=_ADAPTING + sampling.burn_in,
        draws=sampling.draws,
        seed=seed,
        mode="vmap",
        baseline="none",
    )
