"""Losses of named subsets of data at every draw."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from bitsandnats._types import Batch, Params
from bitsandnats.errors import InputError, message
from bitsandnats.observables.subsets import Columns, Subset, blocks, check_units, columns_of
from bitsandnats.task import Task


class Followed(NamedTuple):
    """One subset as it is evaluated.

    Attributes:
        task: whose loss it is.
        subset: the data.
        columns: what its numbers are.
        batches: the data, ready on the device.
        index: (block, places in the block's flattened losses) of the columns; None = all items in order.
    """

    task: Task
    subset: Subset
    columns: Columns
    batches: tuple[Batch, ...]
    index: tuple[Tensor, ...] | None


@dataclass(frozen=True)
class SubsetLosses:
    """Losses of all subsets, side by side; build it with `follow`.

    Attributes:
        followed: the subsets by name, in order.
    """

    followed: Mapping[str, Followed]

    @torch.no_grad()
    def __call__(self, center: Params, position: Params) -> Float[Tensor, "chain column"]:
        """Loss of every column at each chain's weights, nats; only the forward passes that they need."""
        chains = len(next(iter(position.values())))
        parts = []
        for one in self.followed.values():
            for place, batch in enumerate(one.batches):
                if chains == 1:  # a group of several is one whose loss can be batched over weights
                    losses = _losses(one, {k: w[0] for k, w in position.items()}, batch)[None]
                else:
                    losses = vmap(lambda w, one=one, batch=batch: _losses(one, w, batch))(position)
                parts.append(losses if one.index is None else losses.flatten(1).index_select(1, one.index[place]))
        return torch.cat(parts, 1)

    @property
    def slices(self) -> dict[str, slice]:
        """Where the columns of each subset stand."""
        found, start = {}, 0
        for name, one in self.followed.items():
            found[name] = slice(start, start + len(one.columns.item))
            start += len(one.columns.item)
        return found


def follow(task: Task, subsets: Mapping[str, Subset | Task], *, batch_size: int = 512) -> SubsetLosses:
    """The losses of named subsets as an observable of chains on `task`.

    Args:
        task: whose weights move.
        subsets: by name; a task at the same weights stands for its own data under its own loss.
        batch_size: items a forward pass.

    Raises:
        DataError: items are not of the task's form, or a loss is not finite.
        InputError: tokens were asked for where a loss has none.
    """
    found = {}
    for name, chosen in subsets.items():
        if isinstance(chosen, Task):
            _check_same(task, name, chosen)
            found[name] = _followed(chosen, name, Subset(chosen.data), batch_size)
        else:
            found[name] = _followed(task, name, chosen, batch_size)
    return SubsetLosses(found)


def moved_to(losses: SubsetLosses, form: Callable[[Task], Task]) -> SubsetLosses:
    """The same columns for chains on another form of the task: one component of it, or another metric."""
    return SubsetLosses({name: one._replace(task=form(one.task)) for name, one in losses.followed.items()})


def _check_same(task: Task, name: str, other: Task) -> None:
    check_units({"train": task, name: other})
    same = task.center.keys() == other.center.keys() and all(
        torch.equal(w, other.center[k]) for k, w in task.center.items()
    )
    if not same:
        raise InputError(
            message(
                expected=f"a task for {name} at the same weights",
                got="one at others",
                do="make it from the same module",
            )
        )


def _followed(task: Task, name: str, chosen: Subset, batch_size: int) -> Followed:
    columns = columns_of(task, name, chosen)
    cut = blocks(task, chosen.data, batch_size)
    index = None
    if chosen.per == "token":
        item, token = torch.as_tensor(columns.item), torch.as_tensor(columns.token)
        with torch.no_grad():
            width = task.loss(task.center, cut[0][1]).shape[1]
        index = tuple(
            ((item - start) * width + token)[(item >= start) & (item < start + batch_size)].to(task.device)
            for start, _ in cut
        )
        order = torch.cat([torch.nonzero((item >= s) & (item < s + batch_size)).flatten() for s, _ in cut])
        columns = Columns(*(values[order.numpy()] for values in columns))  # positions in the order of their blocks
    return Followed(task, chosen, columns, tuple(batch for _, batch in cut), index)


def _losses(one: Followed, params: Params, batch: Batch) -> Tensor:
    if one.subset.per == "item":
        return one.task.item_losses(params, batch)
    return one.task.loss(params, batch)
