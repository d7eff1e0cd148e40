"""sample(): the only chain loop."""

import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bitsandnats import observables as observables_room
from bitsandnats import samplers
from bitsandnats._rng import generator
from bitsandnats._tree import map_batch
from bitsandnats._types import Batch, Params, Progress, silent
from bitsandnats.curvature import center_gradient
from bitsandnats.errors import InputError, message
from bitsandnats.observables import reducers
from bitsandnats.samplers.types import Rng, Sampler
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior, faster_mode
from bitsandnats.task import Task

_UNPAIRED_BATCHES = 8
_SLOPE_ITEMS = {"token": (32, 16), "sequence": (32, 16), "sample": (2048, 512)}  # in all, a pass


class _Baseline(NamedTuple):
    """Losses at w*: of every item (computed once), or None where each batch is evaluated again."""

    item_losses: Tensor | None
    paired: bool


def sample(
    task: Task,
    settings: Settings,
    *,
    observables: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> xr.DataTree:
    """Draws of the local posterior around a task's center.

    Every number of a draw is taken at one point: the weights before the step that consumes them. A chain whose loss
    is no longer finite stops; its remaining entries are NaN and `diverged_at` names the step.

    Args:
        task: what is modelled.
        settings: the sampler and its settings.
        observables: name of an observable -> `trace`, `moments` or `thin(k)`; applied to the draws after burn-in.
        progress: told after every few steps.

    Returns:
        A tree with groups `draws` and `burn_in` (dims chain, draw): `loss` of the draw's batch and `baseline` of the
        same batch at w*, nats a unit; `distance_squared`; `virial` = (w−w*)·G and `gradient_norm_squared` = ‖G‖² for
        G = nβ g_B + γ(w−w*); the likelihood's part `likelihood_virial` = nβ (w−w*)·g_B;
        `slope_part` = nβ (w−w*)·∇L(w*), what the slope at w* alone puts into λ̂; `diverged_at` (chain), −1 for
        never; group `observables`. The estimand's names are attributes.

    Raises:
        InputError: an unknown sampler, observable or reducer.
    """
    began = time.perf_counter()
    mode: Literal["loop", "vmap"] = _choose_mode(task, settings) if settings.mode == "auto" else settings.mode
    items, per_pass = _SLOPE_ITEMS[task.unit]
    slope = center_gradient(task, items=items, batch_size=per_pass)
    target = LocalPosterior(task, settings.nbeta, settings.gamma, mode, slope=slope)
    build = samplers.registry.build(settings.sampler)
    full = "full" in samplers.registry.entry(settings.sampler).tags or settings.batch_size >= len(task.data)
    baseline = _baseline(task, settings, full)
    chains = range(settings.chains)
    groups = [list(chains)] if mode == "vmap" else [[c] for c in chains]
    parts = []
    for group in groups:
        sampler: Sampler = build(target, step_size=settings.step_size)
        shown = _Shifted(progress, group[0] * settings.steps, len(group), settings.chains * settings.steps)
        parts.append(_run_group(target, sampler, settings, group, full, baseline, dict(observables or {}), shown))
    tree = _assemble(task, settings, parts, baseline)
    tree.attrs.update(mode=mode, threads=torch.get_num_threads(), seconds=time.perf_counter() - began)
    return tree


def start_position(task: Task, settings: Settings, chain: int) -> Params:
    """Where chain `chain` starts: at w*, or at w* + N(0, 1/γ).

    Raises:
        InputError: a noisy start without a pull (γ = 0).
    """
    if settings.start == "center":
        return {name: w.clone() for name, w in task.center.items()}
    if settings.gamma == 0:
        raise InputError(message(expected="gamma > 0 for start 'noise'", got="gamma = 0", do="use start 'center'"))
    random = generator(settings.seed, chain, "start", task.device)
    return {
        name: w + torch.empty_like(w).normal_(generator=random).mul_(settings.gamma**-0.5)
        for name, w in task.center.items()
    }


class _Shifted(NamedTuple):
    """Progress of one group, as steps of all chains."""

    progress: Progress
    offset: int
    chains: int
    total: int

    def at(self, step: int) -> None:
        self.progress("sampling", self.offset + step * self.chains, self.total)


class _Part(NamedTuple):
    """What one group of chains left behind: traces (chain, step), and reduced observables."""

    traces: dict[str, np.ndarray]
    diverged_at: np.ndarray
    observed: dict[str, dict[str, Tensor]]


def _run_group(
    target: LocalPosterior,
    sampler: Sampler,
    settings: Settings,
    group: list[int],
    full: bool,
    baseline: _Baseline,
    observables: dict[str, str],
    progress: _Shifted,
) -> _Part:
    task = target.task
    rng: Rng = [generator(settings.seed, c, "noise", task.device) for c in group]
    batches = [generator(settings.seed, c, "batches") for c in group]
    starts = [start_position(task, settings, c) for c in group]
    state = sampler.init(rng, {name: torch.stack([s[name] for s in starts]) for name in task.center})
    names: tuple[str, ...] = ()
    rows: list[Tensor] = []
    diverged_at = np.full(len(group), -1)
    watch = {name: observables_room.registry.build(name) for name in observables}
    keep = {name: reducers.build(kind) for name, kind in observables.items()}
    kept = {name: keep[name].init() for name in keep}
    for step in range(settings.steps):
        indices = None if full else _indices(batches, len(task.data), settings.batch_size)
        batch = None if indices is None else task.batch(indices)
        if step >= settings.burn_in:
            for name, look in watch.items():
                kept[name] = keep[name].update(kept[name], look(task.center, state.position))
        state, info = sampler.step(rng, state, batch)
        row = {"loss": info.loss, "baseline": _baseline_loss(task, baseline, indices, batch), **info.statistics}
        names = tuple(row)
        rows.append(torch.stack([value.double().expand(len(group)) for value in row.values()]))
        if info.diverged.any():
            diverged_at = np.where((diverged_at < 0) & info.diverged.cpu().numpy(), step, diverged_at)
        if step % 10 == 9 or step == settings.steps - 1:
            progress.at(step + 1)
        if (diverged_at >= 0).all():
            break
    observed = {name: keep[name].result(kept[name]) for name in keep} if (diverged_at < 0).all() else {}
    return _Part(_traces(names, rows, diverged_at, settings.steps), diverged_at, observed)


def _traces(names: tuple[str, ...], rows: list[Tensor], diverged_at: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Each quantity as (chain, step); NaN from the step on at which a chain died."""
    filled = np.full((len(names), len(diverged_at), steps), np.nan)
    filled[:, :, : len(rows)] = torch.stack(rows, -1).cpu().numpy()
    for chain in np.flatnonzero(diverged_at >= 0):
        filled[:, chain, diverged_at[chain] :] = np.nan
    return dict(zip(names, filled, strict=True))


def _indices(batches: Rng, items: int, size: int) -> Tensor:
    return torch.stack([torch.randint(items, (size,), generator=g) for g in batches])


def _baseline(task: Task, settings: Settings, full: bool) -> _Baseline:
    visits = settings.chains * settings.steps * settings.batch_size
    kind = settings.baseline
    if kind == "auto":
        kind = "all" if len(task.data) <= visits else "batch"
    if kind == "batch" and full:  # every batch is all of the data
        kind = "all"
    if kind == "all":
        return _Baseline(task.all_item_losses(task.center, max(settings.batch_size, 32)), True)
    return _Baseline(None, kind == "batch")


def _baseline_loss(task: Task, baseline: _Baseline, indices: Tensor | None, batch: Batch | None) -> Tensor:
    """L_B(w*) of each chain's batch; NaN where the baseline is unpaired."""
    if baseline.item_losses is not None:
        losses = (
            baseline.item_losses if indices is None else baseline.item_losses[indices.to(baseline.item_losses.device)]
        )
        return task.mean_loss(losses)
    if not baseline.paired or batch is None or indices is None:
        return torch.tensor(float("nan"))
    with torch.no_grad():
        losses = [task.item_losses(task.center, map_batch(lambda t, c=c: t[c], batch)) for c in range(len(indices))]
    return task.mean_loss(torch.stack(losses))


def _unpaired_center_loss(task: Task, settings: Settings) -> tuple[float, float]:
    """L(w*) from a few batches, and its standard error; nats a unit."""
    random = generator(settings.seed, 0, "probe")
    with torch.no_grad():
        losses = [
            task.mean_loss(task.item_losses(task.center, task.batch(i[0])))
            for i in (_indices([random], len(task.data), settings.batch_size) for _ in range(_UNPAIRED_BATCHES))
        ]
    stacked = torch.stack(losses).double()
    return float(stacked.mean()), float(stacked.std() / len(stacked) ** 0.5)


def _assemble(task: Task, settings: Settings, parts: list[_Part], baseline: _Baseline) -> xr.DataTree:
    traces = {name: np.concatenate([p.traces[name] for p in parts]) for name in parts[0].traces}
    with np.errstate(over="ignore", invalid="ignore"):  # a runaway chain is judged by the verdict
        _add_virial(traces, settings)
    diverged = xr.DataArray(np.concatenate([p.diverged_at for p in parts]), dims="chain")

    def group(columns: slice) -> xr.Dataset:
        cut = {name: (("chain", "draw"), trace[:, columns]) for name, trace in traces.items()}
        length = len(range(*columns.indices(settings.steps)))
        return xr.Dataset(cut, coords={"chain": np.arange(settings.chains), "draw": np.arange(length)})

    center_loss_se = 0.0  # paired, it cancels: what is left of it is in the trace
    if baseline.item_losses is not None:
        center_loss = float(task.mean_loss(baseline.item_losses.double()))
    elif baseline.paired:
        center_loss = _finite_mean(traces["baseline"])
    else:
        center_loss, center_loss_se = _unpaired_center_loss(task, settings)
    observed = {
        f"{name}_{kind}": ((("chain", "draw") if kind == "trace" else ("chain",)), values)
        for name, kinds in parts[0].observed.items()
        for kind, values in ((k, np.concatenate([p.observed[name][k].numpy() for p in parts])) for k in kinds)
        if all(p.observed for p in parts)
    }
    tree = xr.DataTree.from_dict(
        {
            "draws": group(slice(settings.burn_in, None)).assign(diverged_at=diverged),
            "burn_in": group(slice(0, settings.burn_in)),
            "observables": xr.Dataset(
                {k: ((*dims, *(f"{k}_{i}" for i in range(v.ndim - len(dims)))), v) for k, (dims, v) in observed.items()}
            ),
        }
    )
    tree.attrs.update(
        {
            **settings.values(),
            "center_loss": center_loss,
            "center_loss_se": center_loss_se,
            "paired": bool(baseline.paired or baseline.item_losses is not None),
            "unit": task.unit,
            "n": task.n,
            "items": len(task.data),
            "dimension": task.dimension,
        }
    )
    if task.chance_loss is not None:
        tree.attrs["chance_loss"] = task.chance_loss
    return tree


def _add_virial(traces: dict[str, np.ndarray], settings: Settings) -> None:
    """Turns the step's inner products into the terms of the virial identity."""
    pull = settings.gamma * traces["distance_squared"]
    inner = settings.nbeta * traces.pop("displacement_gradient")
    gradient = settings.nbeta**2 * traces.pop("gradient_squared")
    traces["likelihood_virial"] = inner
    traces["slope_part"] = settings.nbeta * traces.pop("displacement_slope")
    traces["virial"] = inner + pull
    traces["gradient_norm_squared"] = gradient + 2 * settings.gamma * inner + settings.gamma * pull


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _choose_mode(task: Task, settings: Settings) -> Literal["loop", "vmap"]:
    """The faster way to evaluate the group of chains, measured on one batch."""
    random = [generator(settings.seed, c, "probe") for c in range(settings.chains)]
    full = settings.batch_size >= len(task.data)
    batch = None if full else task.batch(_indices(random, len(task.data), settings.batch_size))
    return faster_mode(task, batch, chains=settings.chains)
