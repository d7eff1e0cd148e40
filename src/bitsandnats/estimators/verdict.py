"""Verdicts: may a number be used, and if not, why not and what to do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

USABLE = "usable"
CAUTION = "usable with caution"
NOT_USABLE = "not usable"


@dataclass(frozen=True)
class Verdict:
    """A verdict in two steps: was it sampled right, and may it be read as λ?

    Attributes:
        status: `usable`, `usable with caution` or `not usable`.
        reasons: why it is not plainly usable, each with its figure and the remedy.
    """

    status: str
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.status + (": " + "; ".join(self.reasons) if self.reasons else "")


@dataclass(frozen=True)
class Thresholds:
    """Where the checks draw their lines; dimensionless shares unless said otherwise.

    Attributes:
        rhat: R̂ above which chains disagree.
        ess: effective draws below which the error bar itself is not known.
        relative_se: standard error as a share of the estimate.
        doubt: three standard errors and the bound on the step's bias together, as a share of the estimate.
        drift: change along the kept trace as a share of the estimate, where it exceeds three standard errors.
        basin: share of the way from L(w*) to chance at which the draws have left the basin.
        discretisation: predicted excess variance of the stiffest direction.
        step: bound on the share of λ̂ that finite steps and gradient noise add.
        slope: part of the slope at w* in λ̂, as a share of λ̂, where it exceeds three standard errors.
        acceptance: mean acceptance of a sampler with accept/reject, below which it hardly moves.
        mala: acceptance that a Metropolis test would give to steps of an unadjusted sampler.
        pull: change of λ̂ from a tenfold pull to this one, from this one to a hundredth of it, and per e-fold of the
            pull, as a share of λ̂, where it exceeds two standard errors.
        unknown_pull: loss of λ̂ per e-fold of the pull that two standard errors must exclude where it was not measured
            at a tenfold pull.
        variate: standard errors by which a statistic of mean 0 may differ from it.
        virial: share of the dimensions that are still spreading, where it exceeds three standard errors.
        noise: ratio of λ̂ to what pure weight noise gives, above which it is read as noise sensitivity.
    """

    rhat: float = 1.1
    ess: float = 40.0
    relative_se: float = 0.25
    doubt: float = 0.2
    drift: float = 0.15
    basin: float = 0.1
    discretisation: float = 0.1
    step: float = 0.1
    noise: float = 0.5
    slope: float = 0.25
    acceptance: float = 0.2
    mala: float = 0.2
    pull: float = 0.1
    unknown_pull: float = 0.3
    variate: float = 4.0
    virial: float = 0.25


DEFAULT = Thresholds()


def judge(
    measured: Mapping[str, float],
    *,
    diverged: tuple[int, ...] = (),
    step_kept: bool = True,
    limits: Thresholds = DEFAULT,
) -> Verdict:
    """The verdict on an estimate of the LLC.

    Args:
        measured: figures by name; those that are missing or NaN are not judged: `llc`, `se`, `dimension`, `rhat`,
            `ess`, `drift`, `drift_se`, `chance_share`, `discretisation_share`, `step_share`, `noise_share`,
            `slope_part`, `slope_part_se`, `acceptance`, `identical_chains`, `gamma`, `pull_share`, `weaker_share`,
            `gamma_slope`, `nbeta_slope`, `virial_gap` and their errors, `half_step`, `double_step`, `step_unbounded`,
            `mala_acceptance`, `preconditioner_adapts`, `variate_mean`, `variate_mean_se`.
        diverged: chains whose loss stopped being finite.
        step_kept: whether the statistics of each step were kept; without them two checks cannot be made.
        limits: where the lines are drawn.
    """
    at = {name: float(value) for name, value in measured.items() if value is not None and not math.isnan(value)}
    if diverged:
        chains = ", ".join(map(str, diverged))
        return Verdict(NOT_USABLE, (f"chain {chains} diverged and no average is given: reduce the step size",))
    wrong = _sampling(at, limits)
    cautions = _reading(at, limits) if wrong else _precision(at, limits) + _reading(at, limits)
    if not step_kept:
        cautions += (
            "the bias of the finite step and the slope at w* are not judged: the step's statistics were not kept; "
            "sample with statistics 'step'",
        )
    if wrong:
        return Verdict(NOT_USABLE, (*wrong, *cautions))
    return Verdict(CAUTION, cautions) if cautions else Verdict(USABLE)


def _sampling(at: dict[str, float], limits: Thresholds) -> tuple[str, ...]:
    """Was it sampled right?"""
    llc, reasons = at["llc"], []
    if not math.isfinite(llc) or llc > at.get("dimension", math.inf):
        reasons.append(
            f"λ̂ = {llc:.3g} exceeds the number of parameters, which no sampled basin can: reduce the step size"
        )
    if at.get("discretisation_share", 0) > limits.discretisation:
        share = at["discretisation_share"]
        grown = f"the step inflates the variance by up to {_percent(share)}"
        said = "the step is unstable" if math.isinf(share) else grown
        reasons.append(f"{said}: reduce the step size")
    elif at.get("step_share", 0) > limits.step:
        reasons.append(
            f"finite steps and gradient noise may add {_percent(at['step_share'])} of λ̂: "
            "use larger batches or reduce the step size"
        )
    reasons += _of_the_step(at, limits)
    if at.get("chance_share", 0) > limits.basin:
        reasons.append(
            f"the draws left the basin ({_percent(at['chance_share'])} of the way from L(w*) to chance): "
            "raise gamma or nbeta"
        )
    if at.get("identical_chains", 0):
        reasons.append("two chains are copies of each other: give each its own seed")
    if "ess" not in at:
        reasons.append("too few draws, or a loss that never moved: nothing can be said of the error; draw longer")
    if at.get("rhat", 1) > limits.rhat:
        reasons.append(f"the chains disagree (R̂ {at['rhat']:.2f}): draw longer or burn in more")
    if at.get("ess", math.inf) < limits.ess:
        reasons.append(f"only {at['ess']:.0f} effective draws: draw longer")
    drift, spread = abs(at.get("drift", 0)), at.get("drift_se", 0)
    if drift > limits.drift * abs(llc) and drift > 3 * spread:
        reasons.append(f"λ̂ drifts by {at['drift'] / llc:+.0%} along the trace: burn in more or raise gamma")
    if abs(at.get("variate_mean", 0)) > limits.drift * abs(llc):
        reasons += _moving(at, limits)
    if "se" in at and at["se"] > limits.relative_se * abs(llc):
        reasons.append(f"the standard error is {_percent(at['se'] / abs(llc))} of λ̂: draw longer or use larger batches")
    return tuple(reasons)


def _of_the_step(at: dict[str, float], limits: Thresholds) -> list[str]:
    """What the step does that no bound foresaw."""
    reasons = []
    if at.get("acceptance", 1) < limits.acceptance:
        reasons.append(
            f"only {at['acceptance']:.0%} of the proposals are accepted: reduce the step size or adapt longer"
        )
    if at.get("mala_acceptance", 1) < limits.mala:
        share = at["mala_acceptance"]
        reasons.append(f"a Metropolis test would accept only {share:.0%} of the steps: reduce the step size")
    for name, said in (("half_step", "half"), ("double_step", "twice")):
        if name in at:
            change = abs(at[name] - at["llc"])
            noise = math.hypot(at.get(f"{name}_se", 0), at.get("se", 0))
            limit = limits.step * (1 if name == "half_step" else 2)
            if change > limit * abs(at["llc"]) and change > 3 * noise:
                share = (at[name] - at["llc"]) / at["llc"]
                reasons.append(f"at {said} the step λ̂ changes by {share:+.0%}: reduce the step size and draw longer")
    return reasons


def _precision(at: dict[str, float], limits: Thresholds) -> tuple[str, ...]:
    """How far off may it be, by what is known of its error?"""
    moving = _moving(at, limits)
    step = at.get("step_share", 0.0)
    reach = 3 * at["se"] / abs(at["llc"]) + step if "se" in at and at["llc"] else 0.0
    if reach <= limits.doubt:
        return moving
    said = " and the bias of the step" if step > 0.01 else ""
    remedy = "draw longer or reduce the step size" if step > 0.01 else "draw longer"
    return (*moving, f"three standard errors{said} reach {_percent(reach)} of λ̂: {remedy}")


def _moving(at: dict[str, float], limits: Thresholds) -> tuple[str, ...]:
    """Is the mean of a statistic that has mean 0 in the stationary law another?"""
    mean, se = at.get("variate_mean", 0.0), at.get("variate_mean_se", math.inf)
    if abs(mean) <= limits.variate * se:
        return ()
    return (f"the chains are not stationary: the variate, of mean 0, is {mean:+.2g} ± {se:.1g} nats; burn in more",)


def _reading(at: dict[str, float], limits: Thresholds) -> tuple[str, ...]:
    """May it be read as λ?"""
    reasons = []
    slope = at.get("slope_part", 0.0)
    if abs(slope) > limits.slope * abs(at["llc"]) and abs(slope) > 3 * at.get("slope_part_se", 0.0):
        reasons.append(
            f"w* is not a minimum of the sampled loss: its slope puts {slope:+.3g} nats into λ̂; train further, or "
            "compare only at equal nβ, γ, unit"
        )
    if at["llc"] < 0:
        reasons.append("λ̂ is negative, which no minimum allows")
    if "step_unbounded" in at and "half_step" not in at:
        reasons.append("no bound on the bias of this sampler's step is known: ask for the control 'step'")
    if at.get("preconditioner_adapts"):
        reasons.append("the preconditioner adapts while it draws, so the draws' law is not the posterior's: freeze it")
    reasons += _pull(at, limits)
    if at.get("noise_share", 0) > limits.noise:
        reasons.append(
            f"it is {_percent(at['noise_share'])} of what weight noise alone gives (nβ = 0): "
            "comparable only at equal nβ, γ, unit"
        )
    return tuple(reasons)


def _pull(at: dict[str, float], limits: Thresholds) -> list[str]:
    """Does the pull shape the number?"""
    reasons = []
    if at.get("gamma", 1) == 0:
        reasons.append("nothing pulls the draws back (γ = 0): flat directions never come to rest; give gamma")
    if at.get("pull_share", 0) > limits.pull and at["pull_share"] > 2 * at.get("pull_share_se", 0):
        reasons.append(
            f"it depends on the pull: {at['pull_share']:.0%} less at γ = {at['stronger_gamma']:.3g}; lower gamma, or "
            "compare only at equal nβ, γ, unit"
        )
    elif at.get("weaker_share", 0) > limits.pull and at["weaker_share"] > 2 * at.get("weaker_share_se", 0):
        reasons.append(
            f"it depends on the pull: {at['weaker_share']:.0%} more at γ = {at['weaker_gamma']:.3g}; lower gamma, or "
            "compare only at equal nβ, γ, unit"
        )
    elif at.get("gamma_slope", 0) < -limits.pull and -at["gamma_slope"] > 2 * at.get("gamma_slope_se", math.inf):
        reasons.append(
            f"it depends on the pull: {at['gamma_slope']:+.0%} per e-fold of γ; lower gamma, or compare only at equal "
            "nβ, γ, unit"
        )
    elif _pull_unknown(at, limits):
        reasons.append(
            "how far it depends on the pull is not known: "
            f"{at['gamma_slope']:+.0%} ± {at['gamma_slope_se']:.0%} per e-fold of γ; draw longer"
        )
    gap = at.get("virial_gap", 0)
    if gap > limits.virial and gap > 3 * at.get("virial_gap_se", math.inf):
        reasons.append(
            f"{gap:.0%} of the dimensions are still spreading: λ̂ is that of a shorter reach than γ allows; draw longer "
            "or raise gamma"
        )
    return reasons


def _pull_unknown(at: dict[str, float], limits: Thresholds) -> bool:
    """Whether the draws leave room for a strong pull; of mini-batches, whose noise hides it, nothing is asked."""
    asked = "nbeta_slope" in at and "pull_share" not in at
    known = asked and "gamma_slope_se" in at  # of chains that stand still there is no error
    return known and at["gamma_slope"] - 2 * at["gamma_slope_se"] < -limits.unknown_pull


def _percent(share: float) -> str:
    """A share in words that stay short when a chain has run away."""
    return f"{share:.0%}" if abs(share) < 100 else f"{100 * share:.0e}%"
