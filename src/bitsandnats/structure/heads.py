"""Attention heads, found by what attention does to its first token: it attends to itself alone, and gives its value."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bitsandnats.structure.dataflow import Call, Dataflow
from bitsandnats.structure.parts import is_transposed
from bitsandnats.structure.types import Head, Layer, Slice


class Attention(NamedTuple):
    """The linear maps of one layer's attention, by submodule; the same one three times where they are fused."""

    query: str
    key: str
    value: str
    output: str


class _Place(NamedTuple):
    """A head's first output in each of the three maps."""

    query: int
    key: int
    value: int


Layout = Callable[[int], _Place]


def find_heads(
    flow: Dataflow, layers: Sequence[Layer], heads: int, maps: dict[str, nn.Module]
) -> tuple[list[Head], list[Attention]]:
    """The heads of every layer in which they can be told apart, and the maps that they are part of.

    Queries, keys and values are what the input of the output map is made from. At the first token a causal head
    gives its value unchanged, so random values show which outputs of which map are the values of which head,
    whether the three are apart, fused in blocks or fused head by head, and how keys and values are shared.

    Args:
        flow: the calls of one pass.
        layers: of the model, each with at most one attention.
        heads: query heads a layer.
        maps: the linear maps by submodule.

    Checked by `tests/structure/test_heads.py` against ablating each head's output.
    """
    found, attentions = [], []
    for layer in layers:
        for call in flow.calls:
            if call.kind != "linear" or not call.name.startswith(f"{layer.name}.") or call.input.shape[-1] % heads:
                continue
            match = _match(call, _producers(flow.calls, call), heads)
            if match is not None:
                attention, layout = match
                found += _heads(layer.index, attention, layout, heads, call.input.shape[-1] // heads, maps)
                attentions.append(attention)
                break
    return found, attentions


def _producers(calls: Sequence[Call], call: Call) -> list[Call]:
    """The linear maps whose outputs the call's input was made from, in order, also through a norm of one of them."""
    found = set()
    for index in call.sources:
        source = calls[index]
        if source.kind == "norm" and len(source.sources) == 1:
            found |= source.sources
        else:
            found.add(index)
    producers = [calls[index] for index in sorted(found)]
    return producers if all(p.kind == "linear" for p in producers) else []


def _match(call: Call, producers: Sequence[Call], heads: int) -> tuple[Attention, Layout] | None:
    """The maps and the layout under which the first token's values are what the output map was given."""
    size = call.input.shape[-1] // heads
    given = call.input.flatten(0, -2)[0].view(heads, size)
    for value, layout, query, key in _hypotheses(producers, heads, size):
        first = value.output.detach().flatten(0, -2)[0]
        starts = torch.tensor([layout(head).value for head in range(heads)])
        if torch.allclose(given, first[(starts[:, None] + torch.arange(size)).to(first.device)], rtol=1e-4, atol=1e-5):
            return Attention(query.name, key.name, value.name, call.name), layout
    return None


def _hypotheses(producers: Sequence[Call], heads: int, size: int) -> Iterable[tuple[Call, Layout, Call, Call]]:
    """Every reading of one or three maps as queries, keys and values: (value, layout, query, key)."""
    widths = [_width(p.output) for p in producers]
    if len(producers) == 1:
        groups, rest = divmod(widths[0] - heads * size, 2 * size)
        if rest == 0 and groups > 0 and heads % groups == 0:
            for layout in (_blocks(heads, groups, size), _head_by_head(heads, groups, size)):
                yield producers[0], layout, producers[0], producers[0]
    elif len(producers) == 3:
        for value in producers:
            query, key = (p for p in producers if p is not value)
            if _width(query.output) < _width(key.output):
                query, key = key, query  # there are never fewer queries than keys; of as many, queries come first
            groups, rest = divmod(_width(value.output), size)
            fits = _width(query.output) == heads * size and _width(key.output) == _width(value.output)
            if fits and rest == 0 and heads % groups == 0:
                yield value, _apart(heads, groups, size), query, key


def _apart(heads: int, groups: int, size: int) -> Layout:
    """Three maps, heads one after the other."""
    share = heads // groups
    return lambda head: _Place(head * size, head // share * size, head // share * size)


def _blocks(heads: int, groups: int, size: int) -> Layout:
    """One map: all queries, all keys, all values."""
    share = heads // groups
    return lambda head: _Place(head * size, (heads + head // share) * size, (heads + groups + head // share) * size)


def _head_by_head(heads: int, groups: int, size: int) -> Layout:
    """One map: for each group its queries, its key, its value."""
    share = heads // groups

    def layout(head: int) -> _Place:
        first = head // share * (share + 2) * size
        return _Place(first + head % share * size, first + share * size, first + (share + 1) * size)

    return layout


def _heads(
    layer: int, attention: Attention, layout: Layout, heads: int, size: int, maps: dict[str, nn.Module]
) -> list[Head]:
    def part(name: str, side: int, start: int) -> Slice:
        """Coordinates of a map's outputs (side 0) or inputs (side 1), in its weight as it is stored."""
        return Slice(f"{name}.weight", 1 - side if is_transposed(maps[name]) else side, start, start + size)

    return [
        Head(
            layer=layer,
            index=head,
            query=part(attention.query, 0, layout(head).query),
            key=part(attention.key, 0, layout(head).key),
            value=part(attention.value, 0, layout(head).value),
            output=part(attention.output, 1, head * size),
        )
        for head in range(heads)
    ]


def _width(output: Tensor) -> int:
    return int(output.shape[-1])
