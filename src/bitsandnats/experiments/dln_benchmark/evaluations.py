"""How many gradients a measurement took: the cost that does not depend on the machine."""

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bitsandnats._types import Batch, LossFn, Params
from bitsandnats.task import Task


@dataclass(frozen=True)
class Counted:
    """A loss that counts the calls made to differentiate it.

    Attributes:
        loss: the loss itself.
        calls: one entry, the calls so far; a call for all chains at once counts once.
    """

    loss: LossFn
    calls: list[int] = field(default_factory=lambda: [0])

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        """The loss's value."""
        if torch.is_grad_enabled():
            self.calls[0] += 1
        return self.loss(params, batch)

    def gradients(self, chains: int, mode: str) -> int:
        """Gradients of one chain each that the calls stand for.

        Args:
            chains: of the group.
            mode: `vmap` differentiates all chains in one call.
        """
        return self.calls[0] * (chains if mode == "vmap" else 1)


def counted(task: Task) -> tuple[Task, Counted]:
    """The same task with a loss that counts."""
    loss = Counted(task.loss)
    return dataclasses.replace(task, loss=loss), loss
