"""One model, stored: the run folder behind `bitsandnats llc` and `bitsandnats compress`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from bitsandnats.critical import CriticalPoint
from bitsandnats.estimators.llc import LLC, as_record
from bitsandnats.hf import step_of
from bitsandnats.plan import achieved
from bitsandnats.recipes import summary
from bitsandnats.recipes.subsets import subset_losses
from bitsandnats.settings import Settings
from bitsandnats.store import Run, content_key, create_run, write_json
from bitsandnats.task import Task


def llc_options(settings: Settings, label: str) -> dict[str, Any]:
    """What defines the run folder of one estimate."""
    return {"model": label, "llc": settings.values()}


def compress_options(scheme: str, tolerances: Sequence[float], seed: int, label: str) -> dict[str, Any]:
    """What defines the run folder of one scheme's critical points."""
    return {"model": label, "scheme": scheme, "tolerances": [float(t) for t in tolerances], "seed": seed}


def store_llc(
    folder: str | Path, task: Task, estimate: LLC, settings: Settings, *, label: str, command: str | None
) -> Run:
    """A run folder with one estimate: its draws, its summary and its settings.

    Raises:
        StoreError: the folder cannot be written or belongs to other settings.
    """
    record = llc_summary(task, estimate, settings, label=label, command=command)
    run = create_run(folder, llc_options(settings, label), provenance=record["provenance"])
    run.finish(label, "llc", content_key(task, {"llc": settings.values()}), estimate.tree)
    write_json(run.path / "summary.json", record)
    return run


def llc_summary(task: Task, estimate: LLC, settings: Settings, *, label: str, command: str | None) -> dict[str, Any]:
    """One estimate as the report and the command line show it."""
    record = _head("llc", task, label, command, settings.seed)
    row = {
        "label": label,
        "step": _step(task, label),
        "source": task.source,
        "loss": float(estimate.tree.attrs["center_loss"]),
    }
    row |= {"loss_se": None, "llc": as_record(estimate), "critical": {}, "failed": None}
    verdict = {"status": estimate.verdict.status, "text": f"{estimate}"}
    return {
        **record,
        "achieved": achieved(task, estimate.tree),
        "verdict": verdict,
        "settings": settings.values(),
        "reasons": settings.reasons,
        "checkpoints": [row],
    }


def store_compress(
    folder: str | Path, task: Task, points: Sequence[CriticalPoint], *, label: str, command: str | None, seed: int
) -> Run:
    """A run folder with one scheme's curve and its critical points.

    Raises:
        StoreError: the folder cannot be written or belongs to other settings.
    """
    record = compress_summary(task, points, label=label, command=command, seed=seed)
    options = {"scheme": points[0].scheme, "tolerances": [p.tolerance for p in points], "seed": seed}
    asked = compress_options(points[0].scheme, options["tolerances"], seed, label)
    run = create_run(folder, asked, provenance=record["provenance"])
    critical = json.dumps([p.as_record() for p in points])
    tree = xr.DataTree(points[0].curve.assign_attrs(critical=critical))
    run.finish(label, points[0].scheme, content_key(task, options), tree)
    write_json(run.path / "summary.json", record)
    return run


def compress_summary(
    task: Task, points: Sequence[CriticalPoint], *, label: str, command: str | None, seed: int
) -> dict[str, Any]:
    """Critical points of one model as the report and the command line show them."""
    record = _head("compress", task, label, command, seed)
    row = {"label": label, "step": _step(task, label), "source": task.source, "loss": None, "loss_se": None}
    row |= {
        "subsets": subset_losses(task),
        "llc": None,
        "critical": {points[0].scheme: [p.as_record() for p in points]},
        "failed": None,
    }
    unmet = [p for p in points if p.level is None or not p.monotone]
    status = "usable with caution" if unmet else "usable"
    said = "; ".join(f"at tolerance {p.tolerance:g}: {p}" for p in points)
    return {
        **record,
        "verdict": {"status": status, "text": said},
        "settings": {},
        "reasons": {},
        "schemes": [points[0].scheme],
        "tolerances": [p.tolerance for p in points],
        "checkpoints": [row],
    }


def _step(task: Task, label: str) -> int | None:
    """The step that the label says; of a model on the hub only its revision does."""
    return step_of(label if task.source is None else label.partition("@")[2])


def _head(kind: str, task: Task, label: str, command: str | None, seed: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": kind,
        "title": label,
        "findings": [],
        "recipe": "local",
        "provenance": summary.provenance(command, seed),
        "model": summary.model_facts(task),
        "data": summary.data_facts(task, task, "the given data", "the given data"),
        "rule": None,
        "tolerances": [],
        "schemes": [],
        "fits": [],
    }
