"""The estimand itself, by numerical integration in one or two dimensions."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import kve

_POINTS = 4001
_REACH = 12.0


def exact_llc(
    loss: Callable[..., Float[ndarray, "..."]],
    dimension: int,
    *,
    nbeta: float,
    gamma: float,
    reach: float | None = None,
) -> float:
    r"""λ̂(nβ, γ) = nβ E[L] under $p\propto\exp(-n\beta L-\tfrac\gamma2\lVert w\rVert^2)$, L minimal with L(0) = 0.

    A trapezoidal sum on a grid out to 12 standard deviations of the pull: spectrally accurate for smooth densities
    that vanish at its border. Checked against the closed form of w₁²w₂² in `tests/truth/test_llc.py`.

    Args:
        loss: takes one array a coordinate.
        dimension: 1 or 2.
        nbeta: nβ.
        gamma: γ > 0.
        reach: half-width of the grid; by default 12/√γ.
    """
    half = reach or _REACH / math.sqrt(gamma)
    # a grid that is finer near 0, where high nβ squeezes the density: w = half·sinh(a u)/sinh(a)
    a = 6.0
    u = np.linspace(-1, 1, _POINTS)
    w = half * np.sinh(a * u) / math.sinh(a)
    jacobian = np.cosh(a * u)
    if dimension == 1:
        values = loss(w)
        weight = np.exp(-nbeta * values - gamma / 2 * w**2) * jacobian
        return float(nbeta * (values * weight).sum() / weight.sum())
    x, y = np.meshgrid(w, w, indexing="ij", sparse=True)
    values = loss(x, y)
    weight = np.exp(-nbeta * values - gamma / 2 * (x**2 + y**2)) * jacobian[:, None] * jacobian[None, :]
    return float(nbeta * (values * weight).sum() / weight.sum())


def exact_llc_of_crossing(*, nbeta: float, gamma: float) -> float:
    r"""λ̂(nβ, γ) for L = w₁²w₂² in closed form: $\tfrac12+a[1-K_1(a)/K_0(a)]$, $a=\gamma^2/8n\beta$.

    Checked against `exact_llc` in `tests/truth/test_llc.py`.

    Args:
        nbeta: nβ.
        gamma: γ > 0.
    """
    a = gamma**2 / (8 * nbeta)
    return float(0.5 + a * (1 - kve(1, a) / kve(0, a)))
