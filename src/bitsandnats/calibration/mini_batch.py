"""The mini-batch route: SGLD, a step small against the curvature, a pull that keeps the draws in the basin."""

import math
from typing import NamedTuple

from bitsandnats._types import Progress
from bitsandnats.calibration.choices import Choices
from bitsandnats.calibration.locality import NOISE_ITEMS, allowed_excess, noise_excess
from bitsandnats.errors import SettingsError, message
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.settings import Settings, settings_from
from bitsandnats.task import Task
from bitsandnats.theory.finite_step import noise_only_variance, relaxation_steps

_GAMMAS = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
_STIFFNESS = 0.2  # ε κ_max: a discretisation share of 5 %
_BIAS = 0.04  # of λ̂: finite steps and gradient noise, 2 % each
_SMALLEST_FACTOR = 0.2
_RELAXATIONS = 10
_NOISY_START = 0.3  # nats a unit
_PROBE_WORK = 3e9  # coordinates times units of all steps of a probing chain
_FEWEST_PROBE_STEPS = 100
_FEWEST_DRAWS = 200
_WHOLE_DATA = 2048


def settle(tasks: list[Task], choices: Choices, kappa: float, *, most_steps: int, progress: Progress) -> Settings:
    r"""SGLD's settings for tasks whose largest curvature is `kappa`.

    - γ the smallest of 1, 10, … 1e5 at which the draws' excess loss stays within 0.1 nat and 8 % of the way to chance,
      judged by pure weight noise of variance 1/γ and, below where that passes, by probing chains, extrapolated to the
      full length by the law of free directions;
    - $\epsilon=0.2/(n\beta\kappa_{max}+\gamma)$, then smaller until the bias that a probing chain showed (finite steps
      and gradient noise, both in proportion to ε) is 4 % of λ̂, as far as ten relaxation times still fit;
    - start at w* + N(0, 1/γ) where that alone costs at most 0.3 nat, else at w*;
    - ten relaxation times of the pull's directions, at least 200 draws and at most `most_steps` steps, a fifth of them
      burn-in (a third from w*).

    Args:
        tasks: the probed tasks.
        choices: what was given and what has been chosen.
        kappa: largest curvature, nats a unit per squared unit of weight.
        most_steps: steps a chain at most.
        progress: told of each probe.

    Raises:
        SettingsError: even γ = 1e5 does not keep the draws in the basin.
    """
    choices.choose("batch_size", _default_batch(tasks[0]), f"default for unit {tasks[0].unit}")
    choices.choose("chains", 4, "default")
    probes: list[_Probe] | None = None
    if "gamma" not in choices:
        gamma, reason, probes = _choose_gamma(tasks, choices, kappa, most_steps, progress)
        choices.choose("gamma", gamma, reason)
    if "step_size" not in choices:
        _choose_step(tasks, choices, kappa, probes, most_steps)
    _choose_start_and_length(tasks, choices, most_steps)
    return choices.settings()


class _Probe(NamedTuple):
    """What a short chain showed: the excess that a full one would reach, and the share of λ̂ that the step adds."""

    excess: float
    step_share: float


def _choose_gamma(
    tasks: list[Task], choices: Choices, kappa: float, most_steps: int, progress: Progress
) -> tuple[float, str, list[_Probe] | None]:
    """γ, its reason, and the probing chains at that γ where there were any."""
    limits = [allowed_excess(task) for task in tasks]
    passing = None
    for gamma in reversed(_GAMMAS):
        costs = _noise_costs(tasks, gamma, choices.seed)
        progress("choosing gamma", _GAMMAS.index(gamma) + 1, len(_GAMMAS))
        if not all(cost <= limit for cost, limit in zip(costs, limits, strict=True)):
            break
        passing = gamma
    by, kept = "weight noise of variance 1/γ", None
    for gamma in reversed([g for g in _GAMMAS if passing is None or g < passing]):
        probes = []
        for task, limit in zip(tasks, limits, strict=True):
            probes.append(_probe(task, choices, kappa, gamma, most_steps))
            if probes[-1].excess > limit:
                break
        if probes[-1].excess > limits[len(probes) - 1]:
            break
        passing, by, kept = gamma, "a probing chain", probes
    if passing is None:
        raise SettingsError(
            message(
                expected=f"draws within {min(limits):.3g} nat of L(w*) at some γ up to {_GAMMAS[-1]:g}",
                got="a larger excess at every γ",
                do="check that w* is a minimum of this loss on these data, or give gamma and step_size",
            )
        )
    return passing, f"smallest of 1, 10, … 1e5 whose excess loss under {by} stays ≤ {min(limits):.2g} nat", kept


