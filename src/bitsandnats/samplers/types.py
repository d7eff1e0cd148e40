"""The sampler's interface: State, Info, the two functions, and what their step loops share."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitsandnats import _rng, _tree
from bitsandnats._rng import Rng as Rng
from bitsandnats._types import Batch, Params
from bitsandnats.target import Evaluation, LocalPosterior

_BLOCK = {"cpu": 1 << 18}  # weights of a chain in large leaves that are updated at once, so that they stay in the cache
_BLOCK_ELSEWHERE = 1 << 23  # a kernel's launch costs as much as a million numbers
_FLAT = {"cpu": 1 << 20}  # coordinates of all chains up to which leaves are packed: small nets pay by the call
_FLAT_ELSEWHERE = 1 << 25


class Flat(NamedTuple):
    """All leaves of a small model side by side.

    Attributes:
        position: the leaves of the state's position are views of it.
        memory: likewise, where the sampler has a memory.
        center: w*.
        work: rows w − w*, ∇L_B(w), ∇L(w*) and noise of each chain, allocated once.
    """

    position: Float[Tensor, "chain parameter"]
    memory: Float[Tensor, "chain parameter"] | None
    center: Float[Tensor, " parameter"]
    work: Float[Tensor, "chain four parameter"]


class State(NamedTuple):
    """What the next step needs. A step consumes it: its tensors may be rewritten.

    Attributes:
        position: weights, leading chain axis.
        memory: the sampler's own tensors of the same shapes (empty for SGLD).
        step: steps done.
        flat: the same weights side by side, for small models.
    """

    position: Params
    memory: Params
    step: int
    flat: Flat | None


def start(target: LocalPosterior, position: Params, memory: Params) -> State:
    """The state at step 0; small models are packed into one tensor whose views are the leaves.

    Args:
        target: the local posterior.
        position: weights, leading chain axis.
        memory: the sampler's own tensors of the same shapes, or an empty dict.
    """
    first = next(iter(position.values()))
    total = sum(w.numel() for w in position.values())
    if total > _FLAT.get(first.device.type, _FLAT_ELSEWHERE) or any(w.dtype != first.dtype for w in position.values()):
        return State(position, memory, 0, None)
    packed = _pack(position)
    packed_memory = _pack(memory) if memory else None
    work = packed.new_zeros(len(packed), 4, packed.shape[1])
    if target.slope is not None:
        work[:, 2] = torch.cat([_tree.fetched(target.slope[name], packed.device).flatten() for name in position])
    center = torch.cat([_tree.fetched(target.task.center[name], packed.device).flatten() for name in position])
    views = _views(packed, position)
    return State(
        views,
        {} if packed_memory is None else _views(packed_memory, position),
        0,
        Flat(packed, packed_memory, center, work),
    )


def _pack(leaves: Params) -> Tensor:
    return torch.cat([w.flatten(1) for w in leaves.values()], dim=1)


def _views(packed: Tensor, like: Params) -> Params:
    parts = packed.split([w[0].numel() for w in like.values()], dim=1)
    return {name: part.view(w.shape) for part, (name, w) in zip(parts, like.items(), strict=True)}


class Info(NamedTuple):
    """Describes the *input* state of a step, everything at that one point.

    Attributes:
        item_losses: nats an item.
        loss: L_B(w), nats a unit.
        diverged: the loss or, as far as statistics tell, the weights or the gradient are not finite.
        statistics: numbers a chain, such as `distance_squared` = ‖w−w*‖²; the sampler's own alone where the target's
            `statistics` say `none`.
    """

    item_losses: Float[Tensor, "chain sample"]
    loss: Float[Tensor, " chain"]
    diverged: Bool[Tensor, " chain"]
    statistics: dict[str, Float[Tensor, " chain"]]


class Sampler(NamedTuple):
    """An algorithm: `init(rng, position) -> state`, `step(rng, state, batch) -> (state, Info)`.

    A state is the algorithm's own, `State` or a tuple that holds more; all else knows of its `position` only.
    """

    init: Callable[[Rng, Params], Any]
    step: Callable[[Rng, Any, Batch | None], tuple[Any, Info]]


class Piece(NamedTuple):
    """A block of one leaf, all chains.

    Attributes:
        weights: a view of the position: writing to it moves the chains.
        displacement: w − w*, the step's own to overwrite.
        gradient: ∇L_B(w).
        memory: a view of the sampler's memory, where it has one.
        buffer: for noise, the step's own to overwrite.
    """

    weights: Float[Tensor, "chain block"]
    displacement: Float[Tensor, "chain block"]
    gradient: Float[Tensor, "chain block"]
    memory: Float[Tensor, "chain block"] | None
    buffer: Float[Tensor, "chain block"]


class Block(NamedTuple):
    """A block of weights, all chains, for an update that needs no w − w* of its own.

    Attributes:
        weights: a view of the position: writing to it moves the chains.
        center: w*.
        leaves: the same weights in the gradient's parts, views too.
        gradients: ∇L_B(w) in parts, of the leaves' shapes.
    """

    weights: Float[Tensor, "chain block"]
    center: Float[Tensor, " block"]
    leaves: list[Tensor]
    gradients: list[Tensor]


class Walk(NamedTuple):
    """One pass over all weights, block by block, that sums up the state's statistics on the way, if they are kept.

    `pieces` and `blocks` are two ways to walk; a step takes one of them, once.
    """

    target: LocalPosterior
    evaluation: Evaluation
    sums: list[Tensor]

    def pieces(self, state: State) -> Iterator[Piece]:
        """Every block of weights; d·d, d·g, g·g and d·∇L(w*) of each are taken before it is handed out."""
        if state.flat is not None:
            flat = state.flat
            torch.sub(flat.position, flat.center, out=flat.work[:, 0])
            self._gather(flat, state.position)
            self._add_all(flat)
            yield Piece(flat.position, flat.work[:, 0], flat.work[:, 1], flat.memory, flat.work[:, 3])
            return
        for name, cut in self._cuts(state.position):
            w, g = state.position[name].flatten(1)[:, cut], self.evaluation.gradient[name].flatten(1)[:, cut]
            d = w - self._center(name, cut, w.device)
            memory = state.memory[name].flatten(1)[:, cut] if name in state.memory else None
            self._add(name, cut, d, g)
            yield Piece(w, d, g, memory, torch.empty_like(w))

    def blocks(self, state: State) -> Iterator[Block]:
        """As `pieces`, for samplers without memory: no w − w* is made, and no gradient packed, but for statistics."""
        kept = self.target.statistics == "step"
        gradient = self.evaluation.gradient
        if state.flat is not None:
            flat = state.flat
            leaves, parts = list(state.position.values()), [gradient[name] for name in state.position]
            if kept:
                torch.sub(flat.position, flat.center, out=flat.work[:, 0])
                self._gather(flat, state.position)
                self._add_all(flat)
                leaves, parts = [flat.position], [flat.work[:, 1]]
            yield Block(flat.position, flat.center, leaves, parts)
            return
        for name, cut in self._cuts(state.position):
            w, g = state.position[name].flatten(1)[:, cut], gradient[name].flatten(1)[:, cut]
            center = self._center(name, cut, w.device)
            if kept:
                self._add(name, cut, w - center, g)
            yield Block(w, center, [w], [g])

    def groups(self, state: State) -> Iterator[list[Block]]:
        """The same blocks, several at a time where a kernel's launch costs more than what it does to a small leaf."""
        group: list[Block] = []
        size = 0
        for block in self.blocks(state):
            group.append(block)
            size += block.weights[0].numel()
            if block.weights.device.type in _BLOCK or size >= _BLOCK_ELSEWHERE:
                yield group
                group, size = [], 0
        if group:
            yield group

    def info(self) -> Info:
        """Info of the state that was walked over; without statistics, a broken gradient shows in the next step."""
        loss = self.evaluation.loss
        if not self.sums:
            return Info(self.evaluation.item_losses, loss, (loss - loss).ne(0), {})  # isfinite, in two kernels
        sums = torch.stack(self.sums).sum(0, dtype=torch.float64)
        names = ("distance_squared", "displacement_gradient", "gradient_squared", "displacement_slope")
        diverged = ~(torch.isfinite(loss) & torch.isfinite(sums).all(0))
        return Info(self.evaluation.item_losses, loss, diverged, dict(zip(names, sums, strict=False)))

    def _cuts(self, position: Params) -> Iterator[tuple[str, slice]]:
        for name, leaf in position.items():
            size = _BLOCK.get(leaf.device.type, _BLOCK_ELSEWHERE)
            for first in range(0, leaf[0].numel(), size):  # alike in groups of any size: noise is made block by block
                yield name, slice(first, first + size)

    def _center(self, name: str, cut: slice, device: torch.device) -> Tensor:
        """A block of w*: never more of it on the device than that."""
        return _tree.fetched(self.target.task.center[name].flatten()[cut], device)

    def _gather(self, flat: Flat, leaves: Params) -> None:
        torch.cat([self.evaluation.gradient[name].flatten(1) for name in leaves], dim=1, out=flat.work[:, 1])

    def _add_all(self, flat: Flat) -> None:
        """One batched product gives all four sums of a packed model."""
        if self.target.statistics == "none":
            return
        gram = torch.bmm(flat.work[:, :2], flat.work[:, :3].transpose(1, 2))
        self.sums.append(torch.stack([gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1], gram[:, 0, 2]]))

    def _add(self, name: str, cut: slice, d: Tensor, g: Tensor) -> None:
        if self.target.statistics == "none":
            return
        pairs = [(d, d), (d, g), (g, g)]
        if self.target.slope is not None:
            slope = _tree.fetched(self.target.slope[name].flatten()[cut], d.device).to(d.dtype)
            pairs.append((d, slope.mul(self.target.slope_scale).expand_as(d)))
        if len(d) == 1:  # one long row: a BLAS dot makes no temporary; many short ones: one call for all
            self.sums.append(torch.stack([torch.dot(left[0], right[0]) for left, right in pairs]).unsqueeze(1))
        else:
            self.sums.append(torch.stack([torch.linalg.vecdot(left, right) for left, right in pairs]))


