"""estimate_llc(): one estimate with its error bar, its control and its verdict."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from bitsandnats import samplers
from bitsandnats._types import Progress, silent
from bitsandnats.calibration import calibrate, check_fit, check_stopping
from bitsandnats.component import on_component
from bitsandnats.estimators.llc import LLC, estimate
from bitsandnats.metric import Metric, in_metric
from bitsandnats.paging import Place, center_in
from bitsandnats.precision import Precision
from bitsandnats.recipes.controls import check_controls, with_controls
from bitsandnats.run import sample
from bitsandnats.run.blocks import Blocks
from bitsandnats.settings import Settings, changed, settings_from
from bitsandnats.task import Task

_MOST_EXTENDED = 20_000  # draws of a chain
_WORTH_WHILE = 0.05  # of the draws there are


@dataclass(frozen=True)
class Stopping:
    """When there are draws enough.

    Attributes:
        target_se: standard error wanted, as a share of λ̂; None = no such rule.
        seconds: that sampling may take; None = no limit.
    """

    target_se: float | None
    seconds: float | None

    def more(self, tree: xr.DataTree) -> int:
        """Further draws of each chain; 0 = enough."""
        found = estimate(tree)
        draws, seconds = int(tree.attrs["draws"]), float(tree.attrs["seconds"])
        if not math.isfinite(found.llc) or not math.isfinite(found.se):
            return 0
        wanted = math.inf
        if self.target_se is not None:
            ratio = found.se / (self.target_se * max(abs(found.llc), 1e-12))
            wanted = draws * (1.1 * ratio**2 - 1) if ratio > 1 else 0
        affordable = math.inf
        if self.seconds is not None:
            affordable = max(self.seconds - seconds, 0) * (draws + int(tree.attrs["burn_in"])) / max(seconds, 1e-9)
        elif draws >= _MOST_EXTENDED:
            return 0
        # at most doubled at a time: the first estimate of the error is itself uncertain
        more = math.floor(min(wanted, affordable, draws))
        return more if more >= draws * _WORTH_WHILE else 0


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
    metric: Metric | None = None,
    precision: Precision | None = None,
    micro_batch: int | None = None,
    center: Place | None = None,
    compile: bool | None = None,
    variates: Literal["none", "quadratic"] | None = None,
    component: str | None = None,
    target_se: float | None = None,
    budget: float | None = None,
    controls: Sequence[str] = (),
    seed: int | None = None,
    progress: Progress = silent,
) -> LLC:
    """The local learning coefficient of a task at its center, as a measurement.

    Whatever is not given is chosen by `calibrate`'s rule, and its reason kept in the settings. Beside the draws it
    measures the controls that the verdict needs (`recipes.controls`).

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
        metric: `weights`, or `tensors` for a pull that does not change when ReLU layers are rescaled.
        precision: of the loss's products: `float32`, `tf32` (on CUDA) or `bfloat16`.
        micro_batch: items a pass at most; by default as many as memory holds.
        center: where w* is kept, `cpu` to save an array of the weights' size on an accelerator; see `paging`.
        compile: run the network's layers through `torch.compile`; see `compiling`.
        variates: `quadratic` for a smaller error from the same draws, of samplers with accept/reject (`Settings`).
        component: the part that moves, such as `layer.3.head.5`, everything else held (`component.on_component`).
        target_se: standard error wanted, as a share of λ̂: draws are added until it is met.
        budget: seconds that calibration and sampling may take.
        controls: further ones: `step` (λ̂ at half and twice the step), `resolution` (at other temperatures, with the
            extrapolation to λ).
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
        "metric": metric,
        "precision": precision,
        "micro_batch": micro_batch,
        "center": center,
        "compile": compile,
        "variates": variates,
    }
    began = time.perf_counter()
    task = task if component is None else on_component(task, component)
    task = center_in(task, center or (settings.center if settings is not None else "device"))
    check_controls(controls)
    check_stopping(options, target_se=target_se, budget=budget)
    check_fit([task], options)
    if settings is None:
        check_given(options)
        given = {**options, "seed": seed or 0}
        settings = calibrate(task, given=given, target_se=target_se, budget=budget, progress=progress)
    else:
        settings = changed(settings, {**options, "seed": seed})
    left = None if budget is None else max(budget - (time.perf_counter() - began), 0.0)
    rule = Stopping(target_se, left) if target_se is not None or budget is not None else None
    return estimate(measure_llc(task, settings, stopping=rule, controls=controls, progress=progress))


def drawn(settings: Settings, estimate: LLC) -> Settings:
    """The settings with the draws that were made: a rule to stop decides them while it samples."""
    return changed(settings, {"draws": int(estimate.tree.attrs["draws"])})


def check_given(given: dict[str, Any]) -> None:
    """Refuses settings that are out of range, before anything is measured; None stands for those not given.

    Raises:
        InputError: one is.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    if "sampler" in fields:
        samplers.registry.build(fields["sampler"])
    settings_from({"step_size": 1.0, "gamma": 1.0, "nbeta": 1.0, **fields})


def measure_llc(
    task: Task,
    settings: Settings,
    *,
    stopping: Stopping | None = None,
    controls: Sequence[str] = (),
    blocks: Blocks | None = None,
    progress: Progress = silent,
) -> xr.DataTree:
    """Draws of one checkpoint with their controls, ready for `estimators.llc.estimate`.

    Args:
        task: the checkpoint.
        settings: of the sampler.
        stopping: when there are draws enough; None = after those of `settings`.
        controls: further ones, see `recipes.controls`.
        blocks: where finished groups of chains are kept until the whole is there; None = nowhere.
        progress: told of the work as it is done.
    """
    moved = in_metric(center_in(task, settings.center), settings.metric)
    extend = None if stopping is None else stopping.more
    tree = sample(moved, settings, extend=extend, blocks=blocks, progress=progress)
    drawn = changed(settings, {"draws": int(tree.attrs["draws"])})
    return with_controls(tree, moved, drawn, controls)