def _choose_step(
    tasks: list[Task], choices: Choices, kappa: float, probes: list[_Probe] | None, most_steps: int
) -> None:
    gamma = choices["gamma"]
    step_size = _STIFFNESS / (choices["nbeta"] * kappa + gamma)
    if probes is None:
        probes = [_probe(task, choices, kappa, gamma, most_steps) for task in tasks]
    share = max((p.step_share for p in probes if math.isfinite(p.step_share)), default=0.0)
    # a smaller step relaxes more slowly: as far as there is room, or, where flat directions never relax, regardless
    room = most_steps / max(_RELAXATIONS * relaxation_steps(step_size * gamma), 1.0) if gamma > 0 else 0.0
    least = 1 / room if room > 1 else _SMALLEST_FACTOR
    factor = min(max(_BIAS / share if share > 0 else 1.0, least), 1.0)
    reason = f"0.2/(nβ κ_max + γ) with κ_max = {kappa:.3g}, the largest of {len(tasks)} checkpoint(s)"
    if factor < 1:
        reason = f"{factor:.2g} × {reason}"
    choices.choose(
        "step_size", float(f"{factor * step_size:.3g}"), f"{reason}; it adds {factor * share:.1%} of λ̂ there"
    )


def _noise_costs(tasks: list[Task], gamma: float, seed: int) -> list[float]:
    """What weight noise of variance 1/γ costs each task, nats a unit."""
    return [float(noise_excess(t, 1 / gamma, draws=2, items=NOISE_ITEMS, seed=seed).mean()) for t in tasks]


def _probe(task: Task, choices: Choices, kappa: float, gamma: float, most_steps: int) -> _Probe:
    """A chain from w*, as long as its price allows.

    Where it is shorter than a full one, its excess is scaled by the growth of the variance in free directions: an
    upper bound, since the likelihood holds the others back. Infinite where the probe diverges.
    """
    step_size = _STIFFNESS / (choices["nbeta"] * kappa + gamma)
    work = task.dimension * choices["batch_size"] * task.mean_weight
    steps = int(min(most_steps, max(_PROBE_WORK / work, _FEWEST_PROBE_STEPS)))
    settings = settings_from(
        {
            "nbeta": choices["nbeta"],
            "gamma": gamma,
            "step_size": step_size,
            "batch_size": choices["batch_size"],
            "chains": 1,
            "burn_in": steps // 2,
            "draws": steps - steps // 2,
            "seed": choices.seed,
            "mode": "loop",
            "baseline": "batch",
            **choices.numerics(),
        }
    )
    found = estimate(sample(task, settings))
    if not math.isfinite(found.llc):
        return _Probe(math.inf, math.nan)
    probed, full = (
        noise_only_variance(gamma=gamma, step_size=step_size, burn_in=n // 2, draws=n - n // 2, start_variance=0.0)
        for n in (steps, most_steps)
    )
    # where w* is no minimum λ̂ is no scale to measure a bias by
    steady = abs(found.figures["slope_part"]) < 0.5 * abs(found.llc)
    share = found.figures.get("step_share", math.nan) if steady else math.nan
    return _Probe(found.figures["excess"] * full / probed, share)


def _choose_start_and_length(tasks: list[Task], choices: Choices, most_steps: int) -> None:
    gamma = choices["gamma"]
    cost = math.inf
    if gamma > 0:
        costs = _noise_costs(tasks, gamma, choices.seed)
        cost = max(costs) if all(math.isfinite(c) for c in costs) else math.inf
    noisy = cost <= _NOISY_START
    choices.choose(
        "start",
        "noise" if noisy else "center",
        f"noise of variance 1/γ alone costs {cost:.2g} nat, {'at most' if noisy else 'more than'} {_NOISY_START}",
    )
    relaxation = relaxation_steps(choices["step_size"] * gamma) if gamma > 0 else math.inf
    wanted = _RELAXATIONS * relaxation
    share = 0.2 if choices["start"] == "noise" else 1 / 3
    total = int(min(most_steps, max(wanted, _FEWEST_DRAWS / (1 - share))))
    said = f"ten relaxation times of the pull ({relaxation:.0f} steps each)"
    if wanted > most_steps:
        said = f"{said}, cut at {most_steps} steps: drift decides the verdict"
    draws = choices.fields.get("draws", total - round(share * total))
    reason = f"{share:.0%} of the chain, from start '{choices['start']}'"
    choices.choose("burn_in", round(share * draws / (1 - share)), reason)
    choices.choose("draws", draws, said)


def _default_batch(task: Task) -> int:
    if task.unit in ("token", "sequence"):
        return min(len(task.data), 16)
    return len(task.data) if len(task.data) <= _WHOLE_DATA else 512  # all of it: no gradient noise
