"""Other tasks at the same weights: no likelihood at all, groups that share no weights, the penalty of training."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from bitsandnats._types import Batch, Data, LossFn, Params
from bitsandnats.data import as_data
from bitsandnats.settings import Settings
from bitsandnats.task import Task

_LEAPFROGS = 4
_ADAPTING = 50


def without_likelihood(task: Task) -> Task:
    """The task with a loss of 0 everywhere: its local posterior is that at nβ = 0, N(w*, 1/γ).

    Losses of the task itself can be followed while chains on this one move. Checked in
    `tests/truth/test_kernel_controls.py`.
    """
    return dataclasses.replace(task, loss=_Nothing(), weight=None, data=_One(task.data), subsets={}, mean_weight=1.0)


def noise_settings(settings: Settings) -> Settings:
    """Settings of as many draws of N(w*, 1/γ), by Hamiltonian Monte Carlo on `without_likelihood`."""
    fields = {"sampler": f"hmc(leapfrogs={_LEAPFROGS}, adapt_steps={_ADAPTING})", "burn_in": 2 * _ADAPTING}
    fields |= {"step_size": 0.5 * settings.gamma**-0.5, "batch_size": 1, "start": "noise"}
    fields |= {"metric": "weights", "gradient": "plain", "variates": "none", "reasons": {}}
    return Settings.model_validate({**settings.model_dump(), **fields})


def with_penalty(task: Task, decay: float) -> Task:
    r"""The task with μ‖w‖²/2 added to every loss: what a network trained with weight decay is a minimum of.

    Its local posterior is at rest at w*, where that of the bare loss is pushed to larger weights by ∇L(w*) = −μw*: by
    (H + γ/nβ)⁻¹μw*, however large nβ is. Losses of the task itself can be followed while chains on this one move, and
    the covariances are then, to first order, the influence function of training with that penalty. Checked in
    `tests/truth/test_kernel_controls.py`.

    Args:
        task: the network under its bare loss, one number an item.
        decay: μ.
    """
    return dataclasses.replace(task, loss=_Penalised(task.loss, decay), chance_loss=None)


def side_by_side(task: Task, copies: int) -> Task:
    """Several copies of the network, each with weights of its own, each on all of the data: L is the sum of their L.

    Their weights are independent under its local posterior, and each copy's have the law that the task's own have.
    Checked in `tests/truth/test_kernel_controls.py`.

    Args:
        task: the network.
        copies: how many.
    """
    center = {f"{copy}.{name}": w for copy in range(copies) for name, w in task.center.items()}
    return dataclasses.replace(task, loss=_Sum(task.loss, copies), center=center, structure=None, chance_loss=None)


def each_on_its_copy(together: Task, task: Task, data: Data, copy_of: Int64[Tensor, " item"]) -> Task:
    """The losses of items, each under one of the copies: what is followed while chains on `side_by_side` move.

    Args:
        together: from `side_by_side`.
        task: the network alone.
        data: items of the task's form.
        copy_of: which copy each item belongs to.
    """
    items = data.batch(torch.arange(len(data)))
    paired = as_data({"copy": copy_of, **_named(items)})
    loss = _Chosen(task.loss, int(copy_of.max()) + 1, isinstance(items, tuple), isinstance(items, dict))
    weight = None if task.weight is None else _Weight(task.weight, loss)
    return dataclasses.replace(together, loss=loss, data=paired, weight=weight, subsets={})


@dataclass(frozen=True)
class _Nothing:
    """Loss 0, whatever the weights; they enter so that there is a gradient, of 0."""

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, " sample"]:
        touched = torch.stack([w.flatten()[0] for w in params.values()]).sum()
        return (0 * touched).unsqueeze(0)


@dataclass(frozen=True)
class _Penalised:
    loss: LossFn
    decay: float

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, " sample *token"]:
        size = torch.stack([w.square().sum() for w in params.values()]).sum()
        return self.loss(params, batch) + self.decay / 2 * size


@dataclass(frozen=True)
class _One:
    """The first item alone."""

    data: Data

    def __len__(self) -> int:
        return 1

    def batch(self, indices: Tensor) -> Batch:
        return self.data.batch(indices)


@dataclass(frozen=True)
class _Sum:
    loss: LossFn
    copies: int

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, " sample *token"]:
        parts = [self.loss(_part(params, copy), batch) for copy in range(self.copies)]
        return torch.stack(parts).sum(0)


@dataclass(frozen=True)
class _Chosen:
    loss: LossFn
    copies: int
    as_tuple: bool
    as_dict: bool

    def items(self, batch: Batch) -> Batch:
        assert isinstance(batch, dict)
        names = [name for name in batch if name != "copy"]
        if self.as_dict:
            return {name.removeprefix("item."): batch[name] for name in names}
        return tuple(batch[name] for name in names) if self.as_tuple else batch[names[0]]

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, " sample *token"]:
        assert isinstance(batch, dict)
        losses = torch.stack([self.loss(_part(params, copy), self.items(batch)) for copy in range(self.copies)])
        index = batch["copy"].view(1, -1, *(1,) * (losses.ndim - 2)).expand(1, *losses.shape[1:])
        return losses.gather(0, index)[0]


@dataclass(frozen=True)
class _Weight:
    weight: object
    chosen: _Chosen

    def __call__(self, batch: Batch) -> Tensor:
        return self.weight(self.chosen.items(batch))  # type: ignore[operator]


def _part(params: Params, copy: int) -> Params:
    prefix = f"{copy}."
    return {name.removeprefix(prefix): w for name, w in params.items() if name.startswith(prefix)}


def _named(items: Batch) -> dict[str, Tensor]:
    if isinstance(items, dict):
        return {f"item.{name}": t for name, t in items.items()}
    parts = items if isinstance(items, tuple) else (items,)
    return {f"item.{i}": t for i, t in enumerate(parts)}
