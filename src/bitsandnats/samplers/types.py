"""The sampler's interface: State, Info, the two functions, and what their step loops share."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitsandnats._types import Batch, Params
from bitsandnats.target import Evaluation, LocalPosterior

Rng = list[torch.Generator]
"""One generator a chain of the group."""

_BLOCK = 1 << 16  # weights updated at once: all that a step does to them happens while they are in the cache


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
        item_losses: nats an item.
        loss: L_B(w), nats a unit.
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


class Piece(NamedTuple):
    """A block of one leaf, all chains.

    Attributes:
        weights: a view of the position: writing to it moves the chains.
        displacement: w − w*, the step's own to overwrite.
        gradient: ∇L_B(w).
        memory: a view of the sampler's memory, where it has one.
    """

    weights: Float[Tensor, "chain block"]
    displacement: Float[Tensor, "chain block"]
    gradient: Float[Tensor, "chain block"]
    memory: Float[Tensor, "chain block"] | None


class Walk(NamedTuple):
    """One pass over all weights, block by block, that sums up the state's statistics on the way."""

    target: LocalPosterior
    evaluation: Evaluation
    sums: list[Tensor]

    def pieces(self, state: State) -> Iterator[Piece]:
        """Every block of every leaf; d·d, d·g, g·g and d·∇L(w*) of each are taken before it is handed out."""
        for name, leaf in state.position.items():
            weights, center = leaf.flatten(1), self.target.task.center[name].flatten()
            gradient = self.evaluation.gradient[name].flatten(1)
            memory = state.memory[name].flatten(1) if name in state.memory else None
            slope = None if self.target.slope is None else self.target.slope[name].flatten()
            width = max(_BLOCK // len(weights), 1)
            for start in range(0, weights.shape[1], width):
                cut = slice(start, start + width)
                w, g = weights[:, cut], gradient[:, cut]
                d = w - center[cut]
                self._add(d, g, None if slope is None else slope[cut])
                yield Piece(w, d, g, None if memory is None else memory[:, cut])

    def info(self) -> Info:
        """Info of the state that was walked over."""
        loss = self.evaluation.loss
        sums = torch.stack(self.sums).sum(0, dtype=torch.float64)
        names = ("distance_squared", "displacement_gradient", "gradient_squared", "displacement_slope")
        diverged = ~(torch.isfinite(loss) & torch.isfinite(sums).all(0))
        return Info(self.evaluation.item_losses, loss, diverged, dict(zip(names, sums, strict=False)))

    def _add(self, d: Tensor, g: Tensor, slope: Tensor | None) -> None:
        pairs = [(d, d), (d, g), (g, g)] + ([] if slope is None else [(d, slope.expand_as(d))])
        if len(d) == 1:  # one long row: a BLAS dot makes no temporary; many short ones: one call for all
            self.sums.append(torch.stack([torch.dot(left[0], right[0]) for left, right in pairs]).unsqueeze(1))
        else:
            self.sums.append(torch.stack([torch.linalg.vecdot(left, right) for left, right in pairs]))


def noise_like(rng: Rng, weights: Tensor) -> Tensor:
    """Standard normal numbers, each chain's from its own generator."""
    noise = torch.empty_like(weights, memory_format=torch.contiguous_format)
    for own, generator in zip(noise, rng, strict=True):
        own.normal_(generator=generator)
    return noise
