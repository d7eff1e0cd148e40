"""Cross-moments of losses: covariance matrices as a fold over draws that never keeps the draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats.errors import InputError, message
from bitsandnats.observables.reducers import Reducer

BLOCKS = 4
"""Blocks of draws that are kept apart, at least where there are enough draws; twice as many at most."""

_BUFFER = 64  # draws that are added at once: one matrix product instead of one pass over the matrices a draw


@dataclass(frozen=True)
class Layout:
    """Which moments are kept.

    Attributes:
        slices: where the columns of each subset stand in the observable.
        pairs: (rows, columns): names of subsets whose covariance matrix is kept.
        weights: what each column contributes to n, by subset: a subset's loss is Σℓ/Σweight.
        block: draws of a block at first: moments of each block are kept apart, so that halves can be compared; as draws
            go on, neighbours are joined into blocks of twice the length.
        sketch: columns whose every value is kept, for the effective number of draws.
        traces: whether every value of every column is kept.
    """

    slices: Mapping[str, slice]
    pairs: tuple[tuple[str, str], ...]
    weights: Mapping[str, Tensor]
    block: int
    sketch: tuple[int, ...] = ()
    traces: bool = False


class Block(NamedTuple):
    """Moments of some consecutive draws of each chain, in float64, each about its own mean."""

    count: int
    mean: Float[Tensor, "chain column"]
    squares: Float[Tensor, "chain column"]
    losses: Float[Tensor, "chain subset column"]
    cross: tuple[Float[Tensor, "chain row other"], ...]


class State(NamedTuple):
    """Finished blocks, one that is not, and draws not yet added to it.

    Attributes:
        length: draws of a finished block.
        blocks: finished.
        open: of fewer draws.
        buffer: draws not yet added.
        kept: values that are kept as they are.
    """

    length: int
    blocks: tuple[Block, ...]
    open: Block | None
    buffer: list[Tensor]
    kept: list[Tensor]


def cross_moments(layout: Layout) -> Reducer:
    r"""Means, squares and cross-products of deviations: $\sum_t(a_t-\bar a)(b_t-\bar b)$ of each chain and block.

    Memory is rows × columns a pair, chain and block and a buffer of draws, whatever the number of draws. Parts merge
    in any grouping (Chan et al.) where they were cut at ends of blocks. Checked in
    `tests/invariance/test_cross_moments.py`.

    Args:
        layout: which moments.

    Raises:
        InputError: a block of less than one draw.
    """
    if layout.block < 1:
        raise InputError(message(expected="blocks of at least 1 draw", got=str(layout.block), do="draw longer"))

    def update(state: State, value: Tensor) -> State:
        value = value.detach().double().cpu()
        kept = state.kept
        if layout.traces:
            kept.append(value.float())
        elif layout.sketch:
            kept.append(value[:, list(layout.sketch)].float())
        state.buffer.append(value)
        seen = len(state.buffer) + (0 if state.open is None else state.open.count)
        if seen == state.length:
            done = state._replace(blocks=(*state.blocks, _flushed(layout, state)), open=None, buffer=[], kept=kept)
            return _joined(layout, done) if len(done.blocks) == 2 * BLOCKS else done
        if len(state.buffer) < _BUFFER:
            return state
        return state._replace(open=_flushed(layout, state), buffer=[])

    def merge(a: State, b: State) -> State:
        if not b.blocks and b.open is None and not b.buffer:
            return a
        while a.length != b.length:
            a, b = (_joined(layout, a), b) if a.length < b.length else (a, _joined(layout, b))
        if a.open is not None or a.buffer:
            raise _misplaced(a)
        both = State(a.length, (*a.blocks, *b.blocks), b.open, list(b.buffer), [*a.kept, *b.kept])
        while len(both.blocks) >= 2 * BLOCKS:
            both = _joined(layout, both)
        return both

    return Reducer(lambda: State(layout.block, (), None, [], []), update, merge, lambda state: _result(layout, state))


def block_of(layout: Layout, values: Float[Tensor, "chain draw column"]) -> Block:
    """Moments of some draws about their mean."""
    mean = values.mean(1)
    away = values - mean[:, None]
    losses = [away[:, :, cut] @ layout.weights[name] for name, cut in layout.slices.items()]
    cross = tuple(
        away[:, :, layout.slices[rows]].transpose(1, 2) @ away[:, :, layout.slices[columns]]
        for rows, columns in layout.pairs
    )
    subset = torch.stack(losses, 1)  # chain, subset, draw
    return Block(values.shape[1], mean, away.square().sum(1), subset @ away, cross)


def merge_blocks(layout: Layout, a: Block, b: Block) -> Block:
    """The moments of both together, about their common mean."""
    count = a.count + b.count
    share = a.count * b.count / count
    delta = b.mean - a.mean
    losses = torch.stack([delta[:, cut] @ layout.weights[name] for name, cut in layout.slices.items()], 1)
    cross = tuple(
        x + y + share * delta[:, layout.slices[r], None] * delta[:, None, layout.slices[c]]
        for x, y, (r, c) in zip(a.cross, b.cross, layout.pairs, strict=True)
    )
    return Block(
        count,
        a.mean + delta * (b.count / count),
        a.squares + b.squares + share * delta.square(),
        a.losses + b.losses + share * losses[:, :, None] * delta[:, None],
        cross,
    )


def _joined(layout: Layout, state: State) -> State:
    """Neighbouring blocks as one; what is left over is open again."""
    pairs = [merge_blocks(layout, a, b) for a, b in zip(state.blocks[::2], state.blocks[1::2], strict=False)]
    left = state.blocks[len(pairs) * 2 :]
    if not left:
        return state._replace(length=2 * state.length, blocks=tuple(pairs))
    rest = state if state.open is not None or state.buffer else None
    opened = left[0] if rest is None else merge_blocks(layout, left[0], _flushed(layout, rest))
    return state._replace(length=2 * state.length, blocks=tuple(pairs), open=opened, buffer=[])


def _misplaced(state: State) -> InputError:
    count = len(state.buffer) + (0 if state.open is None else state.open.count)
    return InputError(
        message(
            expected=f"parts of a multiple of {state.length} draws",
            got=f"one with {count} more",
            do="cut the run at ends of blocks",
        )
    )


def _flushed(layout: Layout, state: State) -> Block:
    if not state.buffer:
        assert state.open is not None
        return state.open
    own = block_of(layout, torch.stack(state.buffer, 1))
    return own if state.open is None else merge_blocks(layout, state.open, own)


def _result(layout: Layout, state: State) -> dict[str, Tensor]:
    blocks = [*state.blocks]
    if state.open is not None or state.buffer:
        blocks.append(_flushed(layout, state))
    if not blocks:
        return {}
    chains = len(blocks[0].mean)
    found = {
        "count": torch.tensor([[float(b.count) for b in blocks]] * chains, dtype=torch.float64),
        "mean": torch.stack([b.mean for b in blocks], 1),
        "squares": torch.stack([b.squares for b in blocks], 1),
        "losses": torch.stack([b.losses for b in blocks], 1),
    }
    for place in range(len(layout.pairs)):
        found[f"cross{place}"] = torch.stack([b.cross[place] for b in blocks], 1)
    if state.kept:
        found["traces" if layout.traces else "sketch"] = torch.stack(state.kept, 1)
    return found


def layout_of(
    slices: Mapping[str, slice],
    weights: Mapping[str, Tensor],
    pairs: Sequence[tuple[str, str]],
    *,
    block: int,
    sketch: Sequence[int] = (),
    traces: bool = False,
) -> Layout:
    """A layout with each subset's weights turned into the shares by which its loss is a sum of columns.

    Args:
        slices: columns of each subset.
        weights: what each column contributes to n, by subset.
        pairs: matrices that are kept.
        block: draws of a block.
        sketch: columns whose every value is kept.
        traces: keep every value of all of them.

    Raises:
        InputError: a pair names a subset that is not followed.
    """
    for name in {name for pair in pairs for name in pair} - set(slices):
        raise InputError(message(expected=f"subsets among {', '.join(slices)}", got=repr(name), do="name one of them"))
    shares = {
        name: torch.full((cut.stop - cut.start,), 1 / float(weights[name].sum()), dtype=torch.float64)
        for name, cut in slices.items()
    }
    return Layout(dict(slices), tuple(pairs), shares, block, tuple(sketch), traces)
