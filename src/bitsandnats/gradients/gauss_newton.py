"""The exact generalised Gauss–Newton matrix of a small network."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from bitsandnats._functional import FunctionalLoss, Model
from bitsandnats._tree import map_batch
from bitsandnats._types import Batch, Params
from bitsandnats.errors import InputError, ModelError, message
from bitsandnats.gradients.damped import check_whole
from bitsandnats.task import Task

_PER_PASS = 64  # items whose Jacobians are in memory at once


def gauss_newton(task: Task) -> Float64[ndarray, "parameter parameter"]:
    r"""$G=\frac1n\sum_iJ_i^T(\nabla_z^2\ell_i)J_i$ with J_i the Jacobian of item i's outputs z.

    H without the part in which the outputs themselves bend in the weights, so that it is never indefinite where losses
    are convex in the outputs; for cross-entropy the Fisher information. Checked in `tests/truth/test_gradients.py`.

    Args:
        task: of a module, under a loss that calls it once.

    Raises:
        InputError: the network is too large, or the task's loss is a bare function of the weights.
        ModelError: the loss does not call the network once, for one tensor.
    """
    check_whole(task)
    if not isinstance(task.loss, FunctionalLoss):
        raise InputError(
            message(
                expected="a task of a module, whose outputs are known",
                got="a bare function of the weights",
                do="leave the baseline 'gauss_newton' out",
            )
        )
    loss, names = task.loss, list(task.center)
    shape = _outputs(loss, task.center, task.batch(torch.arange(1))).shape

    def flat(params: Params, item: Batch) -> Tensor:
        return _outputs(loss, params, _one(item)).flatten()

    def of_outputs(z: Tensor, item: Batch) -> Tensor:
        given = dataclasses.replace(task, loss=_Given(loss.loss, z.view(shape)))
        return given.item_losses(task.center, _one(item)).sum()

    total = torch.zeros(task.dimension, task.dimension, dtype=torch.float64, device=task.device)
    for block in task.blocks(_PER_PASS):
        parts = torch.func.vmap(torch.func.jacrev(flat), in_dims=(None, 0))(task.center, block)
        jacobian = torch.cat([parts[name].flatten(2) for name in names], 2).double()  # item, output, parameter
        with torch.no_grad():
            z = torch.func.vmap(flat, in_dims=(None, 0))(task.center, block)
        inner = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(of_outputs)))(z, block).double()
        total += jacobian.flatten(0, 1).T @ (inner @ jacobian).flatten(0, 1)
    return (total / task.n).cpu().numpy()


@dataclasses.dataclass(frozen=True)
class _Given:
    """A loss whose network has said already what it says."""

    loss: Callable[[Any, Batch], Tensor]
    z: Tensor

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, " sample *token"]:
        return self.loss(lambda *inputs, **options: self.z, batch)


def _outputs(loss: FunctionalLoss, params: Params, batch: Batch) -> Tensor:
    """What the network says of a batch.

    Raises:
        ModelError: it is not called once, for one tensor.
    """
    model, said = Model(loss.module, loss.places, {**loss.constants, **params}), []

    def listening(*inputs: Any, **options: Any) -> Any:
        said.append(model(*inputs, **options))
        return said[-1]

    loss.loss(listening, batch)
    if len(said) != 1 or not isinstance(said[0], Tensor):
        raise ModelError(
            message(
                expected="a loss that calls the network once, for one tensor",
                got=f"{len(said)} calls" if len(said) != 1 else type(said[0]).__name__,
                do="leave the baseline 'gauss_newton' out",
            )
        )
    return said[0]


def _one(item: Batch) -> Batch:
    return map_batch(lambda t: t.unsqueeze(0), item)
