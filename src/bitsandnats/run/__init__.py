"""sample(): the only chain loop."""

import dataclasses
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bitsandnats import samplers
from bitsandnats._rng import generator, streams
from bitsandnats._tree import side_by_side
from bitsandnats._types import Params, Progress, silent
from bitsandnats.compiling import compiled
from bitsandnats.curvature import center_gradient
from bitsandnats.errors import InputError, message
from bitsandnats.observables.watch import Observables, Watching
from bitsandnats.paging import center_in
from bitsandnats.precision import in_precision
from bitsandnats.run.baseline import Baseline, baseline_loss, batch_indices, choose_baseline, losses_ahead
from bitsandnats.run.blocks import Blocks, Kept
from bitsandnats.run.choices import check_center, check_compile, check_memory, check_variates, takes_all
from bitsandnats.run.choices import choose_mode as choose_mode
from bitsandnats.run.choices import choose_pass as choose_pass
from bitsandnats.run.reversibility import CHECKED, step_acceptance
from bitsandnats.run.tree import Part, Rows, assemble
from bitsandnats.samplers.types import Sampler
from bitsandnats.settings import Settings, changed
from bitsandnats.target import LocalPosterior, quadratic_variate
from bitsandnats.task import Task

_DIVERGED = "diverged"
_LARGE = 20_000_000  # coordinates above which arrays of their size are saved on: no look at the last steps
_LOOK = 10  # steps between looks at what the chains have done: each waits for the device
_SLOPE_ITEMS = {"token": (32, 16), "sequence": (32, 16), "sample": (2048, 512)}  # in all, a pass


def sample(
    task: Task,
    settings: Settings,
    *,
    observables: Observables | None = None,
    extend: Callable[[xr.DataTree], int] | None = None,
    blocks: Blocks | None = None,
    progress: Progress = silent,
) -> xr.DataTree:
    """Draws of the local posterior around a task's center.

    Every number of a draw is taken at one point: the weights before the step that consumes them. A chain whose loss,
    weights or gradient are no longer finite is dead: its entries are NaN from `diverged_at` on. Without the step's
    statistics a broken gradient is seen when the loss shows it or, at the latest, after the last step.

    Args:
        task: what is modelled.
        settings: the sampler and its settings.
        observables: name of an observable -> `trace`, `moments` or `thin(k)`, or a `Watch` of one's own; applied to the
            draws after burn-in.
        extend: given the draws so far, how many more each chain is to make; 0 ends. The chains go on from where they
            are: extended or asked for at once, the draws are the same.
        blocks: where finished groups of chains are kept; those found there are not made again. Not beside `extend`,
            which needs the chains as they are.
        progress: told after every few steps.

    Returns:
        A tree with groups `draws` and `burn_in` (dims chain, draw): `loss` of the draw's batch and `baseline` of the
        same batch at w*, nats a unit; unless `settings.statistics` is `none`: `distance_squared`; `virial` = (w−w*)·G
        and `gradient_norm_squared` = ‖G‖² for G = nβ g_B + γ(w−w*); the likelihood's part
        `likelihood_virial` = nβ (w−w*)·g_B; `slope_part` = nβ (w−w*)·∇L(w*), what the slope at w* alone puts into λ̂.
        With variates, `variate` in nats, whose mean is 0 in a stationary chain.
        `diverged_at` (chain), −1 for never; group `observables`. The estimand's names are attributes.

    Raises:
        InputError: an unknown sampler, observable or reducer, more chains than memory, settings that w* on the CPU
            rules out, or variates for a sampler without accept/reject.
    """
    began = time.perf_counter()
    check_variates(settings, task)
    check_compile(settings)
    task = plain = in_precision(center_in(task, settings.center), settings.precision)
    if settings.compile:
        task = compiled(plain, settings.precision)
    check_center(task, settings)
    mode = choose_mode(task, settings) if settings.mode == "auto" else settings.mode
    check_memory(task, settings.chains if mode == "vmap" else 1)
    slope, slope_scale = _slope(task, settings)
    target = LocalPosterior(
        task,
        settings.nbeta,
        settings.gamma,
        mode,
        slope=slope,
        slope_scale=slope_scale,
        statistics=settings.statistics,
        gradient=settings.gradient,
        variate=None if settings.variates == "none" else quadratic_variate(plain, settings.nbeta, settings.gamma),
        precision=settings.precision,
        compile=settings.compile,
    )
    build = samplers.registry.build(settings.sampler)
    tags = samplers.registry.entry(settings.sampler).tags
    full = takes_all(task, settings)
    items = choose_pass(target, settings)
    target = dataclasses.replace(target, micro_batch=None if items == "whole" else items)
    baseline = choose_baseline(task, settings, full)
    chains = range(settings.chains)
    groups = [list(chains)] if mode == "vmap" else [[c] for c in chains]
    walks, parts, earlier = [], [], 0.0
    for group in groups:
        kept = None if blocks is None or extend is not None else blocks.read(group)
        if kept is not None:
            parts.append(kept.part)
            earlier += kept.seconds
            continue
        start = time.perf_counter()
        sampler: Sampler = build(target, step_size=settings.step_size)
        shown = _Shifted(progress, group[0] * settings.steps, len(group), settings.chains * settings.steps)
        walk = _run_group(target, sampler, settings, group, full, baseline, dict(observables or {}), shown)
        parts.append(next(walk))
        if extend is None:  # large models have no room for the weights of chains that are done
            walk.close()
            if blocks is not None:
                blocks.write(group, Kept(parts[-1], time.perf_counter() - start))
        walks.append(walk)
    while True:
        tree = assemble(task, settings, parts, baseline)
        tree.attrs.update(
            dynamics=_dynamics(tags),
            mode=mode,
            micro_batch=target.micro_batch or len(task.data) if full else target.micro_batch or settings.batch_size,
            threads=torch.get_num_threads(),
            seconds=earlier + time.perf_counter() - began,
        )
        more = 0 if extend is None else extend(tree)
        if more <= 0:
            return tree
        settings = changed(settings, {"draws": settings.draws + more})
        parts = [walk.send(more) for walk in walks]


