"""The gradient of every item's loss, as a matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._tree import map_batch
from bitsandnats._types import Data
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

_LARGEST = 1 << 29  # numbers in a matrix of gradients


def item_gradients(task: Task, data: Data) -> Float[Tensor, "item parameter"]:
    """∇ℓ_i at w* of every item, coordinates in the order of the names; nats an item per unit of weight.

    Args:
        task: loss and weights.
        data: items of the task's form.

    Raises:
        InputError: the matrix would not fit into memory.
    """
    if len(data) * task.dimension > _LARGEST:
        raise InputError(
            message(
                expected=f"gradients of at most {_LARGEST // task.dimension} items of {task.dimension} weights",
                got=str(len(data)),
                do="give fewer items, or leave the baselines out",
            )
        )
    leaves = {name: w.detach().requires_grad_() for name, w in task.center.items()}
    rows = []
    for i in range(len(data)):
        item = map_batch(lambda t: t.to(task.device), data.batch(torch.tensor([i])))
        with torch.enable_grad():
            loss = task.item_losses(leaves, item).sum()
            grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        rows.append(torch.cat([g.flatten() for g in grads]))
    return torch.stack(rows).double()
