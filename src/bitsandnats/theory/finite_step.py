"""What a discretised Langevin chain does exactly on a quadratic, known before sampling."""

from typing import cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import solve_discrete_lyapunov
from scipy.optimize import brentq

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


def sghmc_variance(
    curvature: Float[ndarray, " parameter"],
    *,
    nbeta: float,
    gamma: float,
    step_size: float,
    friction: float,
    noise_variance: float = 0.0,
) -> Float[ndarray, " parameter"]:
    r"""Stationary variance of SGHMC's weights on L = ½Σ h_i w_i², for each coordinate.

    $\frac{1+\epsilon V/4\alpha}{\kappa_i[1-\epsilon\kappa_i/4(2-\alpha)]}$, here as the solution of the discrete
    Lyapunov equation of (w, r). Checked in `tests/truth/test_sghmc.py`.

    Args:
        curvature: h_i, nats per squared unit of weight.
        nbeta: nβ.
        gamma: γ.
        step_size: ε.
        friction: α.
        noise_variance: V, the variance of the noise in nβ g_B that the sampler does not allow for.

    Raises:
        InputError: the step is unstable in some direction (εκ ≥ 4(2−α)).
    """
    kappa = nbeta * np.asarray(curvature, dtype=np.float64) + gamma
    noise = 2 * friction + step_size / 2 * noise_variance
    return _momentum_law(kappa, step_size, friction, noise)[:, 0, 0]


def sgnht_law(
    curvature: Float[ndarray, " parameter"],
    *,
    nbeta: float,
    gamma: float,
    step_size: float,
    friction: float,
    noise_variance: float = 0.0,
) -> tuple[Float[ndarray, " parameter"], float]:
    r"""Variance of SGNHT's weights on L = ½Σ h_i w_i², and the friction ζ that its thermostat settles at.

    Exact where ζ hardly fluctuates, that is for many weights: ζ is what makes the mean of E[r²] over the weights 1,
    and the rest is SGHMC with that friction. As ε → 0, $ζ\to1-\sqrt{1-2\alpha}\approx\alpha$ and the variance tends to
    $(1-ζ/2)/\kappa_i$: α must be small as well. Checked in `tests/truth/test_sgnht.py`.

    Args:
        curvature: h_i, nats per squared unit of weight.
        nbeta: nβ.
        gamma: γ.
        step_size: ε.
        friction: α.
        noise_variance: V, the variance of the noise in nβ g_B.

    Raises:
        InputError: no friction makes the step stable and the temperature 1.
    """
    kappa = nbeta * np.asarray(curvature, dtype=np.float64) + gamma
    noise = 2 * friction + step_size / 2 * noise_variance
    most = 2 - step_size * float(kappa.max()) / 4  # beyond, the stiffest direction is unstable
    distinct, counts = np.unique(kappa, return_counts=True)

    def excess(zeta: float) -> float:
        temperature = _momentum_law(distinct, step_size, zeta, noise)[:, 1, 1]
        return float(np.average(temperature, weights=counts)) - 1

    grid = np.linspace(0, min(most, 1.0), 201)[1:-1] if most > 0 else np.zeros(0)
    cold = next((float(zeta) for zeta in grid if excess(zeta) < 0), None)
    if cold is None:
        got = f"ε·κ up to {step_size * float(kappa.max()):.3g} at α = {friction}"
        raise InputError(message(expected="a friction that keeps the temperature", got=got, do="reduce the step size"))
    zeta = cast(float, brentq(excess, 1e-9 * cold, cold, xtol=1e-14))
    return _momentum_law(kappa, step_size, zeta, noise)[:, 0, 0], zeta


def adam_sgld_variance(
    curvature: Float[ndarray, " parameter"],
    *,
    nbeta: float,
    gamma: float,
    step_size: float,
    drift_decay: float,
    preconditioner: Float[ndarray, " parameter"] | float = 1.0,
) -> Float[ndarray, " parameter"]:
    r"""Stationary variance of AdamSGLD's weights on L = ½Σ h_i w_i² with A frozen, for each coordinate.

    Of the chain (w, m): $m'=\beta_1m+(1-\beta_1)hw$,
    $w'=w-\tfrac\epsilon2A(n\beta m'+\gamma w)+\sqrt{\epsilon A}\,\eta$, by its discrete Lyapunov equation.
    At β₁ = 0 it is `stationary_variance`. Checked in `tests/truth/test_adam_sgld.py`.

    Args:
        curvature: h_i, nats per squared unit of weight.
        nbeta: nβ.
        gamma: γ.
        step_size: ε.
        drift_decay: β₁.
        preconditioner: A, one a coordinate or one for all.

    Raises:
        InputError: the step is unstable in some direction.
    """
    h = np.asarray(curvature, dtype=np.float64)
    half = step_size / 2 * np.broadcast_to(preconditioner, h.shape)
    zero = np.zeros_like(h)
    transition = np.array(
        [
            [1 - half * (gamma + nbeta * (1 - drift_decay) * h), -half * nbeta * drift_decay],
            [(1 - drift_decay) * h, drift_decay + zero],
        ]
    )
    return _stationary(np.moveaxis(transition, 2, 0), np.moveaxis(np.array([[2 * half, zero], [zero, zero]]), 2, 0))[
        :, 0, 0
    ]


def _momentum_law(
    kappa: Float[ndarray, " parameter"], step_size: float, friction: float, noise: float
) -> Float[ndarray, "parameter 2 2"]:
    """Covariance of (w, r) under r' = (1−α)r − hκw + √noise η, w' = w + hr', h² = ε/2."""
    h, kept, one = (step_size / 2) ** 0.5, 1 - friction, np.ones_like(kappa)
    transition = np.array([[1 - h * h * kappa, h * kept * one], [-h * kappa, kept * one]])
    shock = noise * np.outer([h, 1], [h, 1])
    return _stationary(np.moveaxis(transition, 2, 0), np.broadcast_to(shock, (len(kappa), 2, 2)))


def _stationary(
    transition: Float[ndarray, "parameter 2 2"], shock: Float[ndarray, "parameter 2 2"]
) -> Float[ndarray, "parameter 2 2"]:
    """Σ = MΣMᵀ + Q of each coordinate."""
    radius = float(np.abs(np.linalg.eigvals(transition)).max())
    if radius >= 1:
        raise InputError(
            message(
                expected="a stable step in every direction", got=f"growth by {radius:.3g}", do="reduce the step size"
            )
        )
    return np.stack([solve_discrete_lyapunov(m, q) for m, q in zip(transition, shock, strict=True)])


def _check_stable(step_times_kappa: Float[ndarray, " parameter"]) -> None:
    worst = float(np.max(step_times_kappa))
    if worst >= 4:
        raise InputError(message(expected="ε·κ < 4 in every direction", got=f"{worst:.3g}", do="reduce the step size"))
