"""MCLMC: microcanonical Langevin on all data, without accept/reject (Robnik, De Luca, Silverstein & Seljak 2023)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Batch, Params
from bitsandnats.errors import InputError, message
from bitsandnats.samplers.full_batch import Place, Surface, accepted, beside, surface
from bitsandnats.samplers.types import Info, Rng, Sampler, fill_noise
from bitsandnats.target import LocalPosterior

_KICK = 0.1931833275037836  # of the minimal-norm integrator (McLachlan 1995): kick, half step, kick, half step, kick
_MEMORY = 150  # steps over which the step's adaptation averages
_TRUST = 1.5  # width, in factors of e of the step, within which an energy error counts for the adaptation


class Tuning(NamedTuple):
    """What adapts, each chain for itself.

    Attributes:
        step_size: of the next step.
        length: L.
        largest: step size that is not exceeded, because a longer one led out of finite numbers.
        average: decaying weighted sum of (energy error)² over its wanted value and step_size⁶.
        weight: sum of those weights.
        mean: running mean of the weights over the second half of the adaptation.
        scatter: running sum of squared deviations there, all coordinates.
    """

    step_size: Float[Tensor, " chain"]
    length: Float[Tensor, " chain"]
    largest: Float[Tensor, " chain"]
    average: Float[Tensor, " chain"]
    weight: Float[Tensor, " chain"]
    mean: Float[Tensor, "chain parameter"]
    scatter: Float[Tensor, " chain"]


class Moving(NamedTuple):
    """State of MCLMC. A step consumes it.

    Attributes:
        position: weights, leading chain axis.
        step: steps done.
        place: the same weights with loss and gradient.
        spare: storage for the next place.
        velocity: u, a unit vector.
        tuning: step size and L.
    """

    position: Params
    step: int
    place: Place
    spare: Place
    velocity: Float[Tensor, "chain parameter"]
    tuning: Tuning


def mclmc(
    target: LocalPosterior,
    *,
    step_size: float,
    decoherence: float | None = None,
    adapt_steps: int = 0,
    energy_variance: float = 1e-5,
) -> Sampler:
    r"""Motion at unit speed that the gradient bends, with a little noise on its direction.

    $\frac{dw}{dt}=u,\ \frac{du}{dt}=-(1-uu^\top)\frac{\nabla U}{d-1}$: in continuous time w has the law of the local
    posterior. A step is the minimal-norm integrator (two evaluations of all data), after u has been turned by
    $u\leftarrow(u+νz)/\lVert u+νz\rVert,\ ν^2=(e^{2\epsilon/L}-1)/d$ with standard normal z.

    **There is no accept/reject, so the law is biased at a finite step**: `adapt_steps` tune the step to a wanted mean
    square of its error in energy a dimension, and the bias falls as the cube root of that. With 150 weights of
    curvatures 1 to 6, λ̂ is 2.6 % too small at the published 5e-4 and 0.5 % at 1e-5. It cannot be read off the draws:
    compare two values of `energy_variance`, or HMC. Checked in `tests/truth/test_mclmc.py`.

    Args:
        target: the local posterior.
        step_size: ε, a length in weight space, all coordinates together; a coordinate moves ε/√d.
        decoherence: L, the path after which the direction is forgotten, a length too; None: √(d/γ), the width that the
            pull alone allows, and after adapting the square root of the weights' total variance.
        adapt_steps: steps during which each chain adapts, then stays; count them as burn-in.
        energy_variance: wanted mean square of a step's energy error over d, nats².

    Raises:
        InputError: an option is out of range, no L can be chosen, fewer than two weights move, or weights of several
            floating types.
    """
    dimension = target.task.dimension
    _check(target, decoherence, adapt_steps, energy_variance)
    energy = surface(target)
    length = math.sqrt(dimension / target.gamma) if decoherence is None else decoherence

    def init(rng: Rng, position: Params) -> Moving:
        place = energy.place(position)
        velocity = fill_noise(rng, torch.empty_like(place.weights))
        velocity.div_(_norm(velocity).to(velocity.dtype)[:, None])
        start = torch.full_like(place.loss, step_size, dtype=torch.float64)
        zero = torch.zeros_like(start)
        lengths, largest = torch.full_like(start, length), torch.full_like(start, math.inf)
        mean = torch.zeros_like(place.weights) if adapt_steps else place.weights[:, :0]
        tuning = Tuning(start, lengths, largest, zero, zero, mean, zero)
        return Moving(place.position, 0, place, beside(place), velocity, tuning)

    @torch.no_grad()
    def step(rng: Rng, state: Moving, batch: Batch | None) -> tuple[Moving, Info]:
        here, tuning = state.place, state.tuning
        noise = fill_noise(rng, torch.empty_like(here.weights))
        turn = torch.expm1(2 * tuning.step_size / tuning.length).div(dimension).sqrt()
        velocity = noise.mul_(turn.to(noise.dtype)[:, None]).add_(state.velocity)
        velocity.div_(_norm(velocity).to(noise.dtype)[:, None])
        state.spare.weights.copy_(here.weights)
        state.spare.gradient.copy_(here.gradient)
        there, kinetic = _minimal_norm(energy, state.spare, velocity, tuning.step_size)
        change = kinetic + energy.energy_change(here, there)
        info = energy.info(here, {"energy_change": change, "step_size_used": tuning.step_size})
        if state.step >= adapt_steps:
            return Moving(there.position, state.step + 1, there, here, velocity, tuning), info
        finite = torch.isfinite(change)  # a step out of finite numbers is undone while adapting
        place = accepted(finite, here, there)
        velocity = torch.where(finite[:, None], velocity, state.velocity)
        tuning = _adapted(tuning, torch.where(finite, change.square() / (dimension * energy_variance), torch.inf))
        seen = state.step - adapt_steps // 2
        if seen >= 0:
            tuning = _with_variance(tuning, place.weights, seen + 1)
        if decoherence is None and state.step + 1 == adapt_steps and seen > 0:
            tuning = tuning._replace(length=(tuning.scatter / (seen + 1)).sqrt())
        return Moving(place.position, state.step + 1, place, there, velocity, tuning), info

    return Sampler(init, step)


def _check(target: LocalPosterior, decoherence: float | None, adapt_steps: int, energy_variance: float) -> None:
    if (decoherence is not None and not decoherence > 0) or adapt_steps < 0 or not energy_variance > 0:
        raise InputError(
            message(
                expected="decoherence > 0, adapt_steps ≥ 0, energy_variance > 0",
                got=f"decoherence={decoherence}, adapt_steps={adapt_steps}, energy_variance={energy_variance}",
                do="change that option of mclmc",
            )
        )
    if decoherence is None and target.gamma == 0:
        raise InputError(message(expected="decoherence, or gamma > 0", got="neither", do="give mclmc its decoherence"))
    if target.task.dimension < 2:
        raise InputError(message(expected="two moving weights at least for mclmc", got="1", do="use sampler 'hmc'"))


def _minimal_norm(
    energy: Surface, place: Place, velocity: Tensor, size: Float[Tensor, " chain"]
) -> tuple[Place, Float[Tensor, " chain"]]:
    """One step of the integrator, writing `place` and `velocity`; and the change of kinetic energy, nats."""
    half = (size / 2).to(velocity.dtype)[:, None]
    force = energy.force(place, torch.empty_like(velocity))
    kinetic = _bend(velocity, force, _KICK * size)
    for share in (1 - 2 * _KICK, _KICK):
        place.weights.addcmul_(velocity, half)
        place = energy.evaluate(place)
        kinetic = kinetic + _bend(velocity, energy.force(place, force), share * size)
    return place, kinetic


def _bend(velocity: Tensor, force: Tensor, size: Float[Tensor, " chain"]) -> Float[Tensor, " chain"]:
    r"""Turns u along −∇U for a time, in place; the change of kinetic energy, nats.

    With e = −∇U/‖∇U‖, δ = time·‖∇U‖/(d−1), ζ = e^{−δ}: $u\propto e(1-ζ)[1+ζ+(e\cdot u)(1-ζ)]+2ζu$, the
    exact solution for a constant gradient (Steeg & Galstyan 2021).
    """
    others = velocity.shape[1] - 1
    norm = _norm(force).clamp(min=torch.finfo(torch.float64).tiny)
    along = -torch.linalg.vecdot(velocity.double(), force.double()) / norm
    delta = size * norm / others
    zeta = torch.exp(-delta)
    toward = -(1 - zeta) * (1 + zeta + along * (1 - zeta)) / norm
    velocity.mul_((2 * zeta).to(velocity.dtype)[:, None]).addcmul_(force, toward.to(velocity.dtype)[:, None])
    velocity.div_(_norm(velocity).to(velocity.dtype)[:, None])
    return others * (delta - math.log(2) + torch.log1p(along + (1 - along) * zeta.square()))


def _adapted(tuning: Tuning, error: Float[Tensor, " chain"]) -> Tuning:
    """The next step size from a step's squared energy error over its wanted value; infinite: the step was undone.

    The square grows as the sixth power of the step, so average error/step⁶ and solve for 1. Errors far from the wanted
    size tell little about it and weigh little.
    """
    undone = torch.isinf(error)
    largest = torch.where(undone, 0.8 * tuning.step_size, tuning.largest)
    ratio = torch.where(undone, 1.0, error) + 1e-8
    weight = torch.exp(-0.5 * (torch.log(ratio) / (6 * _TRUST)).square())
    weight = torch.where(undone, 0.0, weight)
    decay = (_MEMORY - 1) / (_MEMORY + 1)
    average = decay * tuning.average + weight * ratio / tuning.step_size**6
    total = decay * tuning.weight + weight
    step_size = torch.where(total > 0, (average / total) ** (-1 / 6), tuning.step_size)
    return tuning._replace(step_size=torch.minimum(step_size, largest), largest=largest, average=average, weight=total)


def _with_variance(tuning: Tuning, weights: Tensor, count: int) -> Tuning:
    """Welford's running mean and scatter with the `count`-th place."""
    before = weights - tuning.mean
    mean = tuning.mean + before / count
    grown = torch.linalg.vecdot(before.double(), (weights - mean).double())
    return tuning._replace(mean=mean, scatter=tuning.scatter + grown)


def _norm(vectors: Tensor) -> Float[Tensor, " chain"]:
    wide = vectors.double()
    return torch.linalg.vecdot(wide, wide).sqrt()
