"""keep(): a reading, or a run with all its readings, in a folder that the report reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.bif import Influence, bif
from bitsandnats.estimators.covariance import has_pair
from bitsandnats.estimators.kernel_map import kernel_map
from bitsandnats.estimators.loss_kernel import LossKernel
from bitsandnats.estimators.reliability import Reliability
from bitsandnats.estimators.susceptibility import Susceptibility, susceptibility
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE, Verdict
from bitsandnats.recipes.attribution import refined_stored, stored
from bitsandnats.recipes.attribution.maps import mapped
from bitsandnats.recipes.attribution.refined import RefinedLLC
from bitsandnats.store import Run
from bitsandnats.task import Task

_ORDER = (USABLE, CAUTION, NOT_USABLE)


def keep(
    found: Influence | LossKernel | Susceptibility | RefinedLLC | xr.DataTree,
    task: Task | Mapping[str, Task],
    folder: str | Path,
    *,
    label: str = "run",
    progress: Progress = silent,
) -> Run:
    """A run folder with the moments behind a reading and its summary; `bn.write_report(folder)` makes its page.

    Args:
        found: what `influence`, `loss_kernel`, `susceptibility` or `refined_llc` gave; or a run of `observe`, of which
            all readings that it allows are shown.
        task: what it was measured on; of refined λ̂ over a series, that mapping.
        folder: new, empty, or of the same settings.
        label: title of the page.
        progress: told of the work as it is done: the map of a kernel's inputs takes a minute.

    Raises:
        StoreError: the folder cannot be written or belongs to other settings.
        InputError: several tasks for one run, or a run that can be read in no way.
    """
    if isinstance(found, RefinedLLC):
        series = {"": task} if isinstance(task, Task) else dict(task)
        record = refined_stored.refined_summary(series, found, label=label, command=None)
        return refined_stored.store_refined(folder, series, found, record)
    if not isinstance(task, Task):
        raise InputError(message(expected="the task of the run", got="several", do="give the one that was sampled"))
    tree = found if isinstance(found, xr.DataTree) else found.tree
    words: dict[str, Any] = {"label": label, "command": None}
    if isinstance(found, Influence):
        record = stored.influence_summary(task, found, **words)
    elif isinstance(found, Susceptibility):
        record = stored.susceptibility_summary(task, found, **words)
    elif isinstance(found, LossKernel):
        record = stored.kernel_summary(task, kernel_map(tree, found.subset), tree, **words)
    else:
        record = _all_readings(task, tree, words)
    return stored.store_attribution(
        folder, task, tree, record, label=label, kind=str(record["kind"]), progress=progress
    )


def readings(tree: xr.DataTree) -> dict[str, Reliability]:
    """Each reading that a run allows, in words, with how far it reproduces."""
    subsets, found = list(tree["subsets"].children), {}
    if {"train", "query"} <= set(subsets) and has_pair(tree, "query", "train"):
        found["influence of training samples on queries"] = bif(tree).reliability
    for name in mapped(tree):
        found[f"kernel of {name}"] = kernel_map(tree, name).reliability
    if "component0" in tree.children:
        probes = [name for name in subsets if name != "train"] or ["train"]
        found["susceptibility of components"] = susceptibility(tree, probes).reliability
    return found


def _all_readings(task: Task, tree: xr.DataTree, words: dict[str, Any]) -> dict[str, Any]:
    found = readings(tree)
    if not found:
        raise InputError(
            message(
                expected="a run with a pair of subsets or components",
                got="one that only follows losses",
                do="name pairs or components when the run is made",
            )
        )
    worst = max((known.verdict.status for known in found.values()), key=_ORDER.index)
    reasons = tuple(f"{name} is {known.verdict.status}" for name, known in found.items())
    record = stored.head("attribution", task, tree, Verdict(worst, reasons), **words)
    return {**record, "findings": [f"{name[:1].upper()}{name[1:]}: {known}" for name, known in found.items()]}
