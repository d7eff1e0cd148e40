"""observe(): one run of chains that follows the losses of named subsets of data."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.calibration import calibrate, check_fit
from bitsandnats.component import on_component
from bitsandnats.errors import InputError, message
from bitsandnats.metric import in_metric
from bitsandnats.observables.cross_moments import BLOCKS, Layout, cross_moments, layout_of
from bitsandnats.observables.subset_losses import SubsetLosses, follow, moved_to
from bitsandnats.observables.subsets import as_subset
from bitsandnats.observables.watch import Watch
from bitsandnats.recipes.attribution.stopping import Reliable, check_target
from bitsandnats.run import sample
from bitsandnats.settings import Settings, changed
from bitsandnats.task import Task

_SKETCH = 32  # columns a side whose every value is kept
_NAME = "losses"


def observe(
    task: Task,
    subsets: Mapping[str, Any],
    *,
    pairs: Sequence[tuple[str, str]] = (),
    components: Sequence[str] = (),
    settings: Settings | None = None,
    options: Mapping[str, Any] | None = None,
    looks: int = 256,
    reliability: float | None = None,
    budget: float | None = None,
    traces: bool = False,
    labels: Mapping[str, Sequence[Any]] | None = None,
    previews: Mapping[str, Sequence[Any]] | None = None,
    progress: Progress = silent,
) -> xr.DataTree:
    """One run from which influence, kernel, susceptibilities and λ̂ are read.

    Chains are run on the whole network, and on each component alone where some are named; at evenly spaced draws the
    losses of all subsets are evaluated, and their moments kept. Memory is rows × columns a pair, chain and block, never
    draws × columns, unless traces are asked for.

    Args:
        task: what is modelled.
        subsets: name -> data of the task's form, indices of the task's own items, or an `observables.subsets.Subset`.
        pairs: (rows, columns) of subsets whose covariance matrix is kept.
        components: parts that move alone in chains of their own (see `component.on_component`).
        settings: of the sampler; None = calibrated.
        options: settings that are given, as in `estimate_llc`.
        looks: draws a chain, at most, at which the losses are evaluated; in proportion more where `reliability` adds
            draws.
        reliability: draw until the first pair's matrix has this split-half reliability; None = as many draws as set.
        budget: seconds that sampling the whole network may take.
        traces: keep every value too.
        labels: name -> a label an item, kept with the run.
        previews: name -> an excerpt of text or a small image an item, kept for the report (see `store.previews`).
        progress: told of the work as it is done.

    Returns:
        The tree of `run.sample` with groups `subsets/NAME`, `moments`, `sketch`, and `component0` … for the components.

    Raises:
        InputError: a setting is out of range, a component does not exist, or the traces would not fit.
        DataError: a subset is not of the task's form.
    """
    given = dict(options or {})
    check_target(reliability, given.get("draws"), budget)
    followed = {n: chosen if isinstance(chosen, Task) else as_subset(task, chosen) for n, chosen in subsets.items()}
    if not followed:
        raise InputError(message(expected="at least one subset", got="none", do="name data to follow"))
    check_names(followed, pairs)
    losses = follow(task, followed)
    for component in components:
        on_component(task, component)  # refuses names that the architecture lacks
    if settings is None:
        check_fit([task], given)
        settings = calibrate(task, given={k: v for k, v in given.items() if v is not None}, progress=progress)
    else:
        settings = changed(settings, given)
    check_size(losses, settings, looks=looks, traces=traces, runs=1 + len(components))
    described = {f"subsets/{name}": _described(losses, name, labels, previews) for name in followed}
    check_metric(losses, task, settings)
    rule = None if reliability is None or not pairs else Reliable(*pairs[0], reliability, budget)
    how = _How(pairs, looks, traces, rule, progress)
    tree = _observed(task, None, losses, settings, how)
    settings = changed(settings, {"draws": int(tree.attrs["draws"])})
    parts: dict[str, Any] = {"/": tree.to_dataset().assign_attrs(kind="attribution")}
    parts |= {name: child.to_dataset() for name, child in tree.children.items()}
    for place, component in enumerate(components):
        alone = _observed(task, component, losses, settings, how._replace(pairs=(), rule=None))
        parts[f"component{place}"] = alone.to_dataset().assign_attrs(component=component)
        parts |= {f"component{place}/{name}": child.to_dataset() for name, child in alone.children.items()}
    return xr.DataTree.from_dict({**parts, **described})


def predicted_bytes(columns: int, settings: Settings, *, looks: int, runs: int = 1) -> int:
    """What the traces of every look would take, in bytes: float32 for each column, chain and look."""
    return 4 * columns * settings.chains * min(looks, settings.draws) * runs


def memory() -> int:
    """Bytes of the machine's memory; 16 GiB where it does not say."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 34


