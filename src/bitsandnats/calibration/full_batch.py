"""The full-batch route: Hamiltonian Monte Carlo, with the pull and the lengths from pilot chains."""

import math
import time
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

from bitsandnats._types import Progress
from bitsandnats.calibration.choices import Choices
from bitsandnats.calibration.locality import chance_limit
from bitsandnats.errors import SettingsError, message
from bitsandnats.estimators.dependence import virial
from bitsandnats.estimators.diagnostics import convergence
from bitsandnats.estimators.llc import excess_trace
from bitsandnats.run import sample
from bitsandnats.settings import Settings, settings_from
from bitsandnats.target import LocalPosterior, faster_mode
from bitsandnats.task import Task

_SECONDS = 60.0  # an estimate, calibration included
_SMALL_DATA, _PATIENCE = 2048, 5.0  # where mini-batches would hold nearly all data anyway
_CHAINS, _CHEAP = (8, 4), 2e-3  # more chains where one evaluation of them all takes less than this many seconds
_EVALUATIONS = 9000  # of a typical estimate: pilots, burn-in and draws, times leapfrogs
_RUN_SECONDS, _RUN_TRANSITIONS = 40.0, 200  # what a run's trajectories may take, and how many there are
_STIFFEST_PULL = 0.01  # γ over nβ κ_max at which the search begins
_DECADES = 6
_SAME = 0.03  # change of λ̂ per tenfold γ that counts as none
_LEAPFROGS = (16, 512)
_ACROSS = 64  # leapfrogs at most for the sake of flat directions: a stronger pull is cheaper
_PILOT = (40, 40)  # burn-in and draws
_TARGET_SE = 0.02
_DRAWS = (80, 4000)
_BURN_IN = 50
_TAU = 6.0  # draws that one effective draw may take: an angle at random already costs three
_SPREADING = 0.1  # of the dimensions: below, the draws have filled the reach that the pull allows


class Route(NamedTuple):
    """What is known before the pilots.

    Attributes:
        chains: of pilots and estimate.
        mode: how their group is evaluated.
        seconds: one evaluation of all chains.
        stiffness: κ_max, nats a unit per squared unit of weight.
    """

    chains: int
    mode: str
    seconds: float
    stiffness: float


class _Pilot(NamedTuple):
    """One short run: λ̂ with its error, and how well it moved.

    Attributes:
        llc: λ̂, nats.
        se: its standard error.
        minimum: the slope at w* plays no part.
        local: the draws stayed in the basin.
        tau: draws that one effective draw takes.
        gap: share of the dimensions that are still spreading.
        step_size: that the chains adapted to.
    """

    llc: float
    se: float
    minimum: bool
    local: bool
    tau: float
    gap: float
    step_size: float


def plan(tasks: list[Task], choices: Choices, kappa: float, *, budget: float | None) -> Route | None:
    """The route, where nothing given forbids it and gradients over all data are affordable; else None."""
    name = choices.fields.get("sampler", "hmc").partition("(")[0].strip()
    if name != "hmc" or ("step_size" in choices and "sampler" not in choices):
        return None
    items = max(len(task.data) for task in tasks)
    if choices.fields.get("batch_size", items) < items:
        return None
    largest = max(tasks, key=lambda task: task.dimension * len(task.data))
    for chains in (choices["chains"],) if "chains" in choices else _CHAINS:
        mode = choices.fields.get("mode", "auto")
        mode = faster_mode(largest, None, chains=chains) if mode == "auto" else mode
        seconds = _evaluation_seconds(largest, chains, mode)
        if seconds <= _CHEAP:
            break
    small = largest.unit == "sample" and items <= _SMALL_DATA
    affordable = budget or _SECONDS * (_PATIENCE if small else 1.0)
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
        pilots, leapfrogs = _relaxed(tasks, choices, route, choices["gamma"], _LEAPFROGS[0])
    else:
        gamma, reason, pilots, leapfrogs = _choose_gamma(tasks, choices, route, progress)
        choices.choose("gamma", gamma, reason)
    slowest = max(p.tau for p in pilots)
    target = target_se or _TARGET_SE
    wanted = [_PILOT[1] * (p.se / (target * max(abs(p.llc), 0.5))) ** 2 for p in pilots if math.isfinite(p.se)]
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


def _choose_gamma(
    tasks: list[Task], choices: Choices, route: Route, progress: Progress
) -> tuple[float, str, list[_Pilot], int]:
    """γ, its reason, its pilots and their leapfrogs."""
    stiffest = choices["nbeta"] * route.stiffness * _STIFFEST_PULL
    top = round(math.log10(stiffest)) if stiffest > 0 else 0
    kept: tuple[float, list[_Pilot], int] | None = None
    for k in range(_DECADES):
        gamma = float(10.0 ** (top - k))
        pilots, leapfrogs = _relaxed(tasks, choices, route, gamma, kept[2] if kept else _LEAPFROGS[0])
        progress("choosing gamma", k + 1, _DECADES)
        if not all(p.local for p in pilots):
            if kept is None:
                return _stronger(tasks, choices, route, gamma, leapfrogs)
            return kept[0], "the weakest of tens whose draws stay in the basin", *kept[1:]
        if kept is not None and any(p.gap > _SPREADING for p in pilots):
            # weaker still would only spread more; between these two, what the pull takes decides
            if all(_same(a, b) for a, b in zip(kept[1], pilots, strict=True)):
                return kept[0], "the weakest of tens at which pilots fill the reach that the pull allows", *kept[1:]
            said = f"λ̂ still changes by more than {_SAME:.0%} per tenfold γ, but weaker pulls are not filled"
            return gamma, said, pilots, leapfrogs
        if kept is not None and all(_same(a, b) for a, b in zip(kept[1], pilots, strict=True)):
            return gamma, f"λ̂ no longer depends on it: within {_SAME:.0%} of that at ten times γ", pilots, leapfrogs
        kept = (gamma, pilots, leapfrogs)
    assert kept is not None
    return kept[0], f"the weakest tried: λ̂ still changed by more than {_SAME:.0%} per tenfold γ", *kept[1:]


