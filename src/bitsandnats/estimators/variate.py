"""The mean excess less what a statistic of known mean explains of its scatter."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.diagnostics import Convergence, convergence, regression_coefficient


def adjusted(
    tree: xr.DataTree, excess: Float[ndarray, "chain draw"], raw: Convergence
) -> tuple[Convergence, dict[str, float]]:
    r"""Convergence of $\Delta-bC/(n\beta)$ for the excess Δ and the draws' `variate` C, E[C] = 0, and figures of it.

    One coefficient b for all chains, by least squares with the chains' means removed. Where that does not make the
    standard error smaller, b = 0: on losses far from quadratic C scatters more than it explains. Figures: b; by how
    much the variance of the mean falls; the mean of C with its standard error, in nats, which is 0 in a stationary
    chain. Source: Mira, Solgi & Imparato (2013). Checked in `tests/truth/test_variates.py`.

    Args:
        tree: the draws.
        excess: L(w) − L(w*) of each draw, nats a unit.
        raw: its convergence.
    """
    draws = tree["draws"].dataset
    if "variate" not in draws or excess.shape[1] < 4:
        return raw, {}
    nbeta, variate = float(tree.attrs["nbeta"]), draws["variate"].values
    own = convergence(variate)
    figures = {"variate_mean": own.mean, "variate_mean_se": own.se}
    coefficient = regression_coefficient(nbeta * excess, variate)
    found = convergence(excess - coefficient * variate / nbeta)
    if not (np.isfinite(found.se) and found.se < raw.se):
        return raw, {**figures, "variate_coefficient": 0.0, "variate_ratio": 1.0}
    ratio = (raw.se / found.se) ** 2 if found.se > 0 else np.inf
    return found, {**figures, "variate_coefficient": coefficient, "variate_ratio": float(ratio)}