def _dynamics(tags: tuple[str, ...]) -> str:
    """What is known of a sampler's stationary law: `exact`; `langevin`, biased as SGLD is; `momentum`, otherwise."""
    return "exact" if "exact" in tags else "momentum" if "momentum" in tags else "langevin"


def _slope(task: Task, settings: Settings) -> tuple[Params | None, float]:
    """∇L(w*) and its scale: of some items to follow its part, of all to stand for what the batches are rid of."""
    items, per_pass = _SLOPE_ITEMS[task.unit]
    if settings.gradient == "control":
        return center_gradient(task, items=len(task.data), batch_size=per_pass), 1.0
    if settings.statistics == "none":
        return None, 1.0
    slope = center_gradient(task, items=items, batch_size=min(per_pass, settings.batch_size))
    return (slope, 1.0) if task.dimension <= _LARGE else _in_eighths(slope)


def _in_eighths(slope: Params) -> tuple[Params, float]:
    """A vector in eight bits a number: 6 % off each, which a sum over millions of them does not show."""
    largest = max(float(g.abs().max()) for g in slope.values())
    scale = largest / torch.finfo(torch.float8_e4m3fn).max if largest > 0 else 1.0
    eighths = side_by_side(slope, dtype=torch.float8_e4m3fn)
    for name, g in slope.items():
        eighths[name].copy_(g.div_(scale))
    return eighths, scale


def start_position(task: Task, settings: Settings, chain: int) -> Params:
    """Where chain `chain` starts: at w*, or at w* + N(0, 1/γ).

    Raises:
        InputError: a noisy start without a pull (γ = 0).
    """
    if settings.start == "center":
        return side_by_side(task.center, task.device)
    if settings.gamma == 0:
        raise InputError(message(expected="gamma > 0 for start 'noise'", got="gamma = 0", do="use start 'center'"))
    random = generator(settings.seed, chain, "start", task.device)
    position = side_by_side(task.center, task.device)
    for w in position.values():
        w.add_(torch.empty_like(w).normal_(generator=random).mul_(settings.gamma**-0.5))
    return position


