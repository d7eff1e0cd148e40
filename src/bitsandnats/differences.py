"""Products with the Hessian of a large model, by differences of gradients, in two arrays of its size."""

import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bitsandnats import _tree
from bitsandnats._types import Batch, Params
from bitsandnats.task import Task

_SHIFT = 1e-3  # of the weights' length
_BLOCK = 1 << 20  # numbers at a time: what is done to arrays needs no third one
_OFTEN = 1 << 25  # numbers of a gradient after which freed memory is given back


class Block(NamedTuple):
    """A part of the weights.

    Attributes:
        own: w, not to be written.
        shifted: the place at which gradients are taken.
        sum: of the gradients.
    """

    own: Tensor
    shifted: Tensor
    sum: Tensor


class Differences:
    """H v as [∇L(w + hv) − ∇L(w − hv)]/2h with v of length 1 and hv a thousandth of the weights' length.

    It holds w + hv and a sum of gradients; v itself is what the first differs from w by. Gradients are taken an item at
    a time, so that a pass keeps little. Checked in `tests/truth/test_curvature.py`.

    Args:
        task: the task.
        params: w, where the Hessian is taken.
    """

    def __init__(self, task: Task, params: Params) -> None:
        self._task, self._own = task, params
        own = {name: p.detach() for name, p in params.items()}
        self._leaves, sums = _tree.side_by_side(own), _tree.side_by_side(own)
        giving_back = _GivingBack()
        for name, leaf in self._leaves.items():
            leaf.grad = sums[name].zero_()
            leaf.requires_grad_()
            leaf.register_post_accumulate_grad_hook(giving_back)
        self._along = 0.0
        squares = sum(float(b.own.square().sum(dtype=torch.float64)) for b in self.blocks())
        self._reach = _SHIFT * max(squares**0.5, 1e-30)  # h

    @property
    def sum(self) -> Params:
        """The sum of gradients, to be read or written in place."""
        return {name: leaf.grad for name, leaf in self._leaves.items() if leaf.grad is not None}

    def blocks(self) -> Iterator[Block]:
        """All weights, part by part."""
        for name, leaf in self._leaves.items():
            assert leaf.grad is not None
            own, shifted, total = (t.detach().flatten() for t in (self._own[name], leaf, leaf.grad))
            for first in range(0, len(own), _BLOCK):
                yield Block(*(t[first : first + _BLOCK] for t in (own, shifted, total)))

    def clear(self) -> None:
        """The sum is 0 and the place w again."""
        for block in self.blocks():
            block.sum.zero_()
            block.shifted.copy_(block.own)

    def add(self, batch: Batch, scale: float) -> None:
        """Adds `scale` times the gradient of the batch's mean loss, at the place as it is."""
        leaves, items = self._leaves, len(_tree.tensors(batch)[0])
        for i in range(items):
            part = _tree.map_batch(lambda t, i=i: t[i : i + 1], batch)
            with torch.enable_grad():
                loss = self._task.item_losses(leaves, part).sum() * (scale / (items * self._task.mean_weight))
            if loss.requires_grad:
                torch.autograd.backward(loss, inputs=list(leaves.values()))

    def length(self) -> float:
        """Of the sum."""
        return sum(float(b.sum.square().sum(dtype=torch.float64)) for b in self.blocks()) ** 0.5

    def aim(self, length: float, keep: float = 0.0) -> None:
        """The sum divided by its length becomes v, `keep` times the v before becomes the sum, in the same two arrays.

        Args:
            length: of the sum.
            keep: a number, in nats a unit per squared unit of weight.
        """
        self._along = 0.0  # of the sum along v
        for block in self.blocks():
            before = (block.own - block.shifted).div_(self._reach)  # `multiply` left −v
            torch.add(block.own, block.sum, alpha=self._reach / length, out=block.shifted)
            torch.mul(before, keep, out=block.sum)
            self._along += self._dot(block)

    def multiply(self, batch: Batch) -> float:
        """Adds H v to the sum and returns vᵀHv; v is turned into −v.

        Args:
            batch: whose mean loss H is of.
        """
        self.add(batch, 0.5 / self._reach)
        self._turn()
        self.add(batch, -0.5 / self._reach)
        return -sum(self._dot(block) for block in self.blocks()) - self._along

    def reduce(self, scale: float) -> None:
        """Takes `scale` times v from the sum, after `multiply`."""
        for block in self.blocks():
            block.sum.sub_((block.own - block.shifted).div_(self._reach), alpha=scale)

    def _turn(self) -> None:
        for block in self.blocks():
            block.shifted.neg_().add_(block.own, alpha=2)

    def _dot(self, block: Block) -> float:
        return float((block.shifted - block.own).mul_(block.sum).sum(dtype=torch.float64)) / self._reach


class _GivingBack:
    """A pass frees what it kept in small pieces; allocators hold on to them, beside arrays that never shrink.

    It knows of no array: leaves that knew each other through it would not be freed when they are done with.
    """

    def __init__(self) -> None:
        self._made = 0

    def __call__(self, leaf: Tensor) -> None:
        self._made += leaf.numel()
        if self._made >= _OFTEN and leaf.device.type == "cpu":
            self._made = 0
            _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    """The function of glibc that gives freed memory back to the system; elsewhere nothing is done."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return lambda keep: None
