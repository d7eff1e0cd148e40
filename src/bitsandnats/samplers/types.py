"""The sampler's interface: State, Info, and the two functions."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitsandnats._types import Batch, Params
from bitsandnats.target import Evaluation, LocalPosterior

Rng = list[torch.Generator]
"""One generator a chain of the group."""


class State(NamedTuple):
    """What the next step needs. A step consumes it: its tensors may be rewritten.

    Attributes:
        position: weights, leading chain axis.
        memory: the sampler's own tensors of the same shapes (empty for SGLD).
        step: steps done.
    """

    position: Params
    memory: Params
    step: int


class Info(NamedTuple):
    """Describes the *input* state of a step, everything at that one point.

    Attributes:
        item_losses: nats an item. loss: L_B(w), nats a unit.
        diverged: the loss or the gradient is not finite.
        statistics: numbers a chain, such as `distance_squared` = ‖w−w*‖².
    """

    item_losses: Float[Tensor, "chain sample"]
    loss: Float[Tensor, " chain"]
    diverged: Bool[Tensor, " chain"]
    statistics: dict[str, Float[Tensor, " chain"]]


class Sampler(NamedTuple):
    """An algorithm: `init(rng, position) -> State`, `step(rng, state, batch) -> (State, Info)`."""

    init: Callable[[Rng, Params], State]
    step: Callable[[Rng, State, Batch | None], tuple[State, Info]]


def add_noise(rng: Rng, weights: Tensor, scale: Tensor | float) -> None:
    """Adds `scale` times standard normal numbers in place, each chain's from its own generator."""
    noise = torch.empty_like(weights)
    for own, generator in zip(noise, rng, strict=True):
        own.normal_(generator=generator)
    if isinstance(scale, Tensor):
        weights.addcmul_(noise, scale)
    else:
        weights.add_(noise, alpha=scale)


def describe(target: LocalPosterior, position: Params, evaluation: Evaluation) -> Info:
    """Info of a state: with d = w − w* and g = ∇L_B(w), the inner products d·d, d·g and g·g of each chain."""
    first = next(iter(position.values()))
    sums = torch.zeros(3, len(first), dtype=torch.float64, device=first.device)
    for name, w in position.items():
        d = (w - target.task.center[name]).flatten(1)
        g = evaluation.gradient[name].flatten(1)
        sums[0] += torch.linalg.vecdot(d, d)
        sums[1] += torch.linalg.vecdot(d, g)
        sums[2] += torch.linalg.vecdot(g, g)
    statistics = {
        "distance_squared": sums[0],
        "displacement_gradient": sums[1],
        "gradient_squared": sums[2],
    }
    diverged = ~(torch.isfinite(evaluation.loss) & torch.isfinite(sums).all(0))
    return Info(evaluation.item_losses, evaluation.loss, diverged, statistics)
