"""What a discretised Langevin chain does exactly on a quadratic, known before sampling."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import InputError, message


def stationary_variance(
    curvature: Float[ndarray, " parameter"], *, nbeta: float, gamma: float, step_size: float
) -> Float[ndarray, " parameter"]:
    r"""Stationary variance of full-batch SGLD on L = ½Σ h_i w_i², for each coordinate.

    $v_i = 1/[\kappa_i(1-\epsilon\kappa_i/4)]$ with $\kappa_i = n\beta h_i + \gamma$. A fixed diagonal preconditioner A
    is covered by passing $\epsilon A_i\kappa_i$ through `step_size` coordinate by coordinate (diagonal Hessian).

    Checked in `tests/truth/test_finite_step.py`.

    Args:
        curvature: h_i, nats per squared unit of weight.
        nbeta: nβ.
        gamma: γ.
        step_size: ε.

    Raises:
        InputError: the step is unstable in some direction (εκ ≥ 4).
    """
    kappa = nbeta * np.asarray(curvature, dtype=np.float64) + gamma
    _check_stable(step_size * kappa)
    return 1 / (kappa * (1 - step_size * kappa / 4))


def finite_step_llc(curvature: Float[ndarray, " parameter"], *, nbeta: float, gamma: float, step_size: float) -> float:
    r"""λ̂ that full-batch SGLD converges to on L = ½Σ h_i w_i² at step size ε; nats.

    $\hat\lambda_\epsilon=\tfrac12\sum_i n\beta h_i/[\kappa_i(1-\epsilon\kappa_i/4)]$; with ε → 0, the exact estimand at
    (nβ, γ). Checked in `tests/truth/test_finite_step.py`.

    Raises:
        InputError: the step is unstable in some direction (εκ ≥ 4).
    """
    h = np.asarray(curvature, dtype=np.float64)
    return float(0.5 * nbeta * np.sum(h * stationary_variance(h, nbeta=nbeta, gamma=gamma, step_size=step_size)))


def noise_only_variance(*, gamma: float, step_size: float, burn_in: int, draws: int, start_variance: float) -> float:
    r"""Mean variance of a weight over the kept draws of a chain with nβ = 0: the pull and the noise, no likelihood.

    $x_{t+1}=\rho^2x_t+\epsilon$ with $\rho=1-\epsilon\gamma/2$, averaged over burn_in ≤ t < burn_in + draws. The
    control for "is it only sensitivity to weight noise?". Checked in `tests/truth/test_finite_step.py`.

    Args:
        gamma: γ ≥ 0.
        step_size: ε (times A for a preconditioned sampler).
        burn_in: steps of the chain that do not count.
        draws: steps that count.
        start_variance: variance of a weight at the start (0 at w*, 1/γ for a noisy start).
    """
    contraction = (1 - step_size * gamma / 2) ** 2
    variance, total = start_variance, 0.0
    for step in range(burn_in + draws):
        if step >= burn_in:
            total += variance
        variance = contraction * variance + step_size
    return total / draws


def discretisation_share(step_times_kappa: float) -> float:
    r"""Relative excess of the variance in a direction with εκ (or εAκ): $(\epsilon\kappa/4)/(1-\epsilon\kappa/4)$.

    An upper bound on the relative discretisation bias of λ̂ when given the largest εκ; infinite where unstable.
    """
    x = step_times_kappa / 4
    return float("inf") if x >= 1 else x / (1 - x)


def relaxation_steps(step_times_kappa: float) -> float:
    r"""Steps in which a direction with εκ forgets its start: $-1/\ln|1-\epsilon\kappa/2|$."""
    rho = abs(1 - step_times_kappa / 2)
    if rho >= 1:
        return float("inf")
    return 0.0 if rho == 0 else -1 / float(np.log(rho))


def _check_stable(step_times_kappa: Float[ndarray, " parameter"]) -> None:
    worst = float(np.max(step_times_kappa))
    if worst >= 4:
        raise InputError(message(expected="ε·κ < 4 in every direction", got=f"{worst:.3g}", do="reduce the step size"))
