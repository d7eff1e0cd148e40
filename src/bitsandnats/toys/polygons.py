"""The toy model of superposition at its regular polygons: more sparse features than hidden units."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import minimize
from torch import Tensor, nn

from bitsandnats import losses
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task
from bitsandnats.theory.learning_coefficient import minimally_singular
from bitsandnats.toys.types import Toy

_DEAD = -0.5  # bias of a feature that is not represented
_CORNERS = (5, 8)


def superposition(features: int = 6, corners: int = 6, *, points: int = 200) -> Toy:
    r"""The map x ↦ relu(WᵀWx + b) with W ∈ R^{2×c} at a regular k-gon of its columns: λ = (3k − 1)/2, m = 1.

    The inputs are so sparse that one feature is active, $x=u\,e_i$ with u uniform in [0, 1] (here on a grid of
    midpoints); L = ½E‖x − f(x)‖². The first k columns of W are the corners of a regular polygon and the biases there
    equal, both such that the gradient vanishes. The other features have zero columns and a negative bias: all three of
    their weights are free. The rest turns in the plane, one flat direction, and the Hessian of the expected loss has
    full rank across (`tests/truth/test_known_answers.py`). Elhage et al. 2022; Chen et al. 2023 for the polygons.

    Args:
        features: c ≥ k.
        corners: k, from 5 to 8, where the polygon is a minimum with negative biases.
        points: values of u; n = c × points.

    Raises:
        InputError: a polygon of which this is not known.
    """
    if not _CORNERS[0] <= corners <= min(features, _CORNERS[1]):
        raise InputError(
            message(
                expected=f"{_CORNERS[0]} to {_CORNERS[1]} corners and at least as many features",
                got=f"{corners} corners, {features} features",
                do="change one of them",
            )
        )
    grid = (np.arange(points) + 0.5) / points
    length, bias = _best_polygon(corners, grid)
    angles = 2 * np.pi * np.arange(corners) / corners
    weight = np.zeros((2, features))
    weight[:, :corners] = length * np.stack([np.cos(angles), np.sin(angles)])
    shift = np.full(features, _DEAD)
    shift[:corners] = bias
    inputs = torch.as_tensor(np.kron(np.eye(features), grid[:, None]))
    module = _Autoencoder(torch.as_tensor(weight), torch.as_tensor(shift))
    return Toy(
        task=Task.from_module(module, losses.gaussian(), (inputs, inputs)),
        coefficient=minimally_singular(3 * corners),
        exact=None,
        samples=float(features * points),
        summary=f"toy model of superposition: {features} features in 2 dimensions, at the regular {corners}-gon",
    )


def _best_polygon(corners: int, grid: Float[ndarray, " point"]) -> tuple[float, float]:
    """Distance of the corners from 0 and bias that make the loss of one active corner least."""
    cosines = np.cos(2 * np.pi * np.arange(corners) / corners)[:, None]

    def loss(place: Float[ndarray, " two"]) -> float:
        outputs = np.maximum(place[0] ** 2 * cosines * grid + place[1], 0)
        outputs[0] -= grid
        return float((outputs**2).sum(0).mean())

    found = minimize(
        loss, np.array([1.2, -0.3]), method="Nelder-Mead", options={"xatol": 1e-13, "fatol": 1e-18, "maxiter": 2000}
    )
    return float(found.x[0]), float(found.x[1])


class _Autoencoder(nn.Module):
    def __init__(self, weight: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.weight, self.shift = nn.Parameter(weight), nn.Parameter(shift)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs @ self.weight.T @ self.weight + self.shift)
