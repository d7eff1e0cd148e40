"""Directions of a statistic of known mean, along which the loss is nearly quadratic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitsandnats._rng import generator
from bitsandnats._types import Params
from bitsandnats.curvature import hessian_products, hessian_vector
from bitsandnats.errors import InputError, message
from bitsandnats.target.micro_batch import kept_bytes, total_memory
from bitsandnats.target.posterior import Variate
from bitsandnats.task import Task

DIRECTIONS = 100
"""The most there are: on networks those further down hardly scatter less than the rest of the loss."""

_SHARE = 0.1  # of the machine's memory that a pass may keep: second derivatives keep about three times as much
_TOLERANCE = 1e-2  # of an eigenvalue: the mean is 0 for any directions, only the scatter taken out depends on them


def quadratic_variate(task: Task, nbeta: float, gamma: float) -> Variate:
    r"""The statistic C along the stiffest directions at w*.

    For $p\propto e^{-U}$, $U=n\beta L+\tfrac\gamma2\lVert w-w^*\rVert^2$, and any fixed symmetric M, Stein's identity
    is $E[\nabla U\cdot M(w-w^*)]=tr M$. With $M=\sum_is_iv_iv_i^T$, where $(h_i,v_i)$ are leading eigenpairs of the
    Hessian of L at w* and $s_i=n\beta h_i/(n\beta h_i+\gamma)$, C is the scatter of $n\beta(L-L(w^*))$ itself in
    these directions where the loss is quadratic. Source: Assaraf & Caffarel (1999); Mira, Solgi & Imparato (2013).
    Checked in `tests/truth/test_variates.py`.

    Args:
        task: the task; the Hessian is that of all data.
        nbeta: nβ.
        gamma: γ.
    """
    values, directions = leading_eigenpairs(task, DIRECTIONS)
    stiffness = nbeta * values.clamp(min=0)
    return Variate(directions, torch.where(stiffness > 0, stiffness / (stiffness + gamma), 0.0))


def leading_eigenpairs(task: Task, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of the Hessian of L at w*, over all data, and their eigenvectors as rows.

    By the Lanczos method, in about two products a pair; of few weights by the whole matrix.

    Args:
        task: the task.
        count: of pairs; of all weights where there are fewer; one where the Hessian is 0.

    Raises:
        InputError: the Hessian is not finite.
    """
    from scipy.sparse import linalg

    arpack: Any = linalg  # whose types say less than its documentation
    apply, size = _operator(task), task.dimension
    first = next(iter(task.center.values()))
    if size <= 2 * count + 1:
        matrix = np.stack([apply(column) for column in np.eye(size)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    else:
        random = generator(0, 0, "probe")
        start = torch.randn(size, generator=random, dtype=torch.float64).numpy()
        operator = arpack.LinearOperator((size, size), matvec=apply, dtype=np.float64)
        try:
            if not apply(start).any():  # the loss is flat
                return first.new_zeros(1), first.new_zeros(1, size)
            values, vectors = arpack.eigsh(operator, k=count, which="LA", v0=start, tol=_TOLERANCE)
        except arpack.ArpackNoConvergence as some:
            values, vectors = some.eigenvalues, some.eigenvectors
    largest = np.argsort(-values)[:count]
    found = torch.as_tensor(values[largest].copy()), torch.as_tensor(vectors[:, largest].T.copy())
    return found[0].to(first), found[1].to(first)


def variate_bytes(task: Task) -> int:
    """Bytes that the search for the directions needs at its peak: twice as many vectors as directions, in float64."""
    vectors = min(2 * DIRECTIONS + 1, task.dimension)
    return 8 * task.dimension * (vectors + min(DIRECTIONS, task.dimension))


def _operator(task: Task) -> Callable[[np.ndarray], np.ndarray]:
    """H v of all data, on flat vectors in float64."""
    items = torch.arange(len(task.data))
    room = _SHARE * total_memory(task.device) / max(kept_bytes(task, 1), 1)
    parts = items.split(max(int(min(room, len(items))), 1))
    whole = hessian_products(task, task.batch(items)) if len(parts) == 1 else None
    first = next(iter(task.center.values()))
    sizes = [w.numel() for w in task.center.values()]

    def apply(flat: np.ndarray) -> np.ndarray:
        pieces = torch.as_tensor(flat.reshape(-1)).to(first).split(sizes)
        vector = {name: piece.view(w.shape) for piece, (name, w) in zip(pieces, task.center.items(), strict=True)}
        total = first.new_zeros(sum(sizes), dtype=torch.float64)
        for part in parts:
            product = hessian_vector(task, task.center, task.batch(part), vector) if whole is None else whole(vector)
            total += _flat(product).double() * (len(part) / len(items))
        if not bool(torch.isfinite(total).all()):
            raise InputError(
                message(
                    expected="a finite Hessian at w* for variates 'quadratic'",
                    got="NaN or infinity",
                    do="use variates 'none'",
                )
            )
        return total.cpu().numpy()

    return apply


def _flat(leaves: Params) -> Tensor:
    return torch.cat([w.flatten() for w in leaves.values()])
