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


class Scratch(NamedTuple):
    """Two buffers as large as the largest leaf, allocated once: large temporaries cost more than the arithmetic.

    Attributes:
        first: for displacements. second: for noise.
    """

    first: Tensor
    second: Tensor

    def like(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Both buffers in the shape of a leaf; what they hold is left over from the last use."""
        return self.first[: weights.numel()].view(weights.shape), self.second[: weights.numel()].view(weights.shape)


class State(NamedTuple):
    """What the next step needs. A step consumes it: its tensors may be rewritten.

    Attributes:
        position: weights, leading chain axis.
        memory: the sampler's own tensors of the same shapes (empty for SGLD).
        step: steps done.
        scratch: buffers to reuse; no part of the state proper.
    """

    position: Params
    memory: Params
    step: int
    scratch: Scratch


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


def scratch(position: Params) -> Scratch:
    """Buffers for the leaves of `position`."""
    largest = max(position.values(), key=Tensor.numel)
    return Scratch(largest.new_empty(largest.numel()), largest.new_empty(largest.numel()))


def fill_noise(rng: Rng, buffer: Tensor) -> Tensor:
    """Standard normal numbers in `buffer`, each chain's from its own generator."""
    for own, generator in zip(buffer, rng, strict=True):
        own.normal_(generator=generator)
    return buffer


class Statistics(NamedTuple):
    """Inner products of a state, summed leaf by leaf: d·d, d·g, g·g and d·g* of each chain.

    d = w − w*, g = ∇L_B(w), and g* = ∇L(w*) where the target knows it.
    """

    target: LocalPosterior
    sums: Float[Tensor, "four chain"]

    def add(self, name: str, displacement: Tensor, gradient: Tensor) -> None:
        """Adds one leaf's part."""
        d, g = displacement.flatten(1), gradient.flatten(1)
        pairs = [(d, d), (d, g), (g, g)]
        if self.target.slope is not None:
            pairs.append((d, self.target.slope[name].flatten().expand_as(d)))
        for row, (left, right) in enumerate(pairs):
            # one long row: a BLAS dot makes no temporary; many short ones: one call for all
            self.sums[row] += torch.dot(left[0], right[0]) if len(d) == 1 else torch.linalg.vecdot(left, right)

    def info(self, evaluation: Evaluation) -> Info:
        """Info of the state that all leaves belong to."""
        names = ("distance_squared", "displacement_gradient", "gradient_squared", "displacement_slope")
        known = names if self.target.slope is not None else names[:3]
        diverged = ~(torch.isfinite(evaluation.loss) & torch.isfinite(self.sums).all(0))
        return Info(evaluation.item_losses, evaluation.loss, diverged, dict(zip(known, self.sums, strict=False)))


def statistics(target: LocalPosterior, position: Params) -> Statistics:
    """Sums at zero, for the chains of `position`."""
    first = next(iter(position.values()))
    return Statistics(target, torch.zeros(4, len(first), dtype=torch.float64, device=first.device))
