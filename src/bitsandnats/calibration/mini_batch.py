"""Settings from measured curvature and the cost of weight noise, by one rule that is printed with the result."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bitsandnats import _tree
from bitsandnats._rng import generator
from bitsandnats._types import Progress, silent
from bitsandnats.curvature import top_curvature
from bitsandnats.errors import InputError, SettingsError, message
from bitsandnats.estimators.llc import excess_trace
from bitsandnats.run import sample
from bitsandnats.settings import Settings, settings_from
from bitsandnats.task import Task
from bitsandnats.theory.finite_step import noise_only_variance, relaxation_steps

_MOST_NBETA = 3000.0
_GAMMAS = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
_STIFFNESS = 0.2  # ε κ_max: a discretisation share of 5 %
_LARGEST_EXCESS = 0.1  # nats a unit
_LARGEST_CHANCE_SHARE = 0.08  # of the way to chance; the verdict's line is 0.1
_MEANINGFUL_WAY = 0.5  # nats below chance from which that share is asked for
_NOISY_START = 0.3  # nats a unit
_PROBE_WORK = 3e9  # coordinates times units of all steps of a probing chain
_FEWEST_PROBE_STEPS = 100
_MOST_STEPS = 2000
_FEWEST_DRAWS = 200
_NOISE_ITEMS = 32
_WHOLE_DATA = 2048


def calibrate(
    tasks: Task | Sequence[Task],
    *,
    given: dict[str, Any] | None = None,
    most_steps: int = _MOST_STEPS,
    progress: Progress = silent,
) -> Settings:
    r"""One set of settings for a task or a series, each with its reason.

    The rule: SGLD, and

    - $n\beta=\min(n/\ln n, 3000)$;
    - γ the smallest of 1, 10, … 1e5 at which the draws' excess loss stays within 0.1 nat and 8 % of the way to chance,
      judged by pure weight noise of variance 1/γ and, below where that passes, by probing chains, extrapolated to the
      full length by the law of free directions;
    - $\epsilon=0.2/(n\beta\kappa_{max}+\gamma)$ with the largest curvature of the first, middle and last task;
    - start at w* + N(0, 1/γ) where that alone costs at most 0.3 nat, else at w*;
    - ten relaxation times of the pull's directions, at least 200 draws and at most `most_steps` steps, a fifth of them
      burn-in (a third from w*).

    Args:
        tasks: a task, or a series in training order.
        given: settings that are not to be chosen.
        most_steps: steps a chain at most.
        progress: told of each probe.

    Raises:
        InputError: a given setting is out of range, or the sampler's step size has no rule.
        SettingsError: even γ = 1e5 does not keep the draws in the basin.
    """
    series = [tasks] if isinstance(tasks, Task) else list(tasks)
    if not series:
        raise InputError(message(expected="at least one task", got="none", do="give a task or a series"))
    probed = [series[i] for i in sorted({0, len(series) // 2, len(series) - 1})]
    fields: dict[str, Any] = {k: v for k, v in (given or {}).items() if v is not None}
    reasons: dict[str, str] = {name: "given" for name in fields if name not in ("seed", "reasons")}
    settings_from({"step_size": 1.0, "gamma": 1.0, "nbeta": 1.0, **fields})  # refuse bad values before measuring
    if fields.get("sampler", "sgld") != "sgld" and "step_size" not in fields:
        raise InputError(
            message(
                expected="a step size for a sampler other than sgld (step sizes do not carry over)",
                got=f"sampler {fields['sampler']} without one",
                do="give step_size",
            )
        )

    def choose(name: str, value: Any, reason: str) -> None:
        if name not in fields:
            fields[name], reasons[name] = value, reason

    n = min(task.n for task in probed)
    principled = n / math.log(n) if n > math.e else n
    choose("nbeta", min(principled, _MOST_NBETA), f"min(n/ln n, {_MOST_NBETA:.0f}) with n/ln n = {principled:.4g}")
    choose("batch_size", _default_batch(probed[0]), f"default for unit {probed[0].unit}")
    choose("chains", 4, "default")
    curvatures = []
    for i, task in enumerate(probed):
        curvatures.append(top_curvature(task, items=_probe_items(task), seed=fields.get("seed", 0)).value)
        progress("measuring curvature", i + 1, len(probed))
    kappa = max(max(curvatures), 0.0)
    if "gamma" not in fields:
        value, reason = _choose_gamma(probed, fields, kappa, most_steps, progress)
        choose("gamma", value, reason)
    stiffness = fields["nbeta"] * kappa + fields["gamma"]
    choose(
        "step_size",
        float(f"{_STIFFNESS / stiffness:.3g}"),
        f"0.2/(nβ κ_max + γ) with κ_max = {kappa:.3g}, the largest of {len(probed)} checkpoint(s)",
    )
    _choose_start_and_length(probed, fields, choose, most_steps)
    return settings_from({**fields, "reasons": reasons})


def noise_excess(task: Task, variance: float, *, draws: int, items: int, seed: int) -> np.ndarray:
    """Loss increase under plain Gaussian weight noise, no chain and no gradient; nats a unit, one number a draw.

    Args:
        task: the checkpoint.
        variance: of the noise on each weight, squared units of weight.
        draws: independent perturbations.
        items: items of the data (evenly spaced) on which the losses are compared.
        seed: of the noise.
    """
    batch = task.batch(torch.linspace(0, len(task.data) - 1, min(items, len(task.data))).round().long())
    random = generator(seed, 0, "control", task.device)
    with torch.no_grad():
        reference = task.mean_loss(task.item_losses(task.center, batch))
        values = [
            task.mean_loss(
                task.item_losses(_tree.axpy(variance**0.5, _tree.gaussian(task.center, random), task.center), batch)
            )
            - reference
            for _ in range(draws)
        ]
    return torch.stack(values).double().cpu().numpy()


def allowed_excess(task: Task) -> float:
    """Excess loss up to which draws count as local: 0.1 nat, and 8 % of the way to chance; nats a unit."""
    if task.chance_loss is None:
        return _LARGEST_EXCESS
    center = _center_loss(task)
    way = task.chance_loss - center
    return min(_LARGEST_EXCESS, _LARGEST_CHANCE_SHARE * way) if way > _MEANINGFUL_WAY else _LARGEST_EXCESS


@torch.no_grad()
def _center_loss(task: Task) -> float:
    """L(w*) on the probe's items, nats a unit."""
    batch = task.batch(torch.linspace(0, len(task.data) - 1, min(_NOISE_ITEMS, len(task.data))).round().long())
    return float(task.mean_loss(task.item_losses(task.center, batch)))


