"""Leapfrog trajectories with accept/reject: the engine of HMC and, with one leapfrog, of MALA."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Batch, Params
from bitsandnats.samplers import dual_averaging
from bitsandnats.samplers.dual_averaging import Averaging
from bitsandnats.samplers.full_batch import Place, Surface, accepted, beside, surface
from bitsandnats.samplers.types import Info, Rng, Sampler, fill_noise
from bitsandnats.target import LocalPosterior


class Held(NamedTuple):
    """State of a Metropolis-corrected sampler. A step consumes it.

    Attributes:
        position: weights, leading chain axis.
        step: transitions done.
        place: the same weights with loss and gradient.
        spare: storage for the proposal.
        averaging: the adapted log step sizes.
    """

    position: Params
    step: int
    place: Place
    spare: Place
    averaging: Averaging


class Schedule(NamedTuple):
    """How a trajectory is made.

    Attributes:
        step_size: h of a leapfrog.
        leapfrogs: their number as a function of the transitions done, the same for all chains.
        adapt_steps: transitions during which h adapts.
        target_accept: the mean acceptance that it adapts to.
        shown: the `step_size_used` reported, from h.
    """

    step_size: float
    leapfrogs: Callable[[int], int]
    adapt_steps: int
    target_accept: float
    shown: Callable[[Tensor], Tensor]


def metropolis(target: LocalPosterior, schedule: Schedule) -> Sampler:
    r"""Hamiltonian trajectories of $H=U(w)+\tfrac12\lVert p\rVert^2$, accepted with probability min(1, exp(−ΔH)).

    Each transition draws a new momentum and one uniform number a chain from the chain's own generator. A trajectory
    that is not finite is rejected.

    Args:
        target: the local posterior; sampled on all of its data.
        schedule: step size, number of leapfrogs, adaptation.

    Raises:
        InputError: weights of several floating types.
    """
    energy = surface(target)

    def init(rng: Rng, position: Params) -> Held:
        place = energy.place(position)
        spare = beside(place)
        averaging = dual_averaging.begin(schedule.step_size, len(place.weights), place.weights.device)
        return Held(place.position, 0, place, spare, averaging)

    @torch.no_grad()
    def step(rng: Rng, state: Held, batch: Batch | None) -> tuple[Held, Info]:
        here, averaging = state.place, state.averaging
        adapting = state.step < schedule.adapt_steps
        size = (averaging.log_step if adapting else averaging.log_average).exp()
        momentum = fill_noise(rng, torch.empty_like(here.weights))
        uniform = torch.empty_like(size)
        for own, generator in zip(
            uniform, rng.generators, strict=True
        ):  # drawn whatever happens, so that streams stay in step
            own.uniform_(generator=generator)
        kinetic = _kinetic(momentum)
        state.spare.weights.copy_(here.weights)
        state.spare.gradient.copy_(here.gradient)  # where a trajectory starts it is known
        count = schedule.leapfrogs(state.step)
        there = leapfrog(energy, state.spare, momentum, size=size, count=count)
        excess = energy.energy_change(here, there) + _kinetic(momentum) - kinetic
        acceptance = torch.exp(-excess.clamp(min=0)).nan_to_num(nan=0.0)
        info = energy.info(here, {"acceptance": acceptance, "step_size_used": schedule.shown(size)})
        if adapting:
            averaging = dual_averaging.update(
                averaging, acceptance, wanted=schedule.target_accept, count=state.step + 1
            )
        place = accepted(uniform < acceptance, here, there)
        return Held(place.position, state.step + 1, place, there, averaging), info

    return Sampler(init, step)


def leapfrog(energy: Surface, place: Place, momentum: Tensor, *, size: Float[Tensor, " chain"], count: int) -> Place:
    """Where `count` leapfrogs lead; writes `place` and `momentum`, one evaluation a leapfrog.

    Args:
        energy: the target's energy.
        place: the start, with its gradient.
        momentum: p, of the weights' shape.
        size: h of each chain.
        count: number of leapfrogs.
    """
    h = size.to(momentum.dtype)[:, None]
    force = energy.force(place, torch.empty_like(momentum))
    momentum.addcmul_(force, h, value=-0.5)
    for i in range(count):
        place.weights.addcmul_(momentum, h)
        place = energy.evaluate(place)
        momentum.addcmul_(energy.force(place, force), h, value=-1.0 if i + 1 < count else -0.5)
    return place


def _kinetic(momentum: Tensor) -> Float[Tensor, " chain"]:
    wide = momentum.double()
    return torch.linalg.vecdot(wide, wide) / 2
