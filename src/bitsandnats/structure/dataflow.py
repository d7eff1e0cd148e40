"""Who reads whose output: one pass over two tokens in which linear maps and norms give random numbers instead.

Every stand-in's output is a new leaf of the autograd graph, so the graph says exactly which outputs a tensor was made
from, and equal random numbers say that it *is* one of them. No weight is used: it costs next to nothing, and a network
with zero, damaged or untrained weights reads the same.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bitsandnats._functional import private_copy
from bitsandnats.structure.parts import is_linear, is_norm, outputs

_TOKENS = 2  # what a module does to single tokens, and what it does across them, are told apart by two


class Call(NamedTuple):
    """One call of a linear map or norm.

    Attributes:
        name: of the submodule.
        kind: which of the two.
        input: what it was given, last axis the coordinate.
        output: the random numbers that it gave.
        sources: indices of the calls whose outputs the input was made from.
        verbatim: index of the call whose output the input is, unchanged; None where it is none's.
    """

    name: str
    kind: Literal["linear", "norm"]
    input: Tensor
    output: Tensor
    sources: frozenset[int]
    verbatim: int | None


class Dataflow(NamedTuple):
    """The calls of one pass, in order, and those whose outputs the module's own output was made from."""

    calls: tuple[Call, ...]
    result: frozenset[int]


def trace(module: nn.Module) -> Dataflow | None:
    """The data flow of a model of tokens, `module(input_ids=…)`; None where it is none.

    The module is not changed. Checked by `tests/structure/test_dataflow.py`.
    """
    if not isinstance(getattr(getattr(module, "config", None), "vocab_size", None), int):
        return None
    calls: list[Call] = []
    generator = torch.Generator().manual_seed(0)
    private = private_copy(module).eval()
    for name, part in private.named_modules():
        part._buffers.update({key: b.clone() for key, b in part._buffers.items() if b is not None})  # it may write them
        if is_linear(part):
            part.forward = _stand_in(calls, name, "linear", outputs(part), generator)
        elif is_norm(part):
            part.forward = _stand_in(calls, name, "norm", None, generator)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    tokens = torch.zeros(1, _TOKENS, dtype=torch.long, device=device)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            result = private(input_ids=tokens, use_cache=False)
            return Dataflow(tuple(calls), frozenset().union(*(_sources(t, calls) for t in _tensors(result))))
    except Exception:  # any module may have a vocabulary and yet want other inputs, or refuse stand-ins
        return None


def _stand_in(
    calls: list[Call], name: str, kind: Literal["linear", "norm"], width: int | None, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """A forward that notes the call and gives random numbers in the shape of the true output."""

    def forward(x: Tensor) -> Tensor:
        shape = x.shape if width is None else (*x.shape[:-1], width)
        leaf = torch.randn(shape, generator=generator).to(x.device, x.dtype).requires_grad_()
        sources = _sources(x, calls)
        only = next(iter(sources)) if len(sources) == 1 else None
        same = only is not None and torch.equal(x.reshape(-1), calls[only].output.reshape(-1))
        calls.append(Call(name, kind, x.detach().clone(), leaf, sources, only if same else None))
        return leaf.clone()  # no leaf itself: what follows may work in place

    return forward


def _sources(tensor: Tensor, calls: list[Call]) -> frozenset[int]:
    """Which calls' outputs a tensor was made from, by walking the autograd graph back to its leaves."""
    leaves = {id(call.output): index for index, call in enumerate(calls)}
    found, seen, stack = set(), set(), [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = leaves.get(id(getattr(node, "variable", None)))
        if leaf is not None:
            found.add(leaf)
        stack += [follower for follower, _ in node.next_functions]
    return frozenset(found)


def _tensors(result: Any) -> Iterable[Tensor]:
    """The tensors in a module's output."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping | tuple | list):
        for value in result.values() if isinstance(result, Mapping) else result:
            yield from _tensors(value)
