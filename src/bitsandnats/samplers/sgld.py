"""SGLD: stochastic-gradient Langevin dynamics (Welling & Teh 2011; Lau et al. 2024)."""

import torch

from bitsandnats._types import Batch, Params
from bitsandnats.samplers.types import Info, Rng, Sampler, State, Walk, langevin, start
from bitsandnats.target import LocalPosterior


def sgld(target: LocalPosterior, *, step_size: float) -> Sampler:
    r"""SGLD around a center: $w\leftarrow w-\tfrac\epsilon2[n\beta\,g_B+\gamma(w-w^*)]+\sqrt\epsilon\,\eta$.

    On quadratics its stationary law is known exactly at any ε
    (`theory.finite_step`, checked in `tests/truth/test_finite_step.py`).

    Args:
        target: the local posterior.
        step_size: ε.
    """

    def init(rng: Rng, position: Params) -> State:
        return start(target, position, {})

    @torch.no_grad()
    def step(rng: Rng, state: State, batch: Batch | None) -> tuple[State, Info]:
        walk = Walk(target, target.evaluate(state.position, batch), [])
        pull, push = step_size * target.gamma / 2, step_size * target.nbeta / 2
        for group in walk.groups(state):
            langevin(rng, group, pull=pull, push=push, scale=step_size**0.5)
        return state._replace(step=state.step + 1), walk.info()

    return Sampler(init, step)