def _choose_gamma(
    tasks: list[Task], fields: dict[str, Any], kappa: float, most_steps: int, progress: Progress
) -> tuple[float, str]:
    seed = fields.get("seed", 0)
    limits = [allowed_excess(task) for task in tasks]
    passing = None
    for gamma in reversed(_GAMMAS):
        costs = [float(noise_excess(t, 1 / gamma, draws=2, items=_NOISE_ITEMS, seed=seed).mean()) for t in tasks]
        progress("choosing gamma", _GAMMAS.index(gamma) + 1, len(_GAMMAS))
        if not all(cost <= limit for cost, limit in zip(costs, limits, strict=True)):
            break
        passing = gamma
    by = "weight noise of variance 1/γ"
    for gamma in reversed([g for g in _GAMMAS if passing is None or g < passing]):
        probes = (_probed_excess(task, fields, kappa, gamma, most_steps) for task in tasks)
        if not all(excess <= limit for excess, limit in zip(probes, limits, strict=True)):
            break
        passing, by = gamma, "a probing chain"
    if passing is None:
        raise SettingsError(
            message(
                expected=f"draws within {min(limits):.3g} nat of L(w*) at some γ up to {_GAMMAS[-1]:g}",
                got="a larger excess at every γ",
                do="check that w* is a minimum of this loss on these data, or give gamma and step_size",
            )
        )
    return passing, f"smallest of 1, 10, … 1e5 whose excess loss under {by} stays ≤ {min(limits):.2g} nat"


def _probed_excess(task: Task, fields: dict[str, Any], kappa: float, gamma: float, most_steps: int) -> float:
    """Excess loss that a chain of full length from w* would reach, from one as long as its price allows.

    Where the probe is shorter, its excess is scaled by the growth of the variance in free directions: an upper bound,
    since the likelihood holds the others back. Infinite where the probe diverges.
    """
    step_size = _STIFFNESS / (fields["nbeta"] * kappa + gamma)
    work = task.dimension * fields["batch_size"] * task.mean_weight
    steps = int(min(most_steps, max(_PROBE_WORK / work, _FEWEST_PROBE_STEPS)))
    settings = settings_from(
        {
            "nbeta": fields["nbeta"],
            "gamma": gamma,
            "step_size": step_size,
            "batch_size": fields["batch_size"],
            "chains": 1,
            "burn_in": steps // 2,
            "draws": steps - steps // 2,
            "seed": fields.get("seed", 0),
            "mode": "loop",
            "baseline": "batch",
        }
    )
    excess = excess_trace(sample(task, settings))
    if not np.isfinite(excess).all():
        return math.inf
    probed, full = (
        noise_only_variance(gamma=gamma, step_size=step_size, burn_in=n // 2, draws=n - n // 2, start_variance=0.0)
        for n in (steps, most_steps)
    )
    return float(excess.mean()) * full / probed


def _choose_start_and_length(tasks: list[Task], fields: dict[str, Any], choose: Any, most_steps: int) -> None:
    gamma, seed = fields["gamma"], fields.get("seed", 0)
    cost = math.inf
    if gamma > 0:
        costs = [float(noise_excess(t, 1 / gamma, draws=2, items=_NOISE_ITEMS, seed=seed).mean()) for t in tasks]
        cost = max(costs) if all(math.isfinite(c) for c in costs) else math.inf
    noisy = cost <= _NOISY_START
    choose(
        "start",
        "noise" if noisy else "center",
        f"noise of variance 1/γ alone costs {cost:.2g} nat, {'at most' if noisy else 'more than'} {_NOISY_START}",
    )
    relaxation = relaxation_steps(fields["step_size"] * gamma) if gamma > 0 else math.inf
    wanted = 10 * relaxation
    share = 0.2 if fields["start"] == "noise" else 1 / 3
    total = int(min(most_steps, max(wanted, _FEWEST_DRAWS / (1 - share))))
    said = f"ten relaxation times of the pull ({relaxation:.0f} steps each)"
    if wanted > most_steps:
        said = f"{said}, cut at {most_steps} steps: drift decides the verdict"
    draws = fields.get("draws", total - round(share * total))
    choose("burn_in", round(share * draws / (1 - share)), f"{share:.0%} of the chain, from start '{fields['start']}'")
    choose("draws", draws, said)


def _default_batch(task: Task) -> int:
    if task.unit in ("token", "sequence"):
        return min(len(task.data), 16)
    return len(task.data) if len(task.data) <= _WHOLE_DATA else 512  # all of it: no gradient noise


def _probe_items(task: Task) -> int:
    return 8 if task.unit in ("token", "sequence") else 256
