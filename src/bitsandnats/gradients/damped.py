"""The classical influence function with an exact matrix of curvature and damping, for small networks."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from bitsandnats._types import Data, Params
from bitsandnats.curvature import hessian_vector
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.features import Scores, scores
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.task import Task

LARGEST = 5000
"""Weights of a network whose Hessian is made whole."""


class Spectrum(NamedTuple):
    """A matrix of curvature by its eigenvectors, eigenvalues below 0 taken as 0.

    Attributes:
        values: ascending.
        vectors: a column each.
    """

    values: Float64[ndarray, " parameter"]
    vectors: Float64[ndarray, "parameter parameter"]


def damped_influence(
    task: Task,
    train: Data,
    query: Data,
    *,
    damping: float,
    curvature: Float64[ndarray, "parameter parameter"] | None = None,
) -> Scores:
    r"""$-\nabla\phi^T(H+\delta)^{-1}\nabla\ell$ with H a curvature of the mean loss over the task's data.

    With δ = γ/nβ and divided by nβ it is what BIF is where the posterior is Gaussian and losses are linear. Eigenvalues
    of H that are below 0 are taken as 0, so that damping makes it definite. Checked in `tests/truth/test_gradients.py`.

    Args:
        task: loss, weights, and the data of H.
        train: items attributed to.
        query: items whose losses are φ.
        damping: δ > 0, in units of H.
        curvature: H; None = the exact Hessian. `gauss_newton.gauss_newton` gives another.

    Raises:
        InputError: no damping, or a network too large for its Hessian.
    """
    check_damping(damping)
    found = spectrum(hessian(task) if curvature is None else curvature)
    left, right = (item_gradients(task, data).cpu().numpy() for data in (query, train))
    return scores(damped_features(left, found, damping), damped_features(right, found, damping))


def spectrum(matrix: Float64[ndarray, "parameter parameter"]) -> Spectrum:
    """Eigenvalues, none below 0, and eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return Spectrum(np.maximum(values, 0), vectors)


def damped_features(
    gradients: Float64[ndarray, "item parameter"], curvature: Spectrum, damping: float
) -> Float64[ndarray, "item parameter"]:
    """(H + δ)^(−½)∇ℓ of each item, in H's eigenbasis: their inner products are the damped influence.

    Args:
        gradients: of the items' losses.
        curvature: H.
        damping: δ > 0.
    """
    return (gradients @ curvature.vectors) / np.sqrt(curvature.values + damping)


def check_damping(damping: float) -> None:
    """Refuses a damping that is not positive.

    Raises:
        InputError: as said.
    """
    if not damping > 0:
        raise InputError(message(expected="damping above 0", got=f"{damping:g}", do="give for instance gamma/nbeta"))


def check_whole(task: Task) -> None:
    """Refuses networks whose matrix of curvature would be too large.

    Raises:
        InputError: as said.
    """
    if task.dimension > LARGEST:
        raise InputError(
            message(
                expected=f"a network of at most {LARGEST} weights for an exact matrix of curvature",
                got=str(task.dimension),
                do="leave the baselines 'damped' and 'gauss_newton' out",
            )
        )


def hessian(task: Task) -> Float64[ndarray, "parameter parameter"]:
    """H of the mean loss over all of a task's data at w*, a column a product.

    Raises:
        InputError: the network is too large.
    """
    check_whole(task)
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
