"""The few types that every room shares."""

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

Params = dict[str, Tensor]
"""Parameters by the names of `named_parameters()`; tied weights once."""

Batch = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""A batch of data: every tensor's leading axis is the sample."""

Unit = Literal["sample", "sequence", "token"]
"""What one loss stands for: a sample, a sequence (sum over its tokens), or a token."""

WeightFn = Callable[[Batch], Tensor]
"""Batch -> weights of the losses' shape, 0 or 1 (padding)."""


@runtime_checkable
class LossFn(Protocol):
    """Unreduced loss as a function of the parameters that move."""

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, " sample *token"]:
        """Returns one loss per sample (or per sample and token), in nats, never reduced."""
        ...


@runtime_checkable
class Data(Protocol):
    """A data set that hands out batches by index."""

    def __len__(self) -> int:
        """Number of items."""
        ...

    def batch(self, indices: Tensor) -> Batch:
        """The items at `indices`, stacked; index axes come first."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Told of work as it is done; recipes call it, the command line draws it."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of `stage` are finished."""
        ...


def silent(stage: str, done: int, total: int) -> None:
    """Progress that shows nothing."""
