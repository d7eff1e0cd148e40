r"""The resolution curve: λ̂ as a function of nβ, and what it says of λ and its multiplicity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.optimize import least_squares

_MULTIPLICITIES = (1, 2, 3, 4)
_CLEAR = 6.0  # difference in χ² that tells two multiplicities apart
_FEWEST = 3
_LARGEST_OFFSET = 6.0  # of c: it is about ln(16/γ²) for a crossing; without a bound any m fits a constant


@dataclass(frozen=True)
class ResolutionPoint:
    """λ̂ ± se at one nβ, nats."""

    nbeta: float
    llc: float
    se: float


@dataclass(frozen=True)
class Resolution:
    r"""λ̂(nβ) and its extrapolation $\hat\lambda(n\beta)\approx\lambda-(m-1)/(\ln n\beta+c)$.

    Attributes:
        points: the curve.
        llc: λ extrapolated to nβ → ∞, nats; NaN with fewer than three points.
        se: its standard error, nats; the scatter over multiplicities that the curve does not exclude is in it.
        multiplicity: m, where the curve tells it from all others; None where it does not.
        misfit: χ² a degree of freedom of the best fit.
    """

    points: tuple[ResolutionPoint, ...]
    llc: float
    se: float
    multiplicity: int | None
    misfit: float

    def __str__(self) -> str:
        m = "not told by the curve" if self.multiplicity is None else str(self.multiplicity)
        return f"λ = {self.llc:.4g} ± {self.se:.2g} nats extrapolated to nβ → ∞, multiplicity {m}"


def resolution_of(tree: xr.DataTree) -> Resolution | None:
    """The curve that was measured beside an estimate; None where it was not."""
    if "resolution" not in tree.children:
        return None
    data = tree["resolution"].dataset
    columns = (data[name].values for name in ("nbeta", "llc", "se"))
    return resolution([ResolutionPoint(*map(float, row)) for row in zip(*columns, strict=True)])


def resolution(points: Sequence[ResolutionPoint]) -> Resolution:
    """Fits the curve for m = 1 … 4, c ≤ 6, and keeps what the data do not exclude.

    Source: 2510.12077 eq. (8)–(9) and Watanabe (2009): the free energy λ ln n − (m−1) ln ln n. Checked against the
    closed form of w₁²w₂² in `tests/truth/test_resolution.py`.

    Args:
        points: from the smallest nβ to the largest; those whose λ̂ is not finite are left out of the fit.
    """
    usable = [p for p in points if math.isfinite(p.llc) and p.se > 0]
    if len(usable) < _FEWEST:
        return Resolution(tuple(points), math.nan, math.nan, None, math.nan)
    x = np.log([p.nbeta for p in usable])
    y, error = (np.array([getattr(p, name) for p in usable]) for name in ("llc", "se"))
    fits = {m: _fit(x, y, error, m) for m in _MULTIPLICITIES}
    best = min(fits.values(), key=lambda fit: fit[2])
    left = {m: fit for m, fit in fits.items() if fit[2] <= best[2] + _CLEAR}
    weights = np.exp([-0.5 * (fit[2] - best[2]) for fit in left.values()])
    values = np.array([fit[0] for fit in left.values()])
    mean = float((weights * values).sum() / weights.sum())
    spread = float((weights * (values - mean) ** 2).sum() / weights.sum())
    within = float((weights * np.array([fit[1] ** 2 for fit in left.values()])).sum() / weights.sum())
    multiplicity = next(iter(left)) if len(left) == 1 else None
    freedom = max(len(usable) - 2, 1)
    return Resolution(tuple(points), mean, math.sqrt(within + spread), multiplicity, best[2] / freedom)


def _fit(x: np.ndarray, y: np.ndarray, error: np.ndarray, m: int) -> tuple[float, float, float]:
    """λ, its standard error and χ² at one multiplicity."""
    if m == 1:
        weight = 1 / error**2
        value = float((weight * y).sum() / weight.sum())
        return value, float(weight.sum() ** -0.5), float((((y - value) / error) ** 2).sum())

    def residuals(parameters: np.ndarray) -> np.ndarray:
        limit, log_offset = parameters
        return (limit - (m - 1) / (x - x[0] + np.exp(log_offset)) - y) / error

    top = max(float(x[0]), 0.0) + _LARGEST_OFFSET
    bounds = ([-np.inf, math.log(0.1)], [np.inf, math.log(top)])
    starts = [np.array([y[-1] + 0.1, math.log(share * top)]) for share in (0.1, 0.5, 0.95)]
    found = min((least_squares(residuals, s, bounds=bounds) for s in starts), key=lambda r: r.cost)
    covariance = np.linalg.pinv(found.jac.T @ found.jac)
    return float(found.x[0]), float(math.sqrt(covariance[0, 0])), float(2 * found.cost)
