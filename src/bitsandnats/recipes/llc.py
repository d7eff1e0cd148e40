"""estimate_llc(): one estimate with its error bar, its control and its verdict."""

import math
from typing import Any, Literal

import numpy as np
import xarray as xr

from bitsandnats import samplers
from bitsandnats._types import Progress, silent
from bitsandnats.calibration import calibrate, noise_excess
from bitsandnats.curvature import gradient_noise, top_curvature
from bitsandnats.estimators.llc import LLC, estimate
from bitsandnats.run import sample
from bitsandnats.settings import Settings, changed, settings_from
from bitsandnats.task import Task
from bitsandnats.theory.finite_step import noise_only_variance

_CONTROL_DRAWS = 8
_CONTROL_ITEMS = 32
_CURVATURE_ITEMS = {"token": 8, "sequence": 8, "sample": 256}


def estimate_llc(
    task: Task,
    *,
    settings: Settings | None = None,
    sampler: str | None = None,
    step_size: float | None = None,
    gamma: float | None = None,
    nbeta: float | None = None,
    batch_size: int | None = None,
    chains: int | None = None,
    draws: int | None = None,
    burn_in: int | None = None,
    start: Literal["center", "noise"] | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> LLC:
    """The local learning coefficient of a task at its center, as a measurement.

    Whatever is not given is chosen by `calibrate`'s rule, and its reason kept in the settings. Beside the draws it
    measures the largest curvature (for the share that the finite step adds) and the control: the excess loss under
    weight noise of the variance that the same chain would have at nβ = 0, with no likelihood at all.

    Args:
        task: what is modelled.
        settings: all settings at once, for instance those of another checkpoint; the options below override them.
        sampler: as in `bitsandnats ls samplers`.
        step_size: ε.
        gamma: γ, nats per squared unit of weight.
        nbeta: nβ.
        batch_size: items a minibatch.
        chains: independent chains.
        draws: steps of each chain that count.
        burn_in: steps of each chain before them.
        start: `center` or `noise`.
        seed: chain c's randomness depends on (seed, c) only; None = that of `settings`, else 0.
        progress: told of the work as it is done.

    Returns:
        `.llc`, `.se`, `.interval` (nats), `.verdict`, `.figures`, `.tree`.

    Raises:
        InputError: a setting is out of range.
        SettingsError: no settings keep the draws in the basin.
    """
    options: dict[str, Any] = {
        "sampler": sampler,
        "step_size": step_size,
        "gamma": gamma,
        "nbeta": nbeta,
        "batch_size": batch_size,
        "chains": chains,
        "draws": draws,
        "burn_in": burn_in,
        "start": start,
    }
    if settings is None:
        check_given(options)
        settings = calibrate(task, given={**options, "seed": seed or 0}, progress=progress)
    else:
        settings = changed(settings, {**options, "seed": seed})
    return estimate(measure_llc(task, settings, progress=progress))


def check_given(given: dict[str, Any]) -> None:
    """Refuses settings that are out of range, before anything is measured; None stands for those not given.

    Raises:
        InputError: one is.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    if "sampler" in fields:
        samplers.registry.build(fields["sampler"])
    settings_from({"step_size": 1.0, "gamma": 1.0, "nbeta": 1.0, **fields})


def measure_llc(task: Task, settings: Settings, *, progress: Progress = silent) -> xr.DataTree:
    """Draws, largest curvature and noise-only control of one checkpoint, ready for `estimators.llc.estimate`."""
    tree = sample(task, settings, progress=progress)
    curvature = top_curvature(task, items=_CURVATURE_ITEMS[task.unit], tolerance=0.05, seed=settings.seed)
    tree.attrs["top_curvature"] = curvature.value
    noise = gradient_noise(task, batch_size=settings.batch_size, items=_CURVATURE_ITEMS[task.unit], seed=settings.seed)
    tree.attrs.update(gradient_noise=noise.trace, gradient_noise_curvature=noise.curvature)
    variance = _control_variance(tree, settings)
    if math.isfinite(variance):
        control = noise_excess(task, variance, draws=_CONTROL_DRAWS, items=_CONTROL_ITEMS, seed=settings.seed)
        if np.isfinite(control).all():
            tree["noise_only"] = xr.DataTree(xr.Dataset({"excess": ("draw", control)}, attrs={"variance": variance}))
    return tree


def _control_variance(tree: xr.DataTree, settings: Settings) -> float:
    """Variance of a weight in the same chain at nβ = 0: exact for SGLD, with the mean of A where A adapts."""
    draws = tree["draws"].dataset
    scale = float(draws["preconditioner_mean"].mean()) if "preconditioner_mean" in draws else 1.0
    return noise_only_variance(
        gamma=settings.gamma,
        step_size=settings.step_size * scale,
        burn_in=settings.burn_in,
        draws=settings.draws,
        start_variance=1 / settings.gamma if settings.start == "noise" else 0.0,
    )