def fill_noise(rng: Rng, buffer: Tensor) -> Tensor:
    """Standard normal numbers written to `buffer`, a leading chain axis, each chain's from its own stream."""
    return _rng.fill(rng, buffer)


def langevin(rng: Rng, group: list[Block], *, pull: float, push: float, scale: float) -> None:
    r"""Moves blocks of weights: $w\leftarrow w+a(w^*-w)-b\,\nabla L_B(w)+s\,\eta$.

    Args:
        rng: the chains' streams.
        group: the weights, w* and the gradient.
        pull: a.
        push: b.
        scale: s.
    """
    weights = [block.weights for block in group]
    if _rng.compiled(weights[0]):  # in one pass, leaf by leaf
        for block in group:
            centers = block.center.split([leaf[0].numel() for leaf in block.leaves])
            for leaf, g, own in zip(block.leaves, block.gradients, centers, strict=True):
                _rng.langevin(rng, leaf, own, g, pull, push, scale)
        return
    leaves = [leaf for block in group for leaf in block.leaves]
    gradients = [g for block in group for g in block.gradients]
    noise = fill_noise(rng, weights[0].new_empty(len(weights[0]), sum(w.shape[1] for w in weights)))
    # while w is still the step's input
    torch._foreach_lerp_(weights, [block.center.expand_as(block.weights) for block in group], pull)
    torch._foreach_add_(leaves, gradients, alpha=-push)
    torch._foreach_add_(weights, list(noise.split([w.shape[1] for w in weights], dim=1)), alpha=scale)
