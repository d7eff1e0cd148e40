"""Pilot chains of Hamiltonian Monte Carlo: λ̂ at a pull, how well they moved, how long trajectories must be."""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

from bitsandnats.calibration.choices import Choices
from bitsandnats.calibration.locality import chance_limit
from bitsandnats.estimators.dependence import virial
from bitsandnats.estimators.diagnostics import convergence
from bitsandnats.estimators.llc import excess_trace
from bitsandnats.run import sample
from bitsandnats.settings import settings_from
from bitsandnats.task import Task

PILOT = (40, 40)  # burn-in and draws
FEWEST, _MOST = 8, 512  # leapfrogs
_SHORTEST = 4  # where trajectories are shortened for the price of a draw
_CHEAPER = 0.9  # price of an effective draw at half the leapfrogs, below which they are halved
ACROSS = 64  # leapfrogs at most for the sake of flat directions: a stronger pull is cheaper
_RUN_SECONDS, _RUN_TRANSITIONS = 40.0, 200  # what a run's trajectories may take, and how many there are
_TAU = 6.0  # draws that one effective draw may take: an angle at random already costs three
SPREADING = 0.1  # of the dimensions: below, the draws have filled the reach that the pull allows


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


class Pilot(NamedTuple):
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


def relaxed(
    tasks: list[Task], choices: Choices, route: Route, gamma: float, leapfrogs: int, *, inside: bool = True
) -> tuple[list[Pilot], int]:
    """A pilot of each task, with trajectories long enough where the time allows it, and their leapfrogs.

    Trajectories of pilots that left the basin are not lengthened if only draws `inside` it are of use.
    """
    most = int(min(max(_RUN_SECONDS / (route.seconds * _RUN_TRANSITIONS), ACROSS), _MOST))
    while True:
        pilots = [run_pilot(task, choices, route, gamma, leapfrogs) for task in tasks]
        slow, spreading = (max(getattr(p, name) for p in pilots) for name in ("tau", "gap"))
        longest = most if slow > _TAU else min(ACROSS, most) if spreading > SPREADING else 0
        if leapfrogs >= longest or (inside and not all(p.local for p in pilots)):
            return pilots, leapfrogs
        leapfrogs = min((2 if slow > _TAU else 4) * leapfrogs, longest)


def shortened(
    tasks: list[Task], choices: Choices, route: Route, pilots: list[Pilot], leapfrogs: int
) -> tuple[list[Pilot], int]:
    """Pilots with trajectories halved while that makes an effective draw cheaper and leaves λ̂ as it is."""
    while leapfrogs > _SHORTEST:
        shorter = [run_pilot(task, choices, route, choices["gamma"], leapfrogs // 2) for task in tasks]
        price = max(p.tau for p in shorter) / 2 / max(p.tau for p in pilots)
        if not (price < _CHEAPER and all(map(_like, pilots, shorter))):
            break
        pilots, leapfrogs = shorter, leapfrogs // 2
    return pilots, leapfrogs


def _like(longer: Pilot, shorter: Pilot) -> bool:
    """The shorter trajectories fill the same reach."""
    near = abs(shorter.llc - longer.llc) <= 2 * math.hypot(longer.se, shorter.se)
    return near and shorter.local and max(shorter.gap, longer.gap) <= SPREADING


def run_pilot(task: Task, choices: Choices, route: Route, gamma: float, leapfrogs: int) -> Pilot:
    """One pilot of a task at a pull."""
    burn_in, draws = PILOT
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
        return Pilot(math.nan, math.nan, False, False, math.inf, math.nan, step_size)
    known = convergence(excess)
    data = tree["draws"].dataset
    slope = convergence(data["slope_part"].values)
    minimum = abs(slope.mean) <= max(0.1 * nbeta * abs(known.mean), 3 * slope.se if math.isfinite(slope.se) else 0.0)
    limit = chance_limit(task)
    ess = known.ess if math.isfinite(known.ess) else 1.0
    return Pilot(
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
