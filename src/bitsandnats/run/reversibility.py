"""Would a Metropolis test accept the steps of an unadjusted chain?"""

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._tree import fetched
from bitsandnats._types import Batch, Params
from bitsandnats.samplers.mala import Point, mala_acceptance
from bitsandnats.target import LocalPosterior

CHECKED = 4
"""Steps that are looked at, the last ones of a run: each costs two further evaluations."""


def step_acceptance(
    target: LocalPosterior, start: Params, end: Params, batch: Batch | None, *, step_size: float
) -> Float[Tensor, " chain"]:
    """Acceptance probability of an SGLD step from `start` to `end`, both judged on the step's own batch.

    Args:
        target: the local posterior that was sampled.
        start: weights before the step, leading chain axis.
        end: weights after it.
        batch: the step's items; None = all data.
        step_size: ε.
    """
    return mala_acceptance(_point(target, start, batch), _point(target, end, batch), step_size=step_size)


def _point(target: LocalPosterior, position: Params, batch: Batch | None) -> Point:
    found = target.evaluate(position, batch)
    flat = torch.cat([w.flatten(1) for w in position.values()], 1)
    away = torch.cat([(w - fetched(target.task.center[name], w.device)).flatten(1) for name, w in position.items()], 1)
    gradient = torch.cat([found.gradient[name].flatten(1) for name in position], 1)
    energy = target.nbeta * found.loss.double() + target.gamma / 2 * away.square().sum(1, dtype=torch.float64)
    return Point(flat, torch.add(away * target.gamma, gradient, alpha=target.nbeta), energy)
