"""λ̂ from stored draws, with its error bar, its controls and its verdict."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.dependence import dependence, exact, identical_chains, other_pulls, virial
from bitsandnats.estimators.diagnostics import convergence, regression_coefficient
from bitsandnats.estimators.resolution import Resolution, resolution_of
from bitsandnats.estimators.variate import adjusted
from bitsandnats.estimators.verdict import Verdict, judge
from bitsandnats.theory.finite_step import discretisation_share

_Z95 = 1.959964
_LAST = 10  # draws by which a preconditioner is seen to adapt


@dataclass(frozen=True)
class LLC:
    """An estimate of the local learning coefficient.

    Attributes:
        llc: λ̂(nβ, γ) = nβ(E[L] − L(w*)), nats; NaN where a chain diverged.
        se: its standard error, nats.
        verdict: may it be used, and may it be read as λ?
        figures: everything measured beside it, by name (`rhat`, `ess`, `excess`, `noise_only`, shares …).
        tree: the stored draws.
    """

    llc: float
    se: float
    verdict: Verdict
    figures: dict[str, float]
    tree: xr.DataTree

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval for the estimand λ̂(nβ, γ), nats."""
        return self.llc - _Z95 * self.se, self.llc + _Z95 * self.se

    @property
    def resolution(self) -> Resolution | None:
        """λ̂ at several temperatures and its extrapolation, where that control was asked for."""
        return resolution_of(self.tree)

    def __str__(self) -> str:
        figures = self.figures
        details = [f"R̂ {figures['rhat']:.2f}", f"ESS {figures['ess']:.0f}"] if "rhat" in figures else []
        if "step_share" in figures:
            details.append(f"step bias ≤ {figures['step_share']:.1%}")
        elif "acceptance" in figures:
            details.append("no step bias")
        shown = f"λ̂ = {_rounded(self.llc, self.se)} nats  {self.verdict}"
        return shown + (f"  ({', '.join(details)})" if details else "")


def excess_trace(tree: xr.DataTree, group: str = "draws") -> Float[ndarray, "chain draw"]:
    """L(w) − L(w*) of each draw, the batch's luck removed; nats a unit.

    Where the batch was evaluated at w* too, the excess is L_B(w) − L(w*) − b [L_B(w*) − L(w*)] with the regression
    coefficient b: pairing helps only as far as draws are local.
    """
    data = tree[group].dataset
    center = float(tree.attrs["center_loss"])
    loss = data["loss"].values - center
    baseline = data["baseline"].values - center
    if not tree.attrs["paired"] or not loss.size or not np.isfinite(baseline).all():
        return loss
    return loss - regression_coefficient(loss, baseline) * baseline


@np.errstate(over="ignore", invalid="ignore")  # a runaway chain is judged by the verdict
def estimate(tree: xr.DataTree) -> LLC:
    """λ̂ = nβ · mean excess loss over the draws after burn-in, with everything known about it.

    Where the draws hold a variate of known mean, λ̂, its error and the ESS are those of the excess less what it
    explains; R̂ and drift are always the excess's own, so that chains that disagree stay seen.

    Source: Lau et al. (2024); 2510.12077 eq. (10). Checked against quadrature in `tests/truth/test_llc.py`.

    Args:
        tree: from `run.sample`, perhaps with the controls of `recipes.controls`.
    """
    attrs = tree.attrs
    diverged = tuple(int(c) for c in np.flatnonzero(tree["draws"].dataset["diverged_at"].values >= 0))
    shares = _step_share(tree)
    if diverged:
        return LLC(math.nan, math.nan, judge(shares, diverged=diverged), shares, tree)
    nbeta = float(attrs["nbeta"])
    kept = attrs.get("statistics") != "none"
    excess = excess_trace(tree)
    raw = convergence(excess)
    known, of_variate = adjusted(tree, excess, raw)
    llc = nbeta * known.mean
    figures = {
        "excess": known.mean,
        "rhat": raw.rhat,
        "ess": known.ess,
        "drift": nbeta * raw.drift,
        "drift_se": nbeta * raw.drift_se,
        "drift_share": raw.drift / known.mean if known.mean else math.nan,
        "dimension": float(attrs["dimension"]),
        "gamma": float(attrs["gamma"]),
        **shares,
        **_noise_figures(tree, llc),
        **(_step_figures(tree, llc) if kept else {}),
        **_step_sensitivity(tree, llc),
        **of_variate,
    }
    chance = attrs.get("chance_loss")
    if chance is not None and chance > attrs["center_loss"]:
        figures["chance_share"] = known.mean / (chance - attrs["center_loss"])
    se = nbeta * math.hypot(known.se, float(attrs.get("center_loss_se", 0.0)))
    full = exact(tree) or float(attrs.get("batch_size", 0)) >= float(attrs.get("items", math.inf))
    figures |= {**dependence(tree, excess, llc, full=full), **other_pulls(tree, llc, se), **virial(tree)}
    figures["identical_chains"] = float(identical_chains(tree))
    return LLC(llc, se, judge({"llc": llc, "se": se, **figures}, step_kept=kept), figures, tree)


def _step_figures(tree: xr.DataTree, llc: float) -> dict[str, float]:
    """What needs the statistics of each step."""
    draws = tree["draws"].dataset
    langevin = tree.attrs.get("dynamics", "langevin") == "langevin"
    return {
        "distance": float(np.sqrt(draws["distance_squared"].values.mean())),
        "likelihood_virial": float(draws["likelihood_virial"].values.mean()),
        **_slope_figures(tree, llc),
        **({"mala_acceptance": float(tree.attrs["mala_acceptance"])} if "mala_acceptance" in tree.attrs else {}),
        **({"step_share": _step_bias(tree) / llc} if langevin and llc > 0 else {}),
    }


