"""TRAK-like: gradients projected at random and whitened by their second moment."""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from bitsandnats._rng import generator
from bitsandnats._types import Data
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.features import Scores, scores
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.task import Task


def projected_influence(
    task: Task, train: Data, query: Data, *, features: int = 128, ridge: float = 1e-6, seed: int = 0
) -> Scores:
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
    check_features(features, len(train))
    left, right = (item_gradients(task, data).cpu().numpy() for data in (query, train))
    return scores(*projected_features(left, right, features=features, ridge=ridge, seed=seed))


def projected_features(
    query: Float64[ndarray, "query parameter"],
    train: Float64[ndarray, "train parameter"],
    *,
    features: int,
    ridge: float = 1e-6,
    seed: int = 0,
) -> tuple[Float64[ndarray, "query feature"], Float64[ndarray, "train feature"]]:
    """L⁻¹ψ of queries and of training items, with LLᵀ = ΨᵀΨ + ρ: their inner products are TRAK's scores.

    Args:
        query: gradients of the queries' losses.
        train: gradients of the training items' losses.
        features: columns of P.
        ridge: ρ as a share of the mean eigenvalue of ΨᵀΨ.
        seed: of P.
    """
    random = torch.empty(train.shape[1], features, dtype=torch.float64)
    projection = (random.normal_(generator=generator(seed, 0, "probe")) / features**0.5).numpy()
    left, right = query @ projection, train @ projection
    power = right.T @ right
    root = np.linalg.cholesky(power + ridge * np.trace(power) / features * np.eye(features))
    return np.linalg.solve(root, left.T).T, np.linalg.solve(root, right.T).T


def check_features(features: int, items: int) -> None:
    """Refuses more features than training items can fill.

    Raises:
        InputError: as said.
    """
    if not 1 <= features < items:
        raise InputError(
            message(expected=f"fewer features than the {items} training items", got=str(features), do="ask for fewer")
        )
