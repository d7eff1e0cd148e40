"""RMSProp-SGLD: SGLD with a diagonal preconditioner from running squared gradients (Li et al. 2015)."""

import torch
from torch import Tensor

from bitsandnats._types import Batch, Params
from bitsandnats.compiling import compiled_update
from bitsandnats.errors import InputError, message
from bitsandnats.samplers.types import Info, Rng, Sampler, State, Walk, fill_noise, start
from bitsandnats.target import LocalPosterior


def rmsprop_sgld(
    target: LocalPosterior,
    *,
    step_size: float,
    decay: float = 0.99,
    delta: float = 0.1,
    initial: str = "zero",
    adapt_steps: int | None = None,
) -> Sampler:
    r"""Preconditioned SGLD: $w\leftarrow w-\tfrac\epsilon2A[n\beta\,g_B+\gamma(w-w^*)]+\sqrt{\epsilon A}\,\eta$.

    $v\leftarrow\alpha v+(1-\alpha)g_B^2$ from the loss gradient only, $A=1/(\sqrt{\hat v}+\delta)$, no Γ term. Two
    variants are published: `initial="zero"`, v₀=0 without bias correction (devinterp; used for 2510.12077), and
    `initial="one"`, v₀=1 with v divided by 1−α^t (Hitchcock & Hoogland 2025, Alg. 3). While A adapts, the
    stationary law is not the target's; `adapt_steps` freezes it. With tiny gradients A ≈ 1/δ, so step sizes are not
    comparable to SGLD's. The frozen law is checked in `tests/truth/test_finite_step.py`.

    Args:
        target: the local posterior.
        step_size: ε.
        decay: α, in [0, 1).
        delta: δ > 0, added to the root mean square.
        initial: `zero` or `one`, see above.
        adapt_steps: steps after which A is frozen; None = never; 0 = A stays at its initial value.

    Raises:
        InputError: an option is out of range.
    """
    if not 0 <= decay < 1 or not delta > 0 or initial not in ("zero", "one"):
        raise InputError(
            message(
                expected="0 ≤ decay < 1, delta > 0, initial 'zero' or 'one'",
                got=f"decay={decay}, delta={delta}, initial={initial!r}",
                do="change that option of rmsprop_sgld",
            )
        )

    def move(
        w: Tensor, d: Tensor, g: Tensor, v: Tensor, noise: Tensor, decay: float | None, correction: float
    ) -> tuple[Tensor, Tensor]:
        """Moves a block of weights; the largest A of each chain, and the sum."""
        if decay is not None:
            v.mul_(decay).addcmul_(g, g, value=1 - decay)
        a = (v / correction).sqrt_().add_(delta).reciprocal_()
        largest, total = a.amax(1), a.sum(1, dtype=torch.float64)
        w.addcmul_(a, d.mul_(target.gamma).add_(g, alpha=target.nbeta), value=-step_size / 2)
        w.addcmul_(noise, a.mul_(step_size).sqrt_())
        return largest, total

    moved = compiled_update(move) if target.compile else move

    def init(rng: Rng, position: Params) -> State:
        fill = torch.zeros_like if initial == "zero" else torch.ones_like
        return start(target, position, {name: fill(w) for name, w in position.items()})

    @torch.no_grad()
    def step(rng: Rng, state: State, batch: Batch | None) -> tuple[State, Info]:
        walk = Walk(target, target.evaluate(state.position, batch), [])
        adapting = adapt_steps is None or state.step < adapt_steps
        updates = state.step + 1 if adapting else adapt_steps or 0
        correction = 1 - decay**updates if initial == "one" and updates > 0 else 1.0
        largest, total = walk.evaluation.loss.new_zeros(2, len(walk.evaluation.loss), dtype=torch.float64)
        for w, d, g, v, buffer in walk.pieces(state):
            assert v is not None
            noise = fill_noise(rng, buffer)
            top, part = moved(w, d, g, v, noise, decay if adapting else None, correction)
            largest, total = torch.maximum(largest, top.double()), total + part
        info = walk.info()
        used = {"preconditioner_max": largest, "preconditioner_mean": total / target.task.dimension}
        return state._replace(step=state.step + 1), info._replace(statistics={**info.statistics, **used})

    return Sampler(init, step)
