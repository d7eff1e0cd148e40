"""Components: named parts of a network, from a layer down to one attention head, as slices of its parameters."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import torch

from bitsandnats.errors import InputError, message
from bitsandnats.structure.types import Head, Matrix, Slice, Structure

Shapes = Mapping[str, torch.Size]
"""Shape of each parameter by name."""

_LAYER = re.compile(r"layer\.(\d+)(?:\.(attention|mlp|head\.(\d+)))?")
_ATTENTION = ("query", "key", "value", "query_key_value", "attention_output")


def select(structure: Structure | None, shapes: Shapes, component: str) -> list[Slice]:
    """The slices of parameters that a component is made of, in the order of the parameters.

    Args:
        structure: of the network; None where only patterns can be meant.
        shapes: of the parameters that may be selected.
        component: `layer.3`, `layer.3.attention`, `layer.3.mlp`, `layer.3.head.5`, `embed`, `unembed`, or a pattern
            over names of parameters (`*.bias`); several joined by `+`. Heads that share keys and values select the
            same ones.

    Raises:
        InputError: nothing is selected, or the architecture lacks such a part; near or possible names are given.

    Checked by `tests/structure/test_components.py` against ablating the part's output.
    """
    chosen: list[Slice] = []
    for name in component.split("+"):
        chosen += _one(structure, shapes, name.strip())
    return _merged(shapes, chosen)


def names(structure: Structure | None, shapes: Shapes) -> list[str]:
    """Every component that has a name, from the whole layers down to the heads."""
    if structure is None:
        return []
    found = []
    for layer in structure.layers:
        found.append(f"layer.{layer.index}")
        own = [m for m in structure.matrices if m.layer == layer.index]
        found += [f"layer.{layer.index}.attention"] if any(m.role in _ATTENTION for m in own) else []
        found += [f"layer.{layer.index}.mlp"] if any(m.role == "mlp" for m in own) else []
        found += [f"layer.{layer.index}.head.{h.index}" for h in structure.heads if h.layer == layer.index]
    found += ["embed"] if structure.embeddings else []
    found += ["unembed"] if _unembeddings(structure) else []
    return [name for name in found if _slices(structure, shapes, name)]


def _one(structure: Structure | None, shapes: Shapes, name: str) -> list[Slice]:
    found = [] if structure is None else _slices(structure, shapes, name)
    found = found or [_whole(shapes, p) for p in shapes if fnmatch.fnmatchcase(p, name)]
    if not found:
        possible = names(structure, shapes)
        near = get_close_matches(name, [*possible, *shapes], n=3) or [*possible[:3], *list(shapes)[:2]]
        raise InputError(
            message(
                expected="a component of this model, or a pattern over its parameters",
                got=repr(name),
                do=f"choose one such as {', '.join(near)}",
            )
        )
    return found


def _slices(structure: Structure, shapes: Shapes, name: str) -> list[Slice]:
    if name == "embed":
        return [_whole(shapes, m.name) for m in structure.embeddings if m.name in shapes]
    if name == "unembed":
        return [_whole(shapes, m.name) for m in _unembeddings(structure) if m.name in shapes]
    match = _LAYER.fullmatch(name)
    if match is None:
        return []
    layer, part, head = int(match[1]), match[2], match[3]
    own = [p for index in structure.layers if index.index == layer for p in index.parameters if p in shapes]
    if part is None:
        return [_whole(shapes, p) for p in own]
    if head is not None:
        heads = [h for h in structure.heads if (h.layer, h.index) == (layer, int(head))]
        return [s for h in heads for s in _of_head(structure, shapes, h)]
    wanted = _ATTENTION if part == "attention" else ("mlp",)
    maps = [m for m in structure.matrices if m.layer == layer and m.role in wanted]
    return [_whole(shapes, p) for p in own if any(p in (m.name, _bias(m)) for m in maps)]


def _of_head(structure: Structure, shapes: Shapes, head: Head) -> list[Slice]:
    """A head's rows of queries, keys and values with their biases, and what the map behind attention makes of it."""
    found = [head.output]
    for part in (head.query, head.key, head.value):
        found.append(part)
        bias = _bias(next(m for m in structure.matrices if m.name == part.name))
        found.append(Slice(bias, 0, part.start, part.stop))
    return [s for s in found if s.name in shapes]


def _unembeddings(structure: Structure) -> list[Matrix]:
    """The output matrix; where it is tied, the embedding that it is."""
    own = [m for m in structure.matrices if m.role == "unembedding"]
    return own or [m for m in structure.embeddings if m.aliases]


def _bias(matrix: Matrix) -> str:
    return f"{matrix.name.removesuffix('weight')}bias"


def _whole(shapes: Shapes, name: str) -> Slice:
    return Slice(name, 0, 0, shapes[name][0] if len(shapes[name]) else 1)


def _merged(shapes: Shapes, chosen: Sequence[Slice]) -> list[Slice]:
    """Each coordinate once: slices of a parameter along one axis joined; all of it where they run along both."""
    merged = []
    for name in shapes:
        own = [s for s in chosen if s.name == name]
        if len({s.axis for s in own}) > 1:
            whole = _whole(shapes, name)
            merged += [whole] if whole in own else _refused(name)
            continue
        ends: list[Slice] = []
        for part in sorted(own, key=lambda s: s.start):
            if ends and part.start <= ends[-1].stop:
                ends[-1] = Slice(name, part.axis, ends[-1].start, max(ends[-1].stop, part.stop))
            else:
                ends.append(part)
        merged += ends
    return merged


def _refused(name: str) -> list[Slice]:
    raise InputError(
        message(
            expected="components that cut a parameter along one axis",
            got=f"rows and columns of {name} at once",
            do="select the whole layer, or measure the parts one by one",
        )
    )


def count(shapes: Shapes, selected: Sequence[Slice]) -> int:
    """Number of coordinates in a selection."""
    return sum(_numel(shapes[s.name]) // max(_width(shapes[s.name], s.axis), 1) * (s.stop - s.start) for s in selected)


def _numel(shape: torch.Size) -> int:
    return int(torch.Size(shape).numel())


def _width(shape: torch.Size, axis: int) -> int:
    return shape[axis] if len(shape) else 1
