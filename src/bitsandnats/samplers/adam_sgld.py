"""AdamSGLD: SGLD with the first and second moments of Adam (Hitchcock & Hoogland 2025, arXiv 2507.21449, Alg. 2)."""

from dataclasses import replace
from typing import NamedTuple

import torch

from bitsandnats._types import Batch, Params
from bitsandnats.errors import InputError, message
from bitsandnats.samplers.types import Info, Rng, Sampler, State, Walk, fill_noise, start
from bitsandnats.target import LocalPosterior


class Moments(NamedTuple):
    """State of AdamSGLD. A step consumes it.

    Attributes:
        position: weights, leading chain axis; those of `inner`.
        inner: weights, with the second moments as their memory.
        first: the first moments, packed as the weights are.
    """

    position: Params
    inner: State
    first: State


def adam_sgld(
    target: LocalPosterior,
    *,
    step_size: float,
    decay: float = 0.99,
    drift_decay: float = 0.9,
    delta: float = 0.1,
    adapt_steps: int | None = None,
) -> Sampler:
    r"""SGLD with an averaged drift and a preconditioner, both from Adam's moments.

    $w\leftarrow w-\tfrac\epsilon2A[n\beta\,\hat m+\gamma(w-w^*)]+\sqrt{\epsilon A}\,\eta$ with
    $m\leftarrow\beta_1m+(1-\beta_1)g_B$ from 0, $v\leftarrow\beta_2v+(1-\beta_2)g_B^2$ from 1, both from the loss
    gradient only and divided by $1-\beta^t$ for $\hat m,\hat v$; $A=1/(\sqrt{\hat v}+\delta)$, no Γ term. At β₁ = 0 it
    is `rmsprop_sgld` with `initial="one"`. The averaged gradient is that of earlier weights, so the law is not the
    target's even with A frozen, and as ε → 0 only tends to it: `theory.finite_step.adam_sgld_variance` has it on
    quadratics, checked in `tests/truth/test_adam_sgld.py`. While A adapts, the stationary law is not the target's
    either; `adapt_steps` freezes A. Not the adaptive drift of Kim, Song & Liang (2020), whose noise is not
    preconditioned.

    Args:
        target: the local posterior.
        step_size: ε; not comparable to SGLD's.
        decay: β₂, in [0, 1).
        drift_decay: β₁, in [0, 1).
        delta: δ > 0, added to the root mean square.
        adapt_steps: steps after which A is frozen; None = never; 0 = A stays at its initial value. The drift is
            averaged on.

    Raises:
        InputError: an option is out of range.
    """
    if not 0 <= decay < 1 or not 0 <= drift_decay < 1 or not delta > 0:
        raise InputError(
            message(
                expected="0 ≤ decay < 1, 0 ≤ drift_decay < 1, delta > 0",
                got=f"decay={decay}, drift_decay={drift_decay}, delta={delta}",
                do="change that option of adam_sgld",
            )
        )
    unwatched = replace(target, statistics="none", slope=None)

    def init(rng: Rng, position: Params) -> Moments:
        inner = start(target, position, {name: torch.ones_like(w) for name, w in position.items()})
        first = start(unwatched, {name: torch.zeros_like(w) for name, w in position.items()}, {})
        return Moments(inner.position, inner, first)

    @torch.no_grad()
    def step(rng: Rng, state: Moments, batch: Batch | None) -> tuple[Moments, Info]:
        inner = state.inner
        walk = Walk(target, target.evaluate(inner.position, batch), [])
        adapting = adapt_steps is None or inner.step < adapt_steps
        updates = inner.step + 1 if adapting else adapt_steps or 0
        correction = 1 - decay**updates if updates > 0 else 1.0
        drift = target.nbeta / (1 - drift_decay ** (inner.step + 1))
        largest, total = walk.evaluation.loss.new_zeros(2, len(walk.evaluation.loss), dtype=torch.float64)
        averages = Walk(unwatched, walk.evaluation, []).blocks(state.first)  # m in the same blocks as the weights
        for (w, d, g, v, buffer), (m, *_) in zip(walk.pieces(inner), averages, strict=True):
            assert v is not None
            m.mul_(drift_decay).add_(g, alpha=1 - drift_decay)
            if adapting:
                v.mul_(decay).addcmul_(g, g, value=1 - decay)
            a = (v / correction).sqrt_().add_(delta).reciprocal_()
            largest = torch.maximum(largest, a.amax(1).double())
            total = total + a.sum(1, dtype=torch.float64)
            w.addcmul_(a, d.mul_(target.gamma).add_(m, alpha=drift), value=-step_size / 2)
            w.addcmul_(fill_noise(rng, buffer), a.mul_(step_size).sqrt_())
        info = walk.info()
        used = {"preconditioner_max": largest, "preconditioner_mean": total / target.task.dimension}
        inner = inner._replace(step=inner.step + 1)
        return Moments(inner.position, inner, state.first), info._replace(statistics={**info.statistics, **used})

    return Sampler(init, step)
