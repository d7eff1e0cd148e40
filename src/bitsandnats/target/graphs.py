"""Evaluations that are asked for thousands of times, as plain sequences of tensor operations."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitsandnats._tree import tensors
from bitsandnats._types import Batch

_OFTEN = 300  # evaluations of one shape after which a trace pays: it takes some 0.1 s, in a fresh process 1.5 s

Evaluate = Callable[[list[Tensor], Batch], tuple[Tensor, ...]]


class Graphs:
    """What runs a function of tensors: by itself at first, then from its trace, by the shapes of the arguments.

    On small networks most of an evaluation is the work of `vmap`, of modules and of autograd in Python. The trace has
    none of it and calls the same kernels in the same order, so that the numbers are the same, bit for bit
    (`tests/test_graphs.py`); it is compared with the function itself before it is used. Functions that cannot be
    traced, since they branch on the values of tensors, are run by themselves for ever.
    """

    def __init__(self) -> None:
        self._calls: dict[Any, int] = {}
        self._traced: dict[Any, Evaluate | None] = {}

    def run(self, function: Evaluate, leaves: list[Tensor], batch: Batch) -> tuple[Tensor, ...]:
        """`function(leaves, batch)`.

        Args:
            function: the same at every call; its values depend on its arguments alone.
            leaves: weights.
            batch: items.
        """
        key = tuple((tuple(t.shape), t.dtype, t.device) for t in (*leaves, *tensors(batch)))
        traced = self._traced.get(key)
        if traced is not None:
            with torch.no_grad():
                return traced(leaves, batch)
        found = function(leaves, batch)
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._calls[key] == _OFTEN:
            self._traced[key] = _trace(function, leaves, batch, found)
        return found


def _trace(function: Evaluate, leaves: list[Tensor], batch: Batch, expected: tuple[Tensor, ...]) -> Evaluate | None:
    """The function as a graph; None where there is no such graph or it gives other numbers."""
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = make_fx(function)(leaves, batch)
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.detach.default:  # nothing is differentiated any more
                node.replace_all_uses_with(node.args[0])
        graph.graph.eliminate_dead_code()
        graph.recompile()
        with torch.no_grad():
            found = graph(leaves, batch)
    except Exception:  # whatever a user's loss does that cannot be traced, it can still be run
        return None
    return graph.forward if all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)) else None
