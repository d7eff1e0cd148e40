"""Batches by index from anything map-style: stacked once where it fits, fetched item by item where not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from bitsandnats._tree import map_batch, tensors
from bitsandnats._types import Batch, Data
from bitsandnats.data.tokens import TokenFile
from bitsandnats.errors import DataError, message

_STACK_LIMIT_BYTES = 2 << 30


@dataclass(frozen=True)
class StackedData:
    """Items held as stacked tensors: a batch is one `index_select` a tensor."""

    stacked: Batch

    def __len__(self) -> int:
        """Number of items."""
        return len(tensors(self.stacked)[0])

    def batch(self, indices: Tensor) -> Batch:
        """The items at `indices`; index axes come first."""
        flat = indices.reshape(-1)

        def chosen(t: Tensor) -> Tensor:
            return t.index_select(0, flat.to(t.device)).view(*indices.shape, *t.shape[1:])

        return map_batch(chosen, self.stacked)


@dataclass(frozen=True)
class FetchedData:
    """Items fetched one by one: for data sets too large to hold."""

    dataset: Any

    def __len__(self) -> int:
        """Number of items."""
        return len(self.dataset)

    def batch(self, indices: Tensor) -> Batch:
        """The items at `indices`; index axes come first."""
        stacked = _collate([self.dataset[int(i)] for i in indices.reshape(-1)])
        return map_batch(lambda t: t.view(*indices.shape, *t.shape[1:]), stacked)


def as_data(dataset: Any) -> Data:
    """`dataset` as batches by index.

    Args:
        dataset: a tensor, a tuple or dict of tensors (leading axis: item), a `TensorDataset`, or any map-style data
            set whose items are tensors, numbers, or tuples or dicts of them.

    Raises:
        DataError: it is empty, has no length, mixes lengths, or its items change from one reading to the next.
    """
    if isinstance(dataset, StackedData | FetchedData | TokenFile):
        return dataset
    if isinstance(dataset, TensorDataset):
        dataset = dataset.tensors
    if isinstance(dataset, Tensor | dict) or (
        isinstance(dataset, tuple | list)
        and dataset
        and all(isinstance(t, Tensor) and t.ndim > 0 for t in dataset)
        and isinstance(dataset, tuple)
    ):
        return _from_tensors(dataset)
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(
            message(
                expected="a map-style data set (with len() and [index]) or tensors",
                got=type(dataset).__name__,
                do="wrap an iterable in list(...) first",
            )
        )
    if len(dataset) == 0:
        raise DataError(message(expected="at least one item of data", got="an empty data set", do="supply data"))
    _check_repeatable(dataset)
    first = _collate([dataset[0]])
    size = sum(t.numel() * t.element_size() for t in tensors(first)) * len(dataset)
    if size > _STACK_LIMIT_BYTES:
        return FetchedData(dataset)
    return StackedData(_collate([dataset[i] for i in range(len(dataset))]))


def subset(data: Data, indices: Sequence[int] | Tensor) -> Data:
    """The items of `data` at `indices`, as data of their own."""
    return StackedData(data.batch(torch.as_tensor(indices, dtype=torch.long)))


def _from_tensors(dataset: Tensor | tuple[Tensor, ...] | dict[str, Tensor]) -> StackedData:
    leaves = tensors(dataset)
    if not leaves or not all(isinstance(t, Tensor) for t in leaves):
        raise DataError(message(expected="a dict of tensors", got="other values in it", do="convert them to tensors"))
    lengths = {len(t) for t in leaves}
    if len(lengths) != 1:
        raise DataError(
            message(
                expected="tensors with the same number of items",
                got=f"lengths {sorted(lengths)}",
                do="make the leading axes equal",
            )
        )
    if lengths == {0}:
        raise DataError(message(expected="at least one item of data", got="an empty data set", do="supply data"))
    return StackedData(map_batch(Tensor.detach, dataset))


def _collate(items: list[Any]) -> Batch:
    batch = default_collate(items)
    return tuple(batch) if isinstance(batch, list) else batch


def _check_repeatable(dataset: Any) -> None:
    for index in {0, len(dataset) - 1}:
        first, again = tensors(_collate([dataset[index]])), tensors(_collate([dataset[index]]))
        if not all(torch.equal(a, b) for a, b in zip(first, again, strict=True)):
            raise DataError(
                message(
                    expected="the same item each time an index is read",
                    got=f"two different values of item {index}",
                    do="remove random augmentation from the data set",
                )
            )
