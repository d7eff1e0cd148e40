"""What is known of items without being told: labels in the data, images among the inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from bitsandnats._tree import tensors
from bitsandnats._types import Data

_LEAST_SIDE, _CHANNELS = 5, (1, 3)


def labels_in(data: Data) -> Int[ndarray, " item"] | None:
    """The labels of items (input, whole number); None where the data are of another form."""
    batch = data.batch(torch.arange(len(data)))
    if not isinstance(batch, tuple) or len(batch) < 2:
        return None
    second = batch[1]
    if second.ndim != 1 or second.is_floating_point() or second.dtype == torch.bool:
        return None
    return second.cpu().numpy().astype(np.int64)


def images_in(data: Data) -> list[ndarray] | None:
    """The items' inputs as images scaled to 0 … 1, where they are real arrays (height, width) with 1 or 3 channels."""
    first = tensors(data.batch(torch.arange(len(data))))[0]
    if not first.is_floating_point() and first.dtype != torch.uint8:
        return None
    shape = tuple(first.shape[1:])
    if len(shape) == 3 and shape[0] in _CHANNELS:
        first = first[:, 0] if shape[0] == 1 else first.permute(0, 2, 3, 1)
    elif len(shape) != 2:
        return None
    if min(first.shape[1:3]) < _LEAST_SIDE:
        return None
    images = first.double().cpu().numpy()
    low, high = images.min(), images.max()
    return list((images - low) / (high - low if high > low else 1.0))


def split_items(items: int, queries: int, train: int | None) -> tuple[list[int], list[int]]:
    """Evenly spaced items as queries, and evenly spaced ones of the others to be attributed to: (train, queries)."""
    asked = _spaced(range(items), queries)
    rest = sorted(set(range(items)) - set(asked))
    return _spaced(rest, len(rest) if train is None else train), asked


def _spaced(from_items: Sequence[int], count: int) -> list[int]:
    places = np.linspace(0, len(from_items) - 1, min(count, len(from_items))).round().astype(int)
    return [from_items[int(i)] for i in places]


def rows_of(values: Sequence[Any] | None, chosen: Sequence[int]) -> list[Any] | None:
    """Those of the chosen items."""
    return None if values is None else [values[i] for i in chosen]
