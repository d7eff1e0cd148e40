r"""The estimand λ̂(nβ, γ) = nβE[L] itself, in closed form or by integrals that stay accurate at any temperature.

`exact_llc` of `theory.quadrature` takes any loss of one or two weights, on a grid that ridges of width 1/√nβ escape at
large nβ. Here the variables are such that nothing has a scale: logarithms of lengths, in which singularities are smooth
and a trapezoidal sum converges exponentially. Every function is compared with a refined grid, a closed form or an
independent integral in `tests/truth/test_finite_temperature.py`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import kve

from bitsandnats.errors import InputError, message

_SPAN = 50.0  # logarithm of longest over shortest length
_STEPS = {1: 0.02, 2: 0.08, 3: 0.25}  # by number of lengths
_TAIL = 60.0  # where exp(-t) ends


def quadratic_llc(curvature: Float[ndarray, " parameter"], *, nbeta: float, gamma: float) -> float:
    r"""λ̂(nβ, γ) of L = ½Σ h_i w_i²: $\tfrac12\sum n\beta h_i/(n\beta h_i+\gamma)$.

    Args:
        curvature: h_i ≥ 0, nats per squared unit of weight.
        nbeta: nβ.
        gamma: γ > 0.
    """
    h = np.asarray(curvature, dtype=np.float64)
    return float(0.5 * np.sum(nbeta * h / (nbeta * h + gamma)))


def quartic_llc(*, nbeta: float, gamma: float) -> float:
    r"""λ̂(nβ, γ) of L = w⁴: $\tfrac12+z+zK'_{1/4}(z)/K_{1/4}(z)$, $z=\gamma^2/32n\beta$; 1/4 as z → 0.

    Args:
        nbeta: nβ.
        gamma: γ > 0.
    """
    z = gamma**2 / (32 * nbeta)
    slope = -kve(0.75, z) / kve(0.25, z) - 0.25 / z  # K'/K by its recurrence, the exponentials cancelling
    return float(0.5 + z + z * slope)


def lengths_llc(
    loss: Callable[..., Float[ndarray, "..."]],
    dimensions: Sequence[int],
    *,
    nbeta: float,
    gamma: float,
    step: float | None = None,
) -> float:
    r"""λ̂(nβ, γ) of a loss that depends on the lengths of one to three groups of weights only.

    With $|w_i|=e^{s_i}$, $w_i\in R^{d_i}$, the density in s is
    $\exp\{-n\beta L-\tfrac\gamma2\sum e^{2s_i}+\sum d_is_i\}$: a trapezoidal sum over s. With groups of one weight it
    serves for losses that are even in each weight.

    Args:
        loss: takes one array of lengths a group, non-negative; minimal with L = 0 at 0.
        dimensions: d_i, weights of each group.
        nbeta: nβ.
        gamma: γ > 0.
        step: of the sum, in units of s; by default fine enough for losses up to the fourth power of a length.

    Raises:
        InputError: no groups or more than three.
    """
    lengths, exponent = _lengths(dimensions, gamma, step)
    values = nbeta * np.asarray(loss(*lengths))
    return _mean(values, exponent - values)


def conditional_llc(
    curvature: Callable[..., Float[ndarray, "..."]],
    normal: int,
    dimensions: Sequence[int],
    *,
    nbeta: float,
    gamma: float,
    step: float | None = None,
) -> float:
    r"""λ̂(nβ, γ) of $L=\tfrac12h(|w_1|,\ldots)\lVert v\rVert^2$ with v ∈ R^k: quadratic in v given the other weights.

    v integrated out leaves a factor $(n\beta h+\gamma)^{-k/2}$ and $n\beta E[L|w]=\tfrac k2n\beta h/(n\beta h+\gamma)$:
    one length less than `lengths_llc` needs.

    Args:
        curvature: h ≥ 0, takes one array of lengths a remaining group.
        normal: k.
        dimensions: d_i, weights of each remaining group.
        nbeta: nβ.
        gamma: γ > 0.
        step: as in `lengths_llc`.

    Raises:
        InputError: no groups or more than three.
    """
    lengths, exponent = _lengths(dimensions, gamma, step)
    kappa = nbeta * np.asarray(curvature(*lengths)) + gamma
    return _mean(normal / 2 * (1 - gamma / kappa), exponent - normal / 2 * np.log(kappa))


def product_llc(*, nbeta: float, gamma: float) -> float:
    r"""λ̂(nβ, γ) of L = ½(ab − 1)² at w* = (1, 1), a regular point of a singular model: 1/2 and a correction.

    Given a, b is normal; what is left is $p(a)\propto\kappa^{-1/2}\exp\{-\tfrac\gamma2(a-1)^2(1+n\beta/\kappa)\}$ with
    $\kappa=n\beta a^2+\gamma$, and $2E[L|a]=a^2/\kappa+\gamma^2(a-1)^2/\kappa^2$. The other branch, a, b < 0, has its
    share e^{−4γ} or less.

    Args:
        nbeta: nβ.
        gamma: γ > 0.
    """
    width = 1 / math.sqrt(gamma)
    reach = 1 + math.sqrt(2 * _TAIL) * width
    a = np.linspace(1 - reach, 1 + reach, 200_001)
    kappa = nbeta * a**2 + gamma
    exponent = -gamma / 2 * (a - 1) ** 2 * (1 + nbeta / kappa) - 0.5 * np.log(kappa)
    return _mean(0.5 * nbeta * (a**2 / kappa + (gamma * (a - 1) / kappa) ** 2), exponent)


def two_unit_llc(inputs: int, outputs: int, *, nbeta: float, gamma: float, step: float = 0.1) -> float:
    r"""λ̂(nβ, γ) of L = ½‖BA‖² at 0, two hidden units: A is 2 × inputs, B outputs × 2.

    Given A's singular values σ₁ ≥ σ₂ the rows of B are normal. With p inputs and q outputs
    $p(\sigma)\propto(\sigma_1^2-\sigma_2^2)∏_i\sigma_i^{p-2}(n\beta\sigma_i^2+\gamma)^{-q/2}e^{-\gamma\sigma_i^2/2}$
    and $n\beta E[L|\sigma]=\tfrac q2\sum_in\beta\sigma_i^2/(n\beta\sigma_i^2+\gamma)$: a sum over ln σ₁ and the logit
    of σ₂/σ₁.

    Args:
        inputs: p ≥ 2.
        outputs: q ≥ 1.
        nbeta: nβ.
        gamma: γ > 0.
        step: of the sum, in units of ln σ₁ and of the logit.

    Raises:
        InputError: fewer than two inputs or no outputs.
    """
    if inputs < 2 or outputs < 1:
        raise InputError(
            message(expected="two inputs and one output or more", got=f"{inputs}, {outputs}", do="change the widths")
        )
    top = 0.5 * math.log((2 * _TAIL + 8 * inputs) / gamma)
    s = np.arange(top - _SPAN, top + step, step)[:, None]
    t = np.arange(-_SPAN, _SPAN / 2, step)[None, :]
    log_ratio = -np.logaddexp(0, -t)
    squares = [np.exp(2 * s), np.exp(2 * (s + log_ratio))]
    exponent = (2 * inputs) * s + (inputs - 1) * log_ratio - np.logaddexp(0, t) + np.log1p(np.exp(log_ratio))
    for x in squares:
        exponent = exponent - gamma / 2 * x - outputs / 2 * np.log(nbeta * x + gamma)
    # 1 − (σ₂/σ₁)² = (1 + τ)(1 − τ), the second factor once more from dτ = τ(1 − τ) dt
    exponent = exponent - np.logaddexp(0, t)
    seen = nbeta * np.stack(np.broadcast_arrays(*squares))
    return _mean(outputs / 2 * (seen / (seen + gamma)).sum(0), exponent)


def _lengths(
    dimensions: Sequence[int], gamma: float, step: float | None
) -> tuple[list[Float[ndarray, "..."]], Float[ndarray, "..."]]:
    """A grid of lengths, one broadcastable array a group, and the pull's log-density on it per unit of log-length."""
    groups = len(dimensions)
    if groups not in _STEPS:
        raise InputError(
            message(expected="one to three groups of weights", got=str(groups), do="treat independent groups apart")
        )
    step = step or _STEPS[groups]
    lengths, exponent = [], np.zeros(())
    for axis, d in enumerate(dimensions):
        top = 0.5 * math.log((2 * _TAIL + 4 * d) / gamma)
        s = np.arange(top - _SPAN, top + step, step).reshape([-1 if i == axis else 1 for i in range(groups)])
        lengths.append(np.exp(s))
        exponent = exponent + d * s - gamma / 2 * np.exp(2 * s)
    return lengths, exponent


def _mean(values: Float[ndarray, "..."], exponent: Float[ndarray, "..."]) -> float:
    """The mean of `values` under a density known by its logarithm."""
    weight = np.exp(exponent - exponent.max())
    return float((values * weight).sum() / weight.sum())
