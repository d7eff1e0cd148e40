"""The full-batch route: Hamiltonian Monte Carlo, its settings from pilot chains."""

import math
import time

import torch

from bitsandnats._tree import map_batch
from bitsandnats._types import Batch, Params, Progress
from bitsandnats.calibration.choices import Choices
from bitsandnats.calibration.pilots import FEWEST, PILOT, Route, relaxed, shortened
from bitsandnats.calibration.pull import choose_pull
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior, faster_mode
from bitsandnats.task import Task

_SECONDS = 60.0  # an estimate, calibration included
_SMALL_DATA, _PATIENCE = 2048, 5.0  # where mini-batches would hold nearly all data anyway
_CHAINS, _CHEAP = (8, 4), 2e-3  # more chains where one evaluation of them all takes less than this many seconds
_EVALUATIONS = 9000  # of a typical estimate: pilots, burn-in and draws, times leapfrogs
_HOPELESS = 10.0  # times what is affordable: there no evaluation of all data is made to find out
_TASTE = 0.05  # seconds of a pass over some items, from which that over all is told
_TARGET_SE = 0.02
_DRAWS = (80, 4000)
_BURN_IN = 50


def plan(tasks: list[Task], choices: Choices, kappa: float, *, budget: float | None) -> Route | None:
    """The route, where nothing given forbids it and gradients over all data are affordable; else None."""
    name = choices.fields.get("sampler", "hmc").partition("(")[0].strip()
    if name != "hmc" or ("step_size" in choices and "sampler" not in choices):
        return None
    if choices.fields.get("center") == "cpu" or any(task.compute is not None for task in tasks):
        return None  # its arithmetic needs all of w*
    items = max(len(task.data) for task in tasks)
    if choices.fields.get("batch_size", items) < items:
        return None
    largest = max(tasks, key=lambda task: task.dimension * len(task.data))
    small = largest.unit == "sample" and items <= _SMALL_DATA
    affordable = budget or _SECONDS * (_PATIENCE if small else 1.0)
    if "sampler" not in choices:
        least = _CHAINS[-1] * _pass_seconds(largest) * _EVALUATIONS * len(tasks)
        if least > _HOPELESS * affordable:
            return None
    for chains in (choices["chains"],) if "chains" in choices else _CHAINS:
        mode = choices.fields.get("mode", "auto")
        mode = faster_mode(largest, None, chains=chains) if mode == "auto" else mode
        seconds = _evaluation_seconds(largest, chains, mode)
        if seconds <= _CHEAP:
            break
    if "sampler" not in choices and seconds * _EVALUATIONS * len(tasks) > affordable:
        return None
    return Route(chains, mode, seconds, kappa)


def settle(
    tasks: list[Task],
    choices: Choices,
    route: Route,
    *,
    target_se: float | None,
    budget: float | None,
    progress: Progress,
) -> Settings:
    """HMC's settings, from pilots on every task at each γ of a descending series.

    Args:
        tasks: the probed tasks.
        choices: what was given and what has been chosen.
        route: from `plan`.
        target_se: standard error wanted, as a share of λ̂.
        budget: seconds that the estimate may take; fewer draws where it is short.
        progress: told of each pilot.

    Raises:
        SettingsError: no pull keeps the draws in the basin.
    """
    began = time.perf_counter()
    choices.choose(
        "batch_size", max(len(t.data) for t in tasks), "all of the data: exact gradients, no noise of batches"
    )
    choices.choose("chains", route.chains, "default")
    choices.choose("start", "center", "trajectories are long: burn-in forgets the start")
    if "gamma" in choices:
        pilots, leapfrogs = relaxed(tasks, choices, route, choices["gamma"], FEWEST)
    else:
        gamma, reason, pilots, leapfrogs = choose_pull(tasks, choices, route, progress)
        choices.choose("gamma", gamma, reason)
    pilots, leapfrogs = shortened(tasks, choices, route, pilots, leapfrogs)
    slowest = max(p.tau for p in pilots)
    target = target_se or _TARGET_SE
    wanted = [PILOT[1] * (p.se / (target * max(abs(p.llc), 0.5))) ** 2 for p in pilots if math.isfinite(p.se)]
    draws = min(max(math.ceil(max(wanted, default=_DRAWS[0])), _DRAWS[0]), _DRAWS[1])
    reason = f"for a standard error of {target:.2g} λ̂, by the pilots (one effective draw in {slowest:.1f})"
    draw_seconds = route.seconds * leapfrogs
    if budget is not None:
        left = max(budget - (time.perf_counter() - began), 0.0)
        most = max(int(left / draw_seconds / 1.3), 20)
        if most < draws:
            draws, reason = most, f"what the budget of {budget:.0f} s leaves; {draws} would give {target:.2g} λ̂"
    draws = choices.fields.get("draws", draws)
    burn_in = choices.fields.get("burn_in", max(_BURN_IN, draws // 4))
    choices.choose("burn_in", burn_in, f"a quarter of the draws, at least {_BURN_IN}; the step adapts meanwhile")
    seconds = draw_seconds * (draws + burn_in)
    choices.choose("draws", draws, f"{reason}; about {_span(seconds)} a checkpoint")
    choices.choose(
        "step_size", min(p.step_size for p in pilots), "of the pilots, for 80 % acceptance; adapts in burn-in"
    )
    choices.choose(
        "sampler",
        f"hmc(leapfrogs={leapfrogs}, adapt_steps={burn_in})",
        "gradients over all data are affordable: accept/reject leaves no bias of the step",
    )
    choices.choose("mode", route.mode, "the faster of two, timed")
    return choices.settings()


def _pass_seconds(task: Task) -> float:
    """One chain's pass over all data, from one over so many items that it takes a while."""
    target = LocalPosterior(task, 1.0, 0.0)
    position = {name: w.unsqueeze(0) for name, w in task.center.items()}
    items, most = 1, len(task.data)
    while True:
        batch = map_batch(lambda t: t.unsqueeze(0), task.batch(torch.arange(items)))
        seconds = _timed(target, position, batch)
        if seconds > _TASTE or items == most:
            return seconds * most / items
        items = min(4 * items, most)


def _evaluation_seconds(task: Task, chains: int, mode: str) -> float:
    target = LocalPosterior(task, 1.0, 0.0, "vmap" if mode == "vmap" else "loop")
    position = {name: w.unsqueeze(0).repeat(chains, *(1,) * w.ndim) for name, w in task.center.items()}
    best = math.inf
    for _ in range(3):
        best = min(best, _timed(target, position, None))
        if best > 1.0:
            break
    return best


def _timed(target: LocalPosterior, position: Params, batch: Batch | None) -> float:
    """Seconds of one evaluation: of the clock, or of the processor where that is less, as beside other work."""
    began, worked = time.perf_counter(), time.process_time()
    target.evaluate(position, batch)
    if target.task.device.type != "cpu":
        torch.accelerator.synchronize(target.task.device)
        return time.perf_counter() - began
    return min(time.perf_counter() - began, time.process_time() - worked)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
