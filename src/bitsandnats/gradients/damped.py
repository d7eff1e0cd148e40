"""The classical influence function with the exact Hessian and damping, for small networks."""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from bitsandnats._types import Data, Params
from bitsandnats.curvature import hessian_vector
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.task import Task

LARGEST = 5000
"""Weights of a network whose Hessian is made whole."""


def damped_influence(task: Task, train: Data, query: Data, *, damping: float) -> Float64[ndarray, "query train"]:
    r"""$-\nabla\phi^T(H+\delta)^{-1}\nabla\ell$ with the Hessian H of the mean loss over the task's data.

    With δ = γ/nβ and divided by nβ it is what BIF is where the posterior is Gaussian and losses are linear. Eigenvalues
    of H that are below 0 are taken as 0, so that damping makes it definite. Checked in `tests/truth/test_gradients.py`.

    Args:
        task: loss, weights, and the data of H.
        train: items attributed to.
        query: items whose losses are φ.
        damping: δ > 0, in units of H.

    Raises:
        InputError: no damping, or a network too large for its Hessian.
    """
    if not damping > 0:
        raise InputError(message(expected="damping above 0", got=f"{damping:g}", do="give for instance gamma/nbeta"))
    values, vectors = np.linalg.eigh(hessian(task))
    left = item_gradients(task, query).cpu().numpy() @ vectors
    right = item_gradients(task, train).cpu().numpy() @ vectors
    return -(left / (np.maximum(values, 0) + damping)) @ right.T


def hessian(task: Task) -> Float64[ndarray, "parameter parameter"]:
    """H of the mean loss over all of a task's data at w*, a column a product.

    Raises:
        InputError: the network is too large.
    """
    if task.dimension > LARGEST:
        raise InputError(
            message(
                expected=f"a network of at most {LARGEST} weights for the exact Hessian",
                got=str(task.dimension),
                do="leave the baseline 'damped' out",
            )
        )
    batch = task.batch(torch.arange(len(task.data)))
    columns = []
    for i in range(task.dimension):
        product = hessian_vector(task, task.center, batch, _unit(task, i))
        columns.append(torch.cat([h.flatten() for h in product.values()]).double().cpu().numpy())
    found = np.stack(columns)
    return (found + found.T) / 2


def _unit(task: Task, index: int) -> Params:
    flat = torch.zeros(task.dimension, device=task.device)
    flat[index] = 1
    parts = flat.split([w.numel() for w in task.center.values()])
    return {name: part.view(w.shape).to(w.dtype) for (name, w), part in zip(task.center.items(), parts, strict=True)}