def check_size(losses: SubsetLosses, settings: Settings, *, looks: int, traces: bool, runs: int) -> None:
    """Refuses traces that would not fit into memory, and too few looks, before anything is sampled.

    Raises:
        InputError: as said.
    """
    if looks < 2:
        raise InputError(message(expected="at least 2 looks a chain", got=str(looks), do="look more often"))
    if settings.draws < 2:
        raise InputError(message(expected="at least 2 draws a chain", got=str(settings.draws), do="draw longer"))
    columns = sum(cut.stop - cut.start for cut in losses.slices.values())
    wanted = predicted_bytes(columns, settings, looks=looks, runs=runs) if traces else 0
    there = memory() // 4
    if wanted > there:
        raise InputError(
            message(
                expected=f"traces of at most {there / 2**30:.1f} GiB, a quarter of memory",
                got=f"{wanted / 2**30:.1f} GiB for {columns} losses at each of {looks} looks",
                do="leave the traces out (matrices need none), or look less often",
            )
        )


def check_names(names: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> None:
    """Refuses names of subsets that cannot stand in a stored run, and pairs of other names.

    Raises:
        InputError: one is.
    """
    for name in names:
        if not name.isalnum() or name == "loss":
            raise InputError(
                message(expected="names of letters and digits for subsets", got=repr(name), do="choose another name")
            )
    for name in sorted({name for pair in pairs for name in pair} - set(names)):
        raise InputError(
            message(
                expected=f"pairs of the subsets {', '.join(names)}", got=repr(name), do="name subsets that are followed"
            )
        )


def check_metric(losses: SubsetLosses, task: Task, settings: Settings) -> None:
    """Refuses queries with a loss of their own in a metric that would be another for them.

    Raises:
        InputError: as said.
    """
    if settings.metric != "weights" and any(one.task is not task for one in losses.followed.values()):
        raise InputError(
            message(
                expected="metric weights where queries have a loss of their own",
                got=f"metric {settings.metric}",
                do="leave the metric out",
            )
        )


def _observed(
    task: Task,
    component: str | None,
    losses: SubsetLosses,
    settings: Settings,
    how: "_How",
) -> xr.DataTree:
    """Chains on `task` with the moments of the losses in place of the raw observables."""
    alone = task if component is None else on_component(task, component)
    moved = in_metric(alone, settings.metric)
    every = max(1, settings.draws // how.looks)
    count = settings.draws // every
    weights = {name: torch.as_tensor(one.columns.weight) for name, one in losses.followed.items()}
    sketch = _sketch(losses, how.pairs)
    layout = layout_of(
        losses.slices,
        weights,
        how.pairs,
        block=max(2, math.ceil(count / BLOCKS)),
        sketch=sketch,
        traces=how.traces,
    )

    def form(own: Task) -> Task:
        return moved if own is task else own if component is None else on_component(own, component)

    def shaped(tree: xr.DataTree) -> xr.DataTree:
        return _shaped(losses, layout, tree, every)

    rule = how.rule
    watch = Watch(moved_to(losses, form), cross_moments(layout), every)
    extend = None if rule is None else lambda tree: rule.more(shaped(tree))
    return shaped(sample(moved, settings, observables={_NAME: watch}, extend=extend, progress=how.progress))


class _How(NamedTuple):
    """What is kept of chains, and for how long they run."""

    pairs: Sequence[tuple[str, str]]
    looks: int
    traces: bool
    rule: Reliable | None
    progress: Progress


def _shaped(losses: SubsetLosses, layout: Layout, tree: xr.DataTree, every: int) -> xr.DataTree:
    """The tree with labelled moments in place of the raw observables."""
    seen = tree["observables"].dataset
    groups: dict[str, Any] = {"draws": tree["draws"].to_dataset(), "burn_in": tree["burn_in"].to_dataset()}
    looks = 0
    if f"{_NAME}_count" in seen:
        looks = int(seen[f"{_NAME}_count"].values[0].sum())
        groups["moments"] = _moments(losses, seen, layout)
        dims = ("chain", "look", "column")
        if layout.traces:
            groups["traces"] = xr.Dataset({"losses": (dims, seen[f"{_NAME}_traces"].values)})
            groups["sketch"] = groups["traces"].isel(column=list(layout.sketch))
        else:
            groups["sketch"] = xr.Dataset({"losses": (dims, seen[f"{_NAME}_sketch"].values)})
    attrs = {**tree.attrs, "every": every, "looks": looks}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **groups})


