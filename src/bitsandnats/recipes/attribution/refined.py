"""refined_llc(): λ̂ of parts of a network, on parts of the data, over a series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Int
from numpy import ndarray

from bitsandnats._types import Progress, silent
from bitsandnats.calibration import calibrate
from bitsandnats.component import on_component
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.curves import cluster_curves, shapes
from bitsandnats.estimators.llc import LLC, estimate
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.settings import Settings, changed
from bitsandnats.task import Task

WHOLE = "all"
"""The name of the whole network, and of the task's own data."""


@dataclass(frozen=True)
class RefinedLLC:
    """λ̂(w*; V, q') of each checkpoint, component V and data q'.

    Attributes:
        dataset: `llc`, `se` (nats) and `status` over (checkpoint, component, data); attributes: the settings.
        estimates: every estimate, by (checkpoint, component, data).
    """

    dataset: xr.Dataset
    estimates: dict[tuple[str, str, str], LLC]

    def curves(self, data: str = WHOLE) -> xr.DataArray:
        """λ̂ of each component over the checkpoints, on one of the data."""
        return self.dataset["llc"].sel(data=data).transpose("component", "checkpoint")

    def clusters(
        self,
        count: int,
        *,
        data: str = WHOLE,
        method: Literal["kmeans", "dtw", "hierarchical"] = "kmeans",
        seed: int = 0,
    ) -> Int[ndarray, " component"]:
        """Components grouped by the shape of their curves, each less its mean and over its s.d.

        Raises:
            InputError: more clusters than components, or a curve with a checkpoint that could not be measured.
        """
        return cluster_curves(shapes(self.curves(data).values), count, method=method, seed=seed)

    def __str__(self) -> str:
        lines = []
        for (checkpoint, component, data), found in self.estimates.items():
            said = (
                [component] + ([f"on {data}"] if data != WHOLE else []) + ([f"at {checkpoint}"] if checkpoint else [])
            )
            lines.append(f"{' '.join(said)}: {found}")
        return "\n".join(lines)


def refined_llc(
    task: Task | Mapping[str, Task],
    components: Sequence[str],
    data: Mapping[str, Any] | None = None,
    *,
    settings: Settings | None = None,
    chains: int | None = None,
    draws: int | None = None,
    step_size: float | None = None,
    gamma: float | None = None,
    nbeta: float | None = None,
    batch_size: int | None = None,
    sampler: str | None = None,
    burn_in: int | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> RefinedLLC:
    """Weight-, data- and doubly-refined λ̂: only V moves, and the loss is that on q'.

    All are sampled with the same settings, so that they compare. On other data than those of the training w* need not
    be a minimum: the verdict says so by the slope's part. λ̂(V) ≤ λ̂ holds for block-separable and quadratic losses
    only. Source: arXiv 2410.02984.

    Args:
        task: the task, or checkpoint -> task.
        components: parts of the network; `all` for the whole.
        data: name -> data of the task's form in place of the task's own; None = only those.
        settings: of the sampler; None = calibrated on the first, middle and last of all.
        chains: independent chains.
        draws: steps of each chain that count.
        step_size: ε.
        gamma: γ.
        nbeta: nβ.
        batch_size: items a minibatch.
        sampler: as in `bitsandnats ls samplers`.
        burn_in: steps of each chain before the draws.
        seed: of all chains.
        progress: told of the work as it is done.

    Raises:
        InputError: no components, one that does not exist, or a setting out of range.
        DataError: data are not of the task's form.
    """
    series = {"": task} if isinstance(task, Task) else dict(task)
    if not components or not series:
        got = "no components" if not components else "no checkpoints"
        raise InputError(message(expected="components of at least one checkpoint", got=got, do="name some"))
    sets: dict[str, Any] = {WHOLE: None} if data is None else dict(data)
    refined = {
        (checkpoint, component, name): _refined(own, component, given)
        for checkpoint, own in series.items()
        for component in components
        for name, given in sets.items()
    }
    options = {
        "chains": chains,
        "draws": draws,
        "step_size": step_size,
        "gamma": gamma,
        "nbeta": nbeta,
        "batch_size": batch_size,
        "sampler": sampler,
        "burn_in": burn_in,
    }
    if settings is None:
        settings = calibrate(list(refined.values()), given={**options, "seed": seed or 0}, progress=progress)
    else:
        settings = changed(settings, {**options, "seed": seed})
    found = {}
    for place, (key, own) in enumerate(refined.items()):
        found[key] = estimate(measure_llc(own, settings))
        progress("sampling", place + 1, len(refined))
    shape = (len(series), len(components), len(sets))
    keys = list(found)
    dims = ("checkpoint", "component", "data")
    return RefinedLLC(
        xr.Dataset(
            {
                "llc": (dims, np.array([found[k].llc for k in keys]).reshape(shape)),
                "se": (dims, np.array([found[k].se for k in keys]).reshape(shape)),
                "status": (dims, np.array([found[k].verdict.status for k in keys]).reshape(shape)),
                "dimension": (dims, np.array([refined[k].dimension for k in keys]).reshape(shape)),
            },
            coords={"checkpoint": list(series), "component": list(components), "data": list(sets)},
            attrs=settings.values(),
        ),
        found,
    )


def _refined(task: Task, component: str, data: Any) -> Task:
    own = task if data is None else task.on(data)
    return own if component == WHOLE else on_component(own, component)
