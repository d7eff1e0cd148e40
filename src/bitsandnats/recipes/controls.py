"""What is measured beside the draws, so that a verdict can be given: each a group of the tree, or attributes of it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from bitsandnats import samplers
from bitsandnats.calibration import ACROSS, FAR, noise_excess, short_reach
from bitsandnats.curvature import gradient_noise, top_curvature
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.dependence import exact
from bitsandnats.estimators.llc import estimate
from bitsandnats.estimators.verdict import Thresholds
from bitsandnats.run import sample
from bitsandnats.settings import Settings, changed
from bitsandnats.task import Task
from bitsandnats.theory.finite_step import noise_only_variance

FURTHER = ("step", "resolution")
"""Controls that cost as much as the estimate or more, and are made only where asked for."""

_STRONGER = 10.0
_NOISE_DRAWS = 8
_NOISE_ITEMS = 32
_CURVATURE_ITEMS = {"token": 8, "sequence": 8, "sample": 256}
_RESOLUTION = (1 / 64, 1 / 16, 1 / 4, 4.0)  # of nβ, beside the estimate's own


def check_controls(asked: Sequence[str]) -> None:
    """Refuses a control that does not exist.

    Raises:
        InputError: one does not.
    """
    for name in asked:
        if name not in FURTHER:
            raise InputError(
                message(expected=f"controls among {', '.join(FURTHER)}", got=repr(name), do="choose among them")
            )


def with_controls(tree: xr.DataTree, task: Task, settings: Settings, further: Sequence[str] = ()) -> xr.DataTree:
    """The draws with their controls.

    Always: the excess loss under weight noise of the variance that the same chain would have at nβ = 0. For a sampler
    with accept/reject: λ̂ at a pull ten times stronger, and at one a hundred times weaker where the reach is short
    (`calibration.short_reach`). For others: the largest curvature and the gradient noise, from
    which the bias of the step is bounded. Where asked for: λ̂ at half and at twice the step (`step`), and at other
    temperatures (`resolution`).

    Args:
        tree: from `run.sample`.
        task: the task, in the metric that was sampled in.
        settings: of the draws.
        further: of `FURTHER`.
    """
    settings = changed(settings, {"variates": "none"})  # one set of directions is enough
    found = {"/": tree.to_dataset(), **{name: child.to_dataset() for name, child in tree.children.items()}}
    if exact(tree):
        found["stronger_pull"] = _at_stronger_pull(task, settings)
        if short_reach(task, settings.gamma):
            found["weaker_pull"] = _at_weaker_pull(task, settings)
    else:
        items = _CURVATURE_ITEMS[task.unit]
        noise = gradient_noise(task, batch_size=settings.batch_size, items=items, seed=settings.seed)
        found["/"] = found["/"].assign_attrs(
            top_curvature=top_curvature(task, items=items, tolerance=0.05, seed=settings.seed).value,
            gradient_noise=noise.trace if settings.gradient == "plain" else 0.0,
            gradient_noise_curvature=noise.curvature,
        )
    variance = _noise_variance(tree, settings)
    if math.isfinite(variance):
        control = noise_excess(task, variance, draws=_NOISE_DRAWS, items=_NOISE_ITEMS, seed=settings.seed)
        if np.isfinite(control).all():
            found["noise_only"] = xr.Dataset({"excess": ("draw", control)}, attrs={"variance": variance})
    if "step" in further and not exact(tree):
        for name, factor in (("half_step", 0.5), ("double_step", 2.0)):
            # as many relaxation times as the estimate: more, smaller steps
            length = {"draws": round(settings.draws / factor), "burn_in": round(settings.burn_in / factor)}
            found[name] = _alone(task, changed(settings, {"step_size": settings.step_size * factor, **length}))
    if "resolution" in further:
        found["resolution"] = _resolution(tree, task, settings)
    return xr.DataTree.from_dict(found)


def _at_stronger_pull(task: Task, settings: Settings) -> xr.Dataset:
    """λ̂ at ten times the pull, from half the draws: does the pull shape the number?"""
    if settings.gamma == 0:
        return xr.Dataset(attrs={"gamma": 0.0, "llc": math.nan, "se": math.nan})
    stronger = {"gamma": _STRONGER * settings.gamma, "draws": max(settings.draws // 2, 20)}
    return _alone(task, changed(settings, stronger))


def _at_weaker_pull(task: Task, settings: Settings) -> xr.Dataset:
    """λ̂ at a far weaker pull: does the pull hide what lies further out? NaN where the draws leave the basin there.

    From fewer draws with longer trajectories, in all at most as many gradients as the estimate took, where that leaves
    trajectories long enough to get there.
    """
    draws = max(settings.draws // 4, 40)
    weaker: dict[str, Any] = {"gamma": settings.gamma / FAR, "draws": draws}
    if settings.sampler.startswith("hmc"):
        own = samplers.registry.given(settings.sampler).get("leapfrogs", ACROSS)
        affordable = own * settings.steps // (settings.burn_in + draws)
        longer = max(own, min(max(affordable, ACROSS // 2), ACROSS))
        weaker["sampler"] = samplers.registry.changed(settings.sampler, {"leapfrogs": longer})
    settings = changed(settings, weaker)
    found = estimate(sample(task, settings))
    inside = found.figures.get("chance_share", 0.0) <= Thresholds().basin
    return xr.Dataset(attrs={"gamma": settings.gamma, "llc": found.llc if inside else math.nan, "se": found.se})


def _alone(task: Task, settings: Settings) -> xr.Dataset:
    found = estimate(sample(task, settings))
    return xr.Dataset(attrs={"gamma": settings.gamma, "llc": found.llc, "se": found.se})


def _resolution(tree: xr.DataTree, task: Task, settings: Settings) -> xr.Dataset:
    """λ̂ at other temperatures, its own among them, from the smallest nβ to the largest."""
    power = 0.5 if exact(tree) else 1.0
    rows = [(settings.nbeta, estimate(tree))]
    for factor in _RESOLUTION:
        # where the pull outweighs the likelihood the step is the pull's
        step = settings.step_size * min(factor**-power, 8.0)
        here = changed(settings, {"nbeta": settings.nbeta * factor, "step_size": step})
        rows.append((here.nbeta, estimate(sample(task, here))))
    rows.sort(key=lambda row: row[0])
    return xr.Dataset(
        {
            "llc": ("nbeta", [found.llc for _, found in rows]),
            "se": ("nbeta", [found.se for _, found in rows]),
        },
        coords={"nbeta": [nbeta for nbeta, _ in rows]},
    )


def _noise_variance(tree: xr.DataTree, settings: Settings) -> float:
    """Variance of a weight in the same chain at nβ = 0: exact for SGLD, with the mean of A where A adapts."""
    if exact(tree):
        return 1 / settings.gamma if settings.gamma > 0 else math.inf
    draws = tree["draws"].dataset
    scale = float(draws["preconditioner_mean"].mean()) if "preconditioner_mean" in draws else 1.0
    return noise_only_variance(
        gamma=settings.gamma,
        step_size=settings.step_size * scale,
        burn_in=settings.burn_in,
        draws=settings.draws,
        start_variance=1 / settings.gamma if settings.start == "noise" else 0.0,
    )
