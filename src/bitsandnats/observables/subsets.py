"""Subsets of data whose losses are followed over draws, and the columns that they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from bitsandnats._tree import tensors
from bitsandnats._types import Batch, Data
from bitsandnats.data import as_data, subset
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.task import Task

_PER_PASS = 64  # items evaluated at once while columns are looked up


@dataclass(frozen=True)
class Subset:
    """Data whose losses are followed.

    Attributes:
        data: items, of the task's form.
        per: one loss an `item` (the sum over its tokens), or one a `token`.
        positions: (item, token) of the tokens that are followed; None = all of weight 1.
    """

    data: Data
    per: Literal["item", "token"] = "item"
    positions: tuple[tuple[int, int], ...] | None = None


class Columns(NamedTuple):
    """What the numbers of one subset are, in order.

    Attributes:
        item: index of the item.
        token: index of the token in it; −1 where a number is the whole item's.
        weight: what it contributes to n: 1, or its tokens where L is a mean over tokens.
        center: loss at w*, nats.
    """

    item: Int[ndarray, " column"]
    token: Int[ndarray, " column"]
    weight: Float[ndarray, " column"]
    center: Float[ndarray, " column"]


Chosen = Sequence[int] | range
"""Items of the task's own data, by index."""


def as_subset(task: Task, given: object, *, per: Literal["item", "token"] = "item") -> Subset:
    """`given` as data whose losses are followed.

    Args:
        task: the task.
        given: a `Subset`; indices of items of the task's data (a list or a range); or data of the task's form.
        per: what has a loss of its own.

    Raises:
        InputError: an index lies outside the data.
        DataError: the data are empty, or no data.
    """
    if isinstance(given, Subset):
        return given
    if isinstance(given, range) or (isinstance(given, list | tuple) and given and isinstance(given[0], int)):
        indices = [int(i) for i in given]  # type: ignore[union-attr]
        outside = [i for i in indices if not 0 <= i < len(task.data)]
        if outside or not indices:
            raise InputError(
                message(
                    expected=f"indices from 0 to {len(task.data) - 1}, the items of the data",
                    got=str(outside[0]) if outside else "none",
                    do="choose among the items, or give data",
                )
            )
        return Subset(subset(task.data, indices), per)
    return Subset(as_data(given), per)


def columns_of(task: Task, name: str, chosen: Subset) -> Columns:
    """The columns of a subset, from one pass over it at w*.

    Args:
        task: model, loss and unit.
        name: of the subset, for messages.
        chosen: the subset.

    Raises:
        DataError: the items are not of the task's form, a loss is not finite, or a named position is padding.
        InputError: losses of tokens were asked for where a loss has no tokens.
    """
    _check_form(task, name, chosen)
    losses, weights = zip(*(_evaluated(task, name, batch) for _, batch in blocks(task, chosen.data)), strict=True)
    widths = {part.shape[1:] for part in losses}
    if len(widths) > 1:
        raise DataError(
            message(
                expected=f"items of one length in {name}",
                got=f"lengths {sorted(int(w[0]) for w in widths)}",
                do="pad them and give the task a weight of 0 there",
            )
        )
    loss, weight = np.concatenate(losses), np.concatenate(weights)
    if not np.isfinite(loss).all():
        bad = int(np.argwhere(~np.isfinite(loss))[0][0])
        raise DataError(
            message(expected=f"finite losses in {name}", got=f"item {bad} without one", do="leave that item out")
        )
    if chosen.per == "item":
        total = loss.reshape(len(loss), -1).sum(1)
        units = weight.reshape(len(weight), -1).sum(1) if task.unit == "token" else np.ones(len(total))
        return Columns(np.arange(len(total)), np.full(len(total), -1), units, total)
    if loss.ndim == 1:
        raise InputError(
            message(
                expected=f"losses [sample, token] for tokens of {name}",
                got="one loss a sample",
                do="follow items, or use a loss that is not summed over tokens",
            )
        )
    item, token = _positions(name, chosen, weight)
    return Columns(item, token, np.ones(len(item)), loss[item, token])


def blocks(task: Task, data: Data, size: int = _PER_PASS) -> list[tuple[int, Batch]]:
    """The items in order, `size` at a time, with the index of the first; on the task's device."""
    from bitsandnats._tree import map_batch

    return [
        (
            start,
            map_batch(lambda t: t.to(task.device), data.batch(torch.arange(start, min(start + size, len(data))))),
        )
        for start in range(0, len(data), size)
    ]


def _positions(name: str, chosen: Subset, weight: ndarray) -> tuple[ndarray, ndarray]:
    if chosen.positions is None:
        item, token = np.nonzero(weight)
        return item, token
    for i, t in chosen.positions:
        inside = 0 <= i < weight.shape[0] and 0 <= t < weight.shape[1]
        if not inside or weight[i, t] == 0:
            raise DataError(
                message(
                    expected=f"positions (item, token) of {name} that have a loss",
                    got=f"({i}, {t}), which is {'padding' if inside else 'outside'}",
                    do="name tokens of weight 1; the loss of token t+1 stands at t",
                )
            )
    found = np.array(chosen.positions, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _check_form(task: Task, name: str, chosen: Subset) -> None:
    own, given = task.batch(torch.arange(1)), chosen.data.batch(torch.arange(1))
    same = type(own) is type(given) and len(tensors(own)) == len(tensors(given))
    keys = not isinstance(own, dict) or not isinstance(given, dict) or set(own) == set(given)
    if not (same and keys):
        raise DataError(
            message(
                expected=f"{name} of the form that the task's data have, {_form(own)}",
                got=_form(given),
                do="give items as the task has them",
            )
        )


def _form(batch: Batch) -> str:
    shapes = [f"{tuple(t.shape[1:])} {str(t.dtype).removeprefix('torch.')}" for t in tensors(batch)]
    return f"{type(batch).__name__} of {' and '.join(shapes)}"


@torch.no_grad()
def _evaluated(task: Task, name: str, batch: Batch) -> tuple[ndarray, ndarray]:
    try:
        losses = task.loss(task.center, batch)
    except (RuntimeError, IndexError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            message(
                expected=f"items of {name} that the task's loss can take",
                got=f"{type(error).__name__} ({str(error).splitlines()[0][:120] if str(error) else 'no reason given'})",
                do="give items as the task has them",
            )
        ) from error
    weights = torch.ones_like(losses) if task.weight is None else task.weight(batch)
    if weights.shape != losses.shape:
        raise DataError(
            message(
                expected=f"weights of the shape of the losses of {name}, {tuple(losses.shape)}",
                got=str(tuple(weights.shape)),
                do="let the padding mask lack the first token, as the losses do",
            )
        )
    weighted = losses * weights.to(losses.dtype)
    return _numpy(weighted), _numpy(weights)


def _numpy(tensor: Tensor) -> ndarray:
    return tensor.detach().double().cpu().numpy()


def check_units(tasks: Mapping[str, Task]) -> None:
    """Refuses losses of different units beside each other.

    Raises:
        InputError: they differ.
    """
    units = {name: task.unit for name, task in tasks.items()}
    if len(set(units.values())) > 1:
        said = ", ".join(f"{name} in nats a {unit}" for name, unit in units.items())
        raise InputError(
            message(expected="subsets whose losses have one unit", got=said, do="give all tasks the same unit")
        )
