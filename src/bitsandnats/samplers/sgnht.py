"""SGNHT: the stochastic-gradient Nosé-Hoover thermostat (Ding et al. 2014)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Batch, Params
from bitsandnats.errors import InputError, message
from bitsandnats.samplers.types import Info, Rng, Sampler, State, Walk, fill_noise, start
from bitsandnats.target import LocalPosterior


class Thermostatted(NamedTuple):
    """State of SGNHT. A step consumes it.

    Attributes:
        position: weights, leading chain axis; those of `inner`.
        inner: weights and momenta.
        thermostat: ζ, the friction a step that each chain has come to.
        temperature: mean of r² over the weights.
    """

    position: Params
    inner: State
    thermostat: Float[Tensor, " chain"]
    temperature: Float[Tensor, " chain"]


def sgnht(target: LocalPosterior, *, step_size: float, friction: float = 0.01) -> Sampler:
    r"""Momentum with a friction ζ that keeps its temperature.

    $r\leftarrow(1-ζ)r-hG+\sqrt{2\alpha}\,\eta,\ w\leftarrow w+hr,\ ζ\leftarrow ζ+h^2(\tfrac1d\lVert r\rVert^2-1)$
    from ζ = α, with $G=n\beta\,g_B+\gamma(w-w^*)$ and $h^2=\epsilon/2$. The published algorithm with A = α/h and its
    ξ = ζ/h. Gradient noise of *one* constant variance V in all weights needs no estimate: ζ settles near
    $\alpha+\tfrac{h^2}2V$ (`thermostat`) and takes up the heat. Where the noise differs between weights or places, one
    number cannot balance it. The thermostat holds the mean of r² at 1 where the discrete chain ought to have 2/(2−ζ),
    so the variances of w are too small by the share ζ/2 however small ε is: keep α small.
    `theory.finite_step.sgnht_law` has both, checked in `tests/truth/test_sgnht.py`.

    Args:
        target: the local posterior.
        step_size: ε, as in `sghmc`; h = √(ε/2).
        friction: α in (0, 1], the friction that balances the noise put in.

    Raises:
        InputError: an option is out of range.
    """
    if not 0 < friction <= 1:
        raise InputError(
            message(expected="0 < friction ≤ 1", got=f"friction={friction}", do="change that option of sgnht")
        )
    h = (step_size / 2) ** 0.5
    dimension = target.task.dimension

    def init(rng: Rng, position: Params) -> Thermostatted:
        momenta = {name: fill_noise(rng, torch.empty_like(w)) for name, w in position.items()}
        temperature = torch.stack([_squares(r.flatten(1)) for r in momenta.values()]).sum(0) / dimension
        inner = start(target, position, momenta)
        return Thermostatted(inner.position, inner, torch.full_like(temperature, friction), temperature)

    @torch.no_grad()
    def step(rng: Rng, state: Thermostatted, batch: Batch | None) -> tuple[Thermostatted, Info]:
        inner = state.inner
        walk = Walk(target, target.evaluate(inner.position, batch), [])
        kept = (1 - state.thermostat)[:, None]
        squares = []
        for w, d, g, r, buffer in walk.pieces(inner):
            assert r is not None
            r.mul_(kept.to(r.dtype)).add_(g, alpha=-h * target.nbeta).add_(d, alpha=-h * target.gamma)
            r.add_(fill_noise(rng, buffer), alpha=(2 * friction) ** 0.5)
            w.add_(r, alpha=h)
            squares.append(_squares(r))
        info = walk.info()
        own = {"thermostat": state.thermostat, "kinetic_temperature": state.temperature}
        info = info._replace(statistics={**info.statistics, **own})
        temperature = torch.stack(squares).sum(0) / dimension
        thermostat = state.thermostat + step_size / 2 * (temperature - 1)
        return Thermostatted(inner.position, inner._replace(step=inner.step + 1), thermostat, temperature), info

    return Sampler(init, step)


def _squares(momenta: Float[Tensor, "chain block"]) -> Float[Tensor, " chain"]:
    return torch.linalg.vecdot(momenta, momenta).double()
