"""SGHMC: stochastic-gradient Hamiltonian Monte Carlo (Chen, Fox & Guestrin 2014)."""

import torch

from bitsandnats._types import Batch, Params
from bitsandnats.errors import InputError, message
from bitsandnats.samplers.types import Info, Rng, Sampler, State, Walk, fill_noise, start
from bitsandnats.target import LocalPosterior


def sghmc(target: LocalPosterior, *, step_size: float, friction: float = 0.1, noise_variance: float = 0.0) -> Sampler:
    r"""Langevin dynamics with momentum: $r\leftarrow(1-\alpha)r-hG+\sqrt{2\alpha-h^2\hat V}\,\eta,\ w\leftarrow w+hr$.

    $G=n\beta\,g_B+\gamma(w-w^*)$, $h^2=\epsilon/2$, r standard normal at the start and, in the stationary state, nearly
    so. This is the published algorithm in momenta of unit mass: with v = hr its η is h², its α the friction here, its
    β̂ = h²V̂/2. At α = 1 and V̂ = 0 it is SGLD at the same ε. Noise of the minibatch gradient heats the momentum by h²V
    a step; **the friction is right only if V̂ is that noise's variance**, in truth a matrix that depends on w.
    `kinetic_temperature`, the mean of r², shows a mismatch. The exact finite-step law on quadratics is
    `theory.finite_step.sghmc_variance`, checked in `tests/truth/test_sghmc.py`.

    Args:
        target: the local posterior.
        step_size: ε, so that h = √(ε/2); εκ < 4(2−α) is stable.
        friction: α in (0, 1], share of the momentum lost a step; without it, momentum is kept for 1/α steps.
        noise_variance: V̂, the variance of nβ g_B that is allowed for, one number for all weights.

    Raises:
        InputError: an option is out of range, or V̂ is larger than the friction can allow for.
    """
    injected = 2 * friction - step_size / 2 * noise_variance
    if not 0 < friction <= 1 or not noise_variance >= 0 or injected < 0:
        raise InputError(
            message(
                expected="0 < friction ≤ 1, 0 ≤ noise_variance ≤ 4·friction/step_size",
                got=f"friction={friction}, noise_variance={noise_variance}, step_size={step_size}",
                do="change that option of sghmc, or take a smaller step_size",
            )
        )
    h = (step_size / 2) ** 0.5

    def init(rng: Rng, position: Params) -> State:
        return start(target, position, {k: fill_noise(rng, torch.empty_like(w)) for k, w in position.items()})

    @torch.no_grad()
    def step(rng: Rng, state: State, batch: Batch | None) -> tuple[State, Info]:
        walk = Walk(target, target.evaluate(state.position, batch), [])
        kinetic = torch.zeros_like(walk.evaluation.loss, dtype=torch.float64)
        for w, d, g, r, buffer in walk.pieces(state):
            assert r is not None
            if target.statistics == "step":
                kinetic += torch.linalg.vecdot(r, r)
            r.mul_(1 - friction).add_(g, alpha=-h * target.nbeta).add_(d, alpha=-h * target.gamma)
            r.add_(fill_noise(rng, buffer), alpha=injected**0.5)
            w.add_(r, alpha=h)
        info = walk.info()
        if target.statistics == "step":
            own = {"kinetic_temperature": kinetic / target.task.dimension}
            info = info._replace(statistics={**info.statistics, **own})
        return state._replace(step=state.step + 1), info

    return Sampler(init, step)
