"""w* kept in the memory of the CPU while losses are computed and chains move on an accelerator."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bitsandnats._functional import FunctionalLoss, places_of, private_copy
from bitsandnats._tree import fetched
from bitsandnats._types import Batch, LossFn, Params
from bitsandnats.task import Task

Place = Literal["device", "cpu"]
"""`device`: where losses are computed; `cpu`: in the memory of the CPU, from which a step fetches it block by block."""


def center_in(task: Task, place: Place) -> Task:
    """The task with w* in a place; what is sampled on it is the same to the bit.

    A chain then holds an array of the weights' size less on the device. Each step fetches w* once, a block at a time
    (`samplers.types.Walk`); whatever is evaluated at w* fetches it for that pass. For CUDA the copy is pinned. The
    device's memory is free once nothing else refers to the given task or to the module that it was made of. Checked in
    `tests/invariance/test_center_on_cpu.py`.

    Args:
        task: the task, on its device.
        place: `device` gives the task as it is, even one whose w* is on the CPU already.
    """
    if place == "device" or task.compute is not None:
        return task
    center = {name: _kept(w, task.device) for name, w in task.center.items()}
    return dataclasses.replace(
        task, loss=_Fetching(_without(task.loss, center), task.device), center=center, compute=task.device
    )


@dataclass(frozen=True)
class _Fetching:
    """A loss that fetches parameters which are elsewhere for the time of a pass."""

    loss: LossFn
    device: torch.device

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.loss({name: fetched(w, self.device) for name, w in params.items()}, batch)


def _kept(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return tensor
    copied = tensor.detach().to("cpu")
    return copied.pin_memory() if device.type == "cuda" else copied


def _without(loss: LossFn, center: Params) -> LossFn:
    """The loss with a module of its own that does not hold the weights on the device."""
    if not isinstance(loss, FunctionalLoss):
        return loss
    module = private_copy(loss.module)
    places = places_of(module)
    for name, own in center.items():
        for part, kind, key in places.get(name, []):
            getattr(part, kind)[key] = own
    return FunctionalLoss(module, places, loss.constants, loss.loss)
