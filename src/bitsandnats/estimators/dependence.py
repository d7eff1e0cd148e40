r"""How λ̂ depends on the pull and on the temperature: the difference between an estimate and λ.

With f = nβ(L(w) − L(w*)), q = nβ(w−w*)·∇L(w) and the exact tempered posterior,

$$\frac{d\hat\lambda}{d\ln\gamma}=-\tfrac12\left(E[q]-Cov(f,q)\right),\qquad
\frac{d\hat\lambda}{d\ln n\beta}=\hat\lambda-Var(f).$$

The first is −(γ/2)Cov(f, ‖w−w*‖²), rewritten by Stein's identity so that directions in which the loss is flat add no
noise. On a quadratic both are ½Σ x(1−x), x = nβh/(nβh+γ), but for the sign. Checked in
`tests/truth/test_dependence.py`.
"""

import math

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.diagnostics import convergence


def dependence(tree: xr.DataTree, excess: Float[ndarray, "chain draw"], llc: float, *, full: bool) -> dict[str, float]:
    """Relative change of λ̂ per e-fold of γ and of nβ, each with its standard error.

    Args:
        tree: the draws; `stronger_pull` among its groups is the same measurement at a larger γ.
        excess: L(w) − L(w*) of each draw, nats a unit.
        llc: λ̂, nats.
        full: every draw's loss is that of all data; with mini-batches the covariance with the squared distance is
            used instead, and nothing is said of nβ.
    """
    draws = tree["draws"].dataset
    if not llc > 0 or excess.shape[1] < 4:
        return {}
    nbeta, gamma = float(tree.attrs["nbeta"]), float(tree.attrs["gamma"])
    found: dict[str, float] = {}
    f = nbeta * (excess - excess.mean())
    if full and "likelihood_virial" in draws:
        q = draws["likelihood_virial"].values
        by_gamma = convergence(-0.5 * (q - f * (q - q.mean())))
        by_nbeta = convergence(llc - f * f)
        found |= {"nbeta_slope": by_nbeta.mean / llc, "nbeta_slope_se": by_nbeta.se / llc}
    elif "distance_squared" in draws:
        squares = draws["distance_squared"].values
        by_gamma = convergence(-gamma / 2 * f * (squares - squares.mean()))
    else:
        return {}
    return found | {"gamma_slope": by_gamma.mean / llc, "gamma_slope_se": by_gamma.se / llc}


def other_pulls(tree: xr.DataTree, llc: float, se: float) -> dict[str, float]:
    """How λ̂ differs at other pulls, as shares of λ̂, with standard errors.

    `pull_share` is how much less it is at the stronger pull, `weaker_share` how much more at the weaker.

    Args:
        tree: the draws, with groups `stronger_pull` and `weaker_pull` where they were measured: `llc` and `se` at
            `gamma`, as attributes.
        llc: λ̂, nats.
        se: its standard error.
    """
    found: dict[str, float] = {}
    for name, share, sign in (("stronger", "pull_share", -1), ("weaker", "weaker_share", 1)):
        other = tree[f"{name}_pull"].attrs if f"{name}_pull" in tree.children else {}
        if llc > 0 and math.isfinite(other.get("llc", math.nan)):
            found |= {
                f"{name}_gamma": float(other["gamma"]),
                f"{name}_llc": float(other["llc"]),
                share: sign * (float(other["llc"]) - llc) / llc,
                f"{share}_se": math.hypot(se, float(other["se"])) / llc,
            }
    return found


def virial(tree: xr.DataTree) -> dict[str, float]:
    r"""The two terms of the virial identity, as shares of the dimension d.

    $E[(w-w^*)\cdot G]=d+\tfrac\epsilon4E\lVert G\rVert^2$ exactly for an unadjusted chain in its stationary state, and
    without the second term for an exact one. `virial_step` is that term (discretisation and gradient noise);
    `virial_gap` what is missing beyond it: directions that are still spreading. Not given with a preconditioner, which
    adapts, nor for samplers with momentum. Checked in `tests/truth/test_virial.py`.
    """
    draws, attrs = tree["draws"].dataset, tree.attrs
    known = exact(tree) or (attrs.get("dynamics") == "langevin" and "preconditioner_mean" not in draws)
    if "virial" not in draws or not known or not float(attrs["gamma"]) > 0:
        return {}
    dimension = float(attrs["dimension"])
    step = np.zeros(1)
    if not exact(tree):
        step = float(attrs["step_size"]) / 4 * draws["gradient_norm_squared"].values
    gap = convergence(dimension + step - draws["virial"].values)
    return {
        "virial_step": float(step.mean()) / dimension,
        "virial_gap": gap.mean / dimension,
        "virial_gap_se": gap.se / dimension,
    }


def exact(tree: xr.DataTree) -> bool:
    """The draws come from a sampler with accept/reject, whose stationary law no step biases."""
    return tree.attrs.get("dynamics") == "exact"


def identical_chains(tree: xr.DataTree) -> bool:
    """Two chains with the same losses: copies of each other, not independent evidence."""
    losses = tree["draws"].dataset["loss"].values
    if losses.shape[0] < 2 or losses.shape[1] < 2 or np.ptp(losses) == 0:
        return False
    return len(np.unique(losses, axis=0)) < len(losses)
