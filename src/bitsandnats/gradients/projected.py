"""TRAK-like: gradients projected at random and whitened by their second moment."""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from bitsandnats._rng import generator
from bitsandnats._types import Data
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.task import Task


def projected_influence(
    task: Task, train: Data, query: Data, *, features: int = 128, ridge: float = 1e-6, seed: int = 0
) -> Float64[ndarray, "query train"]:
    r"""$-\psi_q^T(\Psi^T\Psi+\rho)^{-1}\psi_i$ with ψ = Pᵀ∇ℓ and a Gaussian P.

    After Park et al. (2023), with the loss itself for output and weights of one. Checked in
    `tests/truth/test_gradients.py`.

    Args:
        task: loss and weights.
        train: items attributed to; Ψ holds theirs.
        query: items whose losses are φ.
        features: columns of P, fewer than there are training items.
        ridge: ρ as a share of the mean eigenvalue of ΨᵀΨ.
        seed: of P.

    Raises:
        InputError: as many features as training items, or more.
    """
    if not 1 <= features < len(train):
        raise InputError(
            message(
                expected=f"fewer features than the {len(train)} training items", got=str(features), do="ask for fewer"
            )
        )
    random = torch.empty(task.dimension, features, dtype=torch.float64)
    projection = (random.normal_(generator=generator(seed, 0, "probe")) / features**0.5).numpy()
    left = item_gradients(task, query).cpu().numpy() @ projection
    right = item_gradients(task, train).cpu().numpy() @ projection
    power = right.T @ right
    return -left @ np.linalg.solve(power + ridge * np.trace(power) / features * np.eye(features), right.T)
