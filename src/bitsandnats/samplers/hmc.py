"""HMC: Hamiltonian Monte Carlo on all data (Duane et al. 1987; Neal 2011)."""

from bitsandnats.errors import InputError, message
from bitsandnats.samplers.metropolis import Schedule, metropolis
from bitsandnats.samplers.types import Sampler
from bitsandnats.target import LocalPosterior

_GOLDEN = (5**0.5 - 1) / 2


def hmc(
    target: LocalPosterior,
    *,
    step_size: float,
    leapfrogs: int = 32,
    adapt_steps: int = 0,
    target_accept: float = 0.8,
) -> Sampler:
    r"""Trajectories of $H=U(w)+\tfrac12\lVert p\rVert^2$, accepted with probability min(1, exp(−ΔH)).

    One leapfrog: $p\leftarrow p-\tfrac h2\nabla U,\ w\leftarrow w+hp,\ p\leftarrow p-\tfrac h2\nabla U$. The stationary
    law is the local posterior itself at any h; a bad h shows as a low `acceptance`. The number of
    leapfrogs, each one evaluation of all data, is the same for all chains, a quasi-random sequence over
    1 … 2·`leapfrogs`, so that no direction is met at a multiple of its period. Checked in `tests/truth/test_hmc.py`.

    Args:
        target: the local posterior.
        step_size: h; hκ^½ < 2 in the stiffest direction is stable. Not SGLD's ε: h² is comparable to ε.
        leapfrogs: mean number of leapfrogs a transition.
        adapt_steps: transitions during which each chain's h adapts to `target_accept`, then stays; count them as
            burn-in.
        target_accept: mean acceptance that is adapted to; the averaged step usually ends a little above it.

    Raises:
        InputError: an option is out of range, or weights of several floating types.
    """
    if leapfrogs < 1 or adapt_steps < 0 or not 0 < target_accept < 1:
        raise InputError(
            message(
                expected="leapfrogs ≥ 1, adapt_steps ≥ 0, 0 < target_accept < 1",
                got=f"leapfrogs={leapfrogs}, adapt_steps={adapt_steps}, target_accept={target_accept}",
                do="change that option of hmc",
            )
        )

    def count(transition: int) -> int:
        return max(1, round(2 * leapfrogs * ((transition + 1) * _GOLDEN % 1)))

    return metropolis(target, Schedule(step_size, count, adapt_steps, target_accept, lambda h: h))
