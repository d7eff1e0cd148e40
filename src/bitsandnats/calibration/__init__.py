"""Settings from measured curvature, pilot chains and the cost of weight noise; every choice with its reason."""

import math
from collections.abc import Sequence
from typing import Any

from bitsandnats import samplers
from bitsandnats._types import Progress, silent
from bitsandnats.calibration import full_batch, mini_batch
from bitsandnats.calibration.choices import Choices
from bitsandnats.calibration.locality import noise_excess as noise_excess
from bitsandnats.calibration.pilots import ACROSS as ACROSS
from bitsandnats.calibration.pull import FAR as FAR
from bitsandnats.calibration.pull import short_reach as short_reach
from bitsandnats.curvature import top_curvature
from bitsandnats.errors import InputError, message
from bitsandnats.metric import in_metric
from bitsandnats.run.choices import check_variates
from bitsandnats.settings import Settings, settings_from
from bitsandnats.task import Task

_MOST_NBETA = 3000.0
_MOST_STEPS = 2000


def calibrate(
    tasks: Task | Sequence[Task],
    *,
    given: dict[str, Any] | None = None,
    target_se: float | None = None,
    budget: float | None = None,
    most_steps: int = _MOST_STEPS,
    progress: Progress = silent,
) -> Settings:
    r"""One set of settings for a task or a series, each with its reason.

    $n\beta=n/\ln n$ for data of samples; at most 3000 for text, where n is only the length of the text supplied.
    Then, with the largest curvature of the first, middle and last task, one of two routes:

    - *full batch*, where gradients over all data are affordable: Hamiltonian Monte Carlo with accept/reject, so that
      no step biases the draws. γ goes down by tens until pilot chains agree that λ̂ no longer depends on it, as long
      as the draws stay in the basin; the pilots also give the trajectory's length and the number of draws
      (`calibration.full_batch`);
    - *mini-batch*: SGLD with a step that is small against the curvature and a pull that keeps the draws in the basin
      (`calibration.mini_batch`).

    Args:
        tasks: a task, or a series in training order.
        given: settings that are not to be chosen.
        target_se: standard error wanted, as a share of λ̂; None = 2 % on the full-batch route.
        budget: seconds that one estimate may take, calibration included; None = one minute where the route is
            chosen by it.
        most_steps: steps of a mini-batch chain at most.
        progress: told of each probe.

    Raises:
        InputError: a given setting is out of range, rules contradict each other, or the sampler's step size has no
            rule, or variates are asked for where gradients over all data are not affordable.
        SettingsError: no pull keeps the draws in the basin.
    """
    series = [tasks] if isinstance(tasks, Task) else list(tasks)
    if not series:
        raise InputError(message(expected="at least one task", got="none", do="give a task or a series"))
    choices = Choices(given or {})
    settings_from({"step_size": 1.0, "gamma": 1.0, "nbeta": 1.0, **choices.fields})  # refuse before measuring
    metric = choices.fields.get("metric", "weights")
    probed = [in_metric(series[i], metric) for i in sorted({0, len(series) // 2, len(series) - 1})]
    check_fit(series, choices.fields)
    check_stopping(choices.fields, target_se=target_se, budget=budget)
    _check_sampler(choices)
    _check_variates(series, choices, "hmc")
    n = min(task.n for task in probed)
    principled = n / math.log(n) if n > math.e else n
    if probed[0].unit == "sample":
        choices.choose("nbeta", principled, f"n/ln n with n = {n:g}")
    else:
        reason = f"min(n/ln n, {_MOST_NBETA:.0f}) with n/ln n = {principled:.4g}"
        choices.choose("nbeta", min(principled, _MOST_NBETA), reason)
    curvatures = []
    for i, task in enumerate(probed):
        curvatures.append(top_curvature(task, items=_probe_items(task), seed=choices.seed).value)
        progress("measuring curvature", i + 1, len(probed))
    kappa = max(max(curvatures), 0.0)
    route = full_batch.plan(probed, choices, kappa, budget=budget)
    if route is not None:
        return full_batch.settle(probed, choices, route, target_se=target_se, budget=budget, progress=progress)
    _check_variates(series, choices, "sgld")
    return mini_batch.settle(probed, choices, kappa, most_steps=most_steps, progress=progress)


def check_fit(tasks: Sequence[Task], given: dict[str, Any]) -> None:
    """Refuses settings that do not fit the data: a batch larger than they are, β in place of nβ.

    Raises:
        InputError: one does not.
    """
    items, n = min(len(task.data) for task in tasks), min(task.n for task in tasks)
    batch_size, nbeta = given.get("batch_size"), given.get("nbeta")
    if batch_size is not None and batch_size > items:
        raise InputError(
            message(
                expected=f"batches of at most the {items} items that the data hold",
                got=f"batch_size = {batch_size}",
                do=f"give {items} or fewer",
            )
        )
    if nbeta is not None and nbeta < 1 <= n * nbeta:
        raise InputError(
            message(
                expected="nbeta, n times the inverse temperature, of at least 1",
                got=f"nbeta = {nbeta:g}, which looks like β itself",
                do=f"give n·β = {n * nbeta:.4g}",
            )
        )


def check_stopping(given: dict[str, Any], *, target_se: float | None, budget: float | None) -> None:
    """Refuses stopping rules that are out of range or contradict each other.

    Raises:
        InputError: one is, or a number of draws is given beside a rule that decides it.
    """
    if target_se is not None and not 0 < target_se < 1:
        raise InputError(
            message(expected="a target s.e. between 0 and 100 % of λ̂", got=f"{target_se:g}", do="give e.g. 5%")
        )
    if budget is not None and not (budget > 0 and math.isfinite(budget)):
        raise InputError(message(expected="a budget above 0 seconds", got=f"{budget:g}", do="give e.g. 10m"))
    if given.get("draws") is not None and (target_se is not None or budget is not None):
        other = "a target s.e." if target_se is not None else "a budget"
        raise InputError(
            message(
                expected="one rule for when to stop",
                got=f"draws = {given['draws']} and {other}",
                do="leave out one of them",
            )
        )


def _check_sampler(choices: Choices) -> None:
    if "sampler" not in choices or "step_size" in choices:
        return
    name = choices["sampler"].partition("(")[0].strip()
    samplers.registry.build(choices["sampler"])
    if name not in ("sgld", "hmc"):
        raise InputError(
            message(
                expected="a step size for a sampler other than sgld and hmc (step sizes do not carry over)",
                got=f"sampler {choices['sampler']} without one",
                do="give step_size",
            )
        )


def _check_variates(series: list[Task], choices: Choices, sampler: str) -> None:
    """Refuses variates that the sampler, `sampler` where none is given, would refuse after all pilots."""
    fields = {"step_size": 1.0, "gamma": 1.0, "nbeta": 1.0, "sampler": sampler, **choices.fields}
    for task in series:
        check_variates(settings_from(fields), task)


def _probe_items(task: Task) -> int:
    return 8 if task.unit in ("token", "sequence") else 256
