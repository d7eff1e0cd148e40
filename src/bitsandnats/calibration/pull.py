"""γ of the full-batch route: the weakest of tens that pilots can fill, or at which λ̂ no longer depends on it."""

import math

import torch

from bitsandnats._types import Progress
from bitsandnats.calibration.choices import Choices
from bitsandnats.calibration.pilots import ACROSS, FEWEST, SPREADING, Pilot, Route, relaxed, run_pilot
from bitsandnats.errors import SettingsError, message
from bitsandnats.task import Task

_STIFFEST_PULL = 0.01  # γ over nβ κ_max at which the search begins
_DECADES = 6
_SAME = 0.03  # change of λ̂ per tenfold γ that counts as none
_SHORT = 1.0  # of a matrix's norm: a reach that is not believed before a far weaker pull is tried
FAR = 100.0  # how much weaker
_PULLED = 5.0  # growth of λ̂ at a tenth of γ where the pull alone decides it; where that decides nothing it is 1

Found = tuple[float, list[Pilot], int]
"""A pull, its pilots and their leapfrogs."""


def choose_pull(
    tasks: list[Task], choices: Choices, route: Route, progress: Progress
) -> tuple[float, str, list[Pilot], int]:
    """γ, its reason, its pilots and their leapfrogs."""
    stiffest = choices["nbeta"] * route.stiffness * _STIFFEST_PULL
    top = round(math.log10(stiffest)) if stiffest > 0 else 0
    kept: Found | None = None
    for k in range(_DECADES):
        gamma = float(10.0 ** (top - k))
        pilots, leapfrogs = relaxed(tasks, choices, route, gamma, kept[2] if kept else FEWEST)
        here = (gamma, pilots, leapfrogs)
        progress("choosing gamma", k + 1, _DECADES)
        if not all(p.local for p in pilots):
            inside, next_weaker = (kept, pilots) if kept else _stronger(tasks, choices, route, here)
            free = _beyond(tasks, choices, route, here) if _decided(inside[1], next_weaker) else None
            return free or (inside[0], "the weakest of tens whose draws stay in the basin", *inside[1:])
        if kept is not None and any(p.gap > SPREADING for p in pilots):
            # weaker still would only spread more; between these two, what the pull takes decides
            if _rests(kept[1], pilots) and not _rises_ahead(tasks, choices, route, kept):
                return kept[0], "the weakest of tens at which pilots fill the reach that the pull allows", *kept[1:]
            said = f"λ̂ still changes by more than {_SAME:.0%} per tenfold γ, but weaker pulls are not filled"
            return gamma, said, pilots, leapfrogs
        if kept is not None and _rests(kept[1], pilots) and not _rises_ahead(tasks, choices, route, here):
            return gamma, f"λ̂ no longer depends on it: within {_SAME:.0%} of that at ten times γ", pilots, leapfrogs
        kept = here
    assert kept is not None
    return kept[0], f"the weakest tried: λ̂ still changed by more than {_SAME:.0%} per tenfold γ", *kept[1:]


def _decided(stronger: list[Pilot], weaker: list[Pilot]) -> bool:
    """λ̂ at the stronger pull is the pull's: it goes nearly as 1/γ."""
    return all(b.llc > _PULLED * a.llc for a, b in zip(stronger, weaker, strict=True))


def _beyond(
    tasks: list[Task], choices: Choices, route: Route, left: Found
) -> tuple[float, str, list[Pilot], int] | None:
    """The strongest pull outside the basin at which λ̂ no longer depends on it; None where there is none.

    Where λ/nβ is more than the way that draws may go from w*, no pull leaves them in the basin and is weak against the
    likelihood. Then λ̂ of the whole surroundings says more than a number that the pull decides; the verdict tells that
    the draws left the basin, and to raise nβ.
    """
    gamma, pilots, leapfrogs = left
    said = "at this nβ draws leave the basin wherever γ does not decide λ̂; this is the strongest that does not"
    for _ in range(_DECADES):
        weaker, most = relaxed(tasks, choices, route, gamma / 10, leapfrogs, inside=False)
        if not all(p.minimum for p in weaker):
            return None
        same = _rests(pilots, weaker)
        if any(p.gap > SPREADING for p in weaker):
            return (gamma, said, pilots, leapfrogs) if same else None
        gamma, pilots, leapfrogs = gamma / 10, weaker, most
        if same:
            return gamma, said, pilots, leapfrogs
    return None


def _rises_ahead(tasks: list[Task], choices: Choices, route: Route, found: Found) -> bool:
    """Whether a far weaker pull gives a larger λ̂, where the reach is short."""
    gamma, pilots, leapfrogs = found
    for task, pilot in zip(tasks, pilots, strict=True):
        if short_reach(task, gamma):
            ahead = run_pilot(task, choices, route, gamma / FAR, max(leapfrogs, ACROSS))
            if ahead.local and ahead.llc > pilot.llc and not _same(pilot, ahead):
                return True
    return False


def short_reach(task: Task, gamma: float) -> bool:
    """Whether the pull holds draws so close to w* that terms beyond the quadratic may not be felt.

    There half the rank of the Hessian looks like a plateau of λ̂ (`tests/truth/test_calibrated_pull.py`). Of some
    matrix m × n the norm of what the pull allows, (√m + √n)/√γ, is less than the norm of the weights; norms are
    spectral, since weights of low rank are small number by number. Matrices of zeros have nothing to compare with.

    Args:
        task: the checkpoint.
        gamma: the pull, nats per squared unit of weight.
    """
    if gamma <= 0:
        return False
    matrices = [w.detach().flatten(1) for w in task.center.values() if w.ndim > 1]
    reaches = [sum(math.sqrt(size) for size in w.shape) / math.sqrt(gamma) for w in matrices]
    norms = [float(torch.linalg.matrix_norm(w.double(), 2)) for w in matrices]
    return any(reach < _SHORT * norm for reach, norm in zip(reaches, norms, strict=True))


def _stronger(tasks: list[Task], choices: Choices, route: Route, left: Found) -> tuple[Found, list[Pilot]]:
    """The first larger γ whose draws stay in the basin, and the pilots at a tenth of it, which do not."""
    gamma, weaker, leapfrogs = left
    for _ in range(_DECADES):
        gamma *= 10
        pilots, leapfrogs = relaxed(tasks, choices, route, gamma, leapfrogs)
        if all(p.local for p in pilots):
            return (gamma, pilots, leapfrogs), weaker
        weaker = pilots
    raise SettingsError(
        message(
            expected=f"draws that stay in the basin at some γ up to {gamma:.0e}",
            got="draws that leave it at every γ",
            do="check that w* is a minimum of this loss on these data, or give gamma, sampler and step_size",
        )
    )


def _rests(stronger: list[Pilot], weaker: list[Pilot]) -> bool:
    """λ̂ is the same at both pulls, for every task."""
    return all(_same(a, b) for a, b in zip(stronger, weaker, strict=True))


def _same(stronger: Pilot, weaker: Pilot) -> bool:
    """λ̂ does not tell the two pulls apart; asked only at minima, where λ̂ has a limit."""
    if not (stronger.minimum and weaker.minimum):
        return True
    noise = math.hypot(stronger.se, weaker.se)
    return abs(weaker.llc - stronger.llc) <= max(_SAME * abs(weaker.llc), min(noise, 2 * _SAME * abs(weaker.llc)))