def _step_share(tree: xr.DataTree) -> dict[str, float]:
    attrs = tree.attrs
    if exact(tree):
        return {"acceptance": float(tree["draws"].dataset["acceptance"].mean())}
    if attrs.get("dynamics") == "momentum":
        return {"step_unbounded": 1.0}
    if "top_curvature" not in attrs:
        return {}
    curvature = max(float(attrs["top_curvature"]), 0.0)
    kappa = float(attrs["nbeta"]) * curvature + float(attrs["gamma"])
    draws = tree["draws"].dataset
    if "preconditioner_max" not in draws:
        return {"top_curvature": curvature, "discretisation_share": discretisation_share(attrs["step_size"] * kappa)}
    # where A is largest the loss is flattest: the pull alone is certain to be there, the top curvature is not
    scale = float(draws["preconditioner_max"].mean())
    mean = float(draws["preconditioner_mean"].mean())
    pull = attrs["step_size"] * scale * attrs["gamma"]
    return {
        "top_curvature": curvature,
        "preconditioner": mean,
        "preconditioner_adapts": float(np.ptp(draws["preconditioner_mean"].values[:, -_LAST:], axis=1).max() > 0),
        "discretisation_share": discretisation_share(pull),
    }


def _step_bias(tree: xr.DataTree) -> float:
    r"""Bound on what finite steps and gradient noise add to λ̂, nats.

    On a quadratic with curvatures h_i, $\kappa_iE[d_i^2]=1+\tfrac\epsilon4E[G_i^2]$ exactly, so λ̂ exceeds its limit
    by $\tfrac\epsilon8\sum_if(h_i)E[G_i^2]$ with the concave $f(h)=n\beta h/(n\beta h+\gamma)$. Without gradient noise
    the sum is $E[n\beta g\cdot G]$, which is recorded. The noise ξ enters that with weight 1 instead of f; by concavity
    f is at most $f(\rho)$, ρ = ξᵀHξ/ξᵀξ, where ρ was measured. With a preconditioner, ε times its mean stands for ε.
    Checked in `tests/truth/test_step_bias.py`.
    """
    draws, attrs = tree["draws"].dataset, tree.attrs
    nbeta, gamma = float(attrs["nbeta"]), float(attrs["gamma"])
    pull = gamma * draws["likelihood_virial"] + gamma**2 * draws["distance_squared"]
    product = float((draws["gradient_norm_squared"] - pull).mean())
    likelihood = nbeta * max(float(attrs.get("gradient_noise_curvature", math.inf)), 0.0)
    weight = 1.0 if math.isinf(likelihood) or gamma == 0 else likelihood / (likelihood + gamma)
    product -= nbeta**2 * float(attrs.get("gradient_noise", 0.0)) * (1 - weight)
    scale = float(draws["preconditioner_mean"].mean()) if "preconditioner_mean" in draws else 1.0
    return float(attrs["step_size"]) * scale / 8 * max(product, 0.0)


def _step_sensitivity(tree: xr.DataTree, llc: float) -> dict[str, float]:
    """λ̂ at half and at twice the step, where they were measured, and the line through them at step 0."""
    found: dict[str, float] = {}
    for name in ("half_step", "double_step"):
        if name in tree.children and math.isfinite(tree[name].attrs["llc"]):
            found |= {name: float(tree[name].attrs["llc"]), f"{name}_se": float(tree[name].attrs["se"])}
    if "half_step" in found:
        found["zero_step"] = 2 * found["half_step"] - llc
    return found


def _noise_figures(tree: xr.DataTree, llc: float) -> dict[str, float]:
    if "noise_only" not in tree.children:
        return {}
    excess = tree["noise_only"].dataset["excess"].values
    nbeta = float(tree.attrs["nbeta"])
    noise = nbeta * float(excess.mean())
    return {
        "noise_only": noise,
        "noise_only_se": nbeta * float(excess.std(ddof=1) / math.sqrt(excess.size)),
        "noise_share": max(llc, 0.0) / noise if noise > 0 else math.nan,
    }


def _slope_figures(tree: xr.DataTree, llc: float) -> dict[str, float]:
    """What the slope at w* puts into λ̂: nβ E[(w−w*)·∇L(w*)], zero at a minimum, negative where sampling descends."""
    known = convergence(tree["draws"].dataset["slope_part"].values)
    return {"slope_part": known.mean, "slope_part_se": known.se, "slope_share": known.mean / llc if llc else math.nan}


def _rounded(value: float, error: float) -> str:
    """`value ± error`, both to the error's second digit; short where a chain has run away."""
    if not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    if error >= 1e6:
        return f"{value:.2g} ± {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def as_record(estimate: LLC) -> dict[str, Any]:
    """The estimate as plain values for a summary; null where not a number."""
    lo, hi = estimate.interval
    record: dict[str, Any] = {"llc": estimate.llc, "se": estimate.se, **estimate.figures}
    plain = {k: _plain(v) for k, v in record.items()}
    interval = [lo, hi] if math.isfinite(lo) and math.isfinite(hi) else [None, None]
    verdict = {"status": estimate.verdict.status, "reasons": list(estimate.verdict.reasons)}
    return {**plain, "interval": interval, "verdict": verdict, "resolution": _curve(estimate.resolution)}


def _curve(found: Resolution | None) -> dict[str, Any] | None:
    """The resolution curve as plain values."""
    if found is None:
        return None
    points = [{name: _plain(getattr(point, name)) for name in ("nbeta", "llc", "se")} for point in found.points]
    limit = {name: _plain(getattr(found, name)) for name in ("llc", "se", "misfit")}
    return {**limit, "multiplicity": found.multiplicity, "points": points}


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