def _stronger(
    tasks: list[Task], choices: Choices, route: Route, gamma: float, leapfrogs: int
) -> tuple[float, str, list[_Pilot], int]:
    """The first larger γ whose draws stay in the basin."""
    for _ in range(_DECADES):
        gamma *= 10
        pilots, leapfrogs = _relaxed(tasks, choices, route, gamma, leapfrogs)
        if all(p.local for p in pilots):
            return gamma, "the weakest of tens whose draws stay in the basin", pilots, leapfrogs
    raise SettingsError(
        message(
            expected=f"draws that stay in the basin at some γ up to {gamma:.0e}",
            got="draws that leave it at every γ",
            do="check that w* is a minimum of this loss on these data, or give gamma, sampler and step_size",
        )
    )


def _same(stronger: _Pilot, weaker: _Pilot) -> bool:
    """λ̂ does not tell the two pulls apart; asked only at minima, where λ̂ has a limit."""
    if not (stronger.minimum and weaker.minimum):
        return True
    noise = math.hypot(stronger.se, weaker.se)
    return abs(weaker.llc - stronger.llc) <= max(_SAME * abs(weaker.llc), min(noise, 2 * _SAME * abs(weaker.llc)))


def _relaxed(
    tasks: list[Task], choices: Choices, route: Route, gamma: float, leapfrogs: int
) -> tuple[list[_Pilot], int]:
    """A pilot of each task, with trajectories long enough where the time allows it, and their leapfrogs."""
    most = int(min(max(_RUN_SECONDS / (route.seconds * _RUN_TRANSITIONS), 2 * _LEAPFROGS[0]), _LEAPFROGS[1]))
    while True:
        pilots = [_pilot(task, choices, route, gamma, leapfrogs) for task in tasks]
        slow, spreading = (max(getattr(p, name) for p in pilots) for name in ("tau", "gap"))
        longest = most if slow > _TAU else min(_ACROSS, most) if spreading > _SPREADING else 0
        if leapfrogs >= longest or not all(p.local for p in pilots):
            return pilots, leapfrogs
        leapfrogs = min((2 if slow > _TAU else 4) * leapfrogs, longest)


def _pilot(task: Task, choices: Choices, route: Route, gamma: float, leapfrogs: int) -> _Pilot:
    burn_in, draws = _PILOT
    nbeta = choices["nbeta"]
    step_size = 0.5 / math.sqrt(nbeta * route.stiffness + gamma) if nbeta * route.stiffness + gamma > 0 else 1.0
    settings = settings_from(
        {
            "sampler": f"hmc(leapfrogs={leapfrogs}, adapt_steps={burn_in})",
            "step_size": step_size,
            "gamma": gamma,
            "nbeta": nbeta,
            "batch_size": len(task.data),
            "chains": route.chains,
            "burn_in": burn_in,
            "draws": draws,
            "seed": choices.seed,
            "mode": route.mode,
            **choices.numerics(),
        }
    )
    tree = sample(task, settings)
    excess = excess_trace(tree)
    if not np.isfinite(excess).all():
        return _Pilot(math.nan, math.nan, False, False, math.inf, math.nan, step_size)
    known = convergence(excess)
    data = tree["draws"].dataset
    slope = convergence(data["slope_part"].values)
    minimum = abs(slope.mean) <= max(0.1 * nbeta * abs(known.mean), 3 * slope.se if math.isfinite(slope.se) else 0.0)
    limit = chance_limit(task)
    ess = known.ess if math.isfinite(known.ess) else 1.0
    return _Pilot(
        nbeta * known.mean,
        nbeta * known.se,
        minimum,
        limit is None or known.mean <= limit,
        excess.size / ess,
        _spreading(tree),
        float(f"{np.median(data['step_size_used'].values):.3g}"),
    )


def _spreading(tree: xr.DataTree) -> float:
    """Share of the dimensions that are still spreading, where that is beyond doubt."""
    found = virial(tree)
    gap, noise = found.get("virial_gap", 0.0), found.get("virial_gap_se", 0.0)
    return gap if gap > 3 * noise else 0.0


def _evaluation_seconds(task: Task, chains: int, mode: str) -> float:
    target = LocalPosterior(task, 1.0, 0.0, "vmap" if mode == "vmap" else "loop")
    position = {name: w.unsqueeze(0).repeat(chains, *(1,) * w.ndim) for name, w in task.center.items()}
    best = math.inf
    for _ in range(3):
        began = time.perf_counter()
        target.evaluate(position, None)
        if task.device.type == "cuda":
            torch.cuda.synchronize(task.device)
        best = min(best, time.perf_counter() - began)
        if best > 1.0:
            break
    return best


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
