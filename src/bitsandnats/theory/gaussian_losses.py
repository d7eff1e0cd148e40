"""Covariances of quadratic losses over a Gaussian: what influence, kernel and susceptibility are on quadratics."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def loss_covariance(
    hessians: Float[ndarray, "one d d"],
    gradients: Float[ndarray, "one d"],
    other_hessians: Float[ndarray, "two d d"],
    other_gradients: Float[ndarray, "two d"],
    covariance: Float[ndarray, "d d"],
) -> Float[ndarray, "one two"]:
    r"""$Cov(\ell_i,\ell_j)=g_i^T\Sigma g_j+\tfrac12tr(H_i\Sigma H_j\Sigma)$, squared nats.

    Checked in `tests/truth/test_influence.py`.

    Args:
        hessians: H_i.
        gradients: g_i at the Gaussian's mean.
        other_hessians: H_j.
        other_gradients: g_j at the mean.
        covariance: Σ of the weights.
    """
    linear = gradients @ covariance @ other_gradients.T
    first, second = hessians @ covariance, other_hessians @ covariance
    return linear + 0.5 * np.einsum("aij,bji->ab", first, second)


def posterior_covariance(hessian: Float[ndarray, "d d"], *, nbeta: float, gamma: float) -> Float[ndarray, "d d"]:
    r"""Σ = (nβH + γ)⁻¹ of the local posterior of a quadratic mean loss.

    Args:
        hessian: of the mean loss.
        nbeta: nβ.
        gamma: γ.
    """
    return np.linalg.inv(nbeta * hessian + gamma * np.eye(len(hessian)))


def two_chain_susceptibility(
    hessian: Float[ndarray, "d d"],
    probe: Float[ndarray, "d d"],
    component: Int[ndarray, " c"],
    *,
    nbeta: float,
    gamma: float,
) -> float:
    r"""What the two-chain estimator converges to on quadratics with a common minimum; squared nats.

    $\hat\chi=-[\tfrac12tr(A\Sigma_CB\Sigma_C)+\tfrac12tr(A\Sigma_C)(\tfrac12tr(B\Sigma_C)-\tfrac12tr(B_{full}\Sigma))]$
    with A = H and B = H_xy − H on the component's coordinates, Σ_C = (nβA + γ)⁻¹. Checked in
    `tests/truth/test_susceptibility.py`.

    Args:
        hessian: H of the mean loss L.
        probe: H_xy of the probe's loss.
        component: indices of the coordinates that move in the component's chain.
        nbeta: nβ.
        gamma: γ.
    """
    inside = np.ix_(component, component)
    a, b = hessian[inside], (probe - hessian)[inside]
    alone = posterior_covariance(a, nbeta=nbeta, gamma=gamma)
    full = posterior_covariance(hessian, nbeta=nbeta, gamma=gamma)
    joint = 0.5 * np.trace(a @ alone @ b @ alone)
    shift = 0.5 * np.trace(b @ alone) - 0.5 * np.trace((probe - hessian) @ full)
    return -float(joint + 0.5 * np.trace(a @ alone) * shift)