def _moments(losses: SubsetLosses, seen: xr.Dataset, layout: Layout) -> xr.Dataset:
    found: dict[str, Any] = {"count": (("chain", "block"), seen[f"{_NAME}_count"].values)}
    for name, cut in losses.slices.items():
        dims = ("chain", "block", name)
        found[f"mean_{name}"] = (dims, seen[f"{_NAME}_mean"].values[..., cut])
        found[f"squares_{name}"] = (dims, seen[f"{_NAME}_squares"].values[..., cut])
        found[f"losses_{name}"] = (("chain", "block", "subset", name), seen[f"{_NAME}_losses"].values[..., cut])
        found[f"share_{name}"] = (name, layout.weights[name].numpy())
    for place, (rows, columns) in enumerate(layout.pairs):
        other = columns if columns != rows else f"{columns}_other"
        values = seen[f"{_NAME}_cross{place}"].values.astype(np.float32)
        found[f"cross_{rows}_{columns}"] = (("chain", "block", rows, other), values)
    return xr.Dataset(found, coords={"subset": list(losses.slices)})


def _sketch(losses: SubsetLosses, pairs: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """Some columns of both sides of the first pair: rows first, then as many columns."""
    first = pairs[0] if pairs else (next(iter(losses.slices)),) * 2
    sides = [losses.slices[name] for name in first]
    count = min(_SKETCH, *(cut.stop - cut.start for cut in sides))
    return tuple(int(i) for cut in sides for i in np.linspace(cut.start, cut.stop - 1, count).round().astype(int))


def _described(
    losses: SubsetLosses,
    name: str,
    labels: Mapping[str, Sequence[Any]] | None,
    previews: Mapping[str, Sequence[Any]] | None,
) -> xr.Dataset:
    """What the columns of a subset are."""
    from bitsandnats.store.previews import as_previews

    columns, items = losses.followed[name].columns, len(losses.followed[name].subset.data)
    found: dict[str, Any] = {
        "item": ("column", columns.item),
        "token": ("column", columns.token),
        "weight": ("column", columns.weight),
        "center_loss": ("column", columns.center),
    }
    attrs = {"per": losses.followed[name].subset.per}
    if labels and name in labels:
        own = np.asarray(labels[name])
        _check_length(name, "labels", len(own), items)
        found["item_label"] = ("item_index", own)
        found["label"] = ("column", own[columns.item])
    if previews and name in previews:
        _check_length(name, "previews", len(previews[name]), items)
        kind, texts = as_previews(previews[name])
        found["preview"] = ("item_index", np.asarray(texts, dtype=object))
        attrs["preview"] = kind
    return xr.Dataset(found, attrs=attrs)


def _check_length(name: str, what: str, got: int, items: int) -> None:
    if got != items:
        raise InputError(message(expected=f"{items} {what} for {name}, one an item", got=str(got), do="give as many"))