def _starts(task: Task, settings: Settings, group: list[int]) -> Params:
    """The starts of a group, leading chain axis; that of a chain alone is not copied once more."""
    if len(group) == 1:
        return {name: w.unsqueeze(0) for name, w in start_position(task, settings, group[0]).items()}
    starts = [start_position(task, settings, c) for c in group]
    return {name: torch.stack([s[name] for s in starts]) for name in task.center}


def _copied(position: Params) -> Params:
    return {name: w.clone() for name, w in position.items()}


class _Shifted(NamedTuple):
    """Progress of one group, as steps of all chains."""

    progress: Progress
    offset: int
    chains: int
    total: int

    def at(self, step: int) -> None:
        self.progress("sampling", self.offset + step * self.chains, self.total)


def _run_group(
    target: LocalPosterior,
    sampler: Sampler,
    settings: Settings,
    group: list[int],
    full: bool,
    baseline: Baseline,
    observables: Observables,
    progress: _Shifted,
) -> Generator[Part, int, None]:
    """Yields what the chains have left behind after `settings.steps`; sent a number, goes on for as many steps."""
    task = target.task
    rng = streams(settings.seed, group, task.device)
    batches, to_come = ([generator(settings.seed, c, "batches") for c in group] for _ in range(2))
    paged = task.compute is not None and not full and baseline.paired and baseline.item_losses is None
    ahead: list[Tensor] = []
    if paged:  # before there are positions beside w*
        ahead = losses_ahead(task, to_come, size=settings.batch_size, steps=settings.steps)
    state = sampler.init(rng, _starts(task, settings, group))
    rows = Rows()
    watching = Watching(observables)
    checked = settings.sampler == "sgld" and settings.statistics == "step" and settings.gradient == "plain"
    checked = checked and task.dimension <= _LARGE
    accepted: list[Tensor] = []
    broken: list[Tensor] = []  # since the last look
    step, steps, alive = 0, settings.steps, True
    while True:
        while step < steps and alive:
            indices = None if full else batch_indices(batches, len(task.data), settings.batch_size)
            batch = None if indices is None else task.batch(indices)
            if step >= settings.burn_in:
                watching.look(task.center, state.position)
            # a step consumes its state
            start = _copied(state.position) if checked and step >= steps - CHECKED else None
            state, info = sampler.step(rng, state, batch)
            if start is not None:
                accepted.append(
                    step_acceptance(target, start, state.position, batch, step_size=settings.step_size).cpu()
                )
            row = {"loss": info.loss, _DIVERGED: info.diverged, **info.statistics}
            own_baseline = ahead[step] if paged else baseline_loss(task, baseline, indices, batch)
            if own_baseline is not None:
                row["baseline"] = own_baseline.expand(len(group))
            rows.add(row)
            broken.append(info.diverged)
            step += 1
            if step % _LOOK == 0 or step == steps:
                progress.at(min(step, settings.steps))
                alive = not bool(torch.stack(broken).any(0).all())
                broken = []
        traces = rows.traces(steps)
        diverged = traces.pop(_DIVERGED) == 1
        # a weight that is not finite stays so, but without statistics it need not show in the loss (ReLU of -inf)
        finite = torch.stack([torch.isfinite(w.flatten(1)).all(1) for w in state.position.values()]).all(0)
        diverged[:, -1] |= ~finite.cpu().numpy()
        diverged_at = np.where(diverged.any(1), diverged.argmax(1), -1)
        for chain in np.flatnonzero(diverged_at >= 0):  # NaN from the step on at which a chain died
            for trace in traces.values():
                trace[chain, diverged_at[chain] :] = np.nan
        observed = watching.results() if (diverged_at < 0).all() else {}
        acceptance = torch.stack(accepted[-CHECKED:], 1).numpy() if accepted else None
        more = yield Part(traces, diverged_at, observed, acceptance)
        steps += more
        if paged:
            ahead += losses_ahead(task, to_come, size=settings.batch_size, steps=more)
