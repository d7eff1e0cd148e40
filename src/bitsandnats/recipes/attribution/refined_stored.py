"""Refined λ̂ in folders, what is said of them, and tables of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitsandnats.errors import InputError, message
from bitsandnats.estimators.llc import as_record
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE
from bitsandnats.hf import step_of
from bitsandnats.recipes import summary
from bitsandnats.recipes.attribution.refined import RefinedLLC
from bitsandnats.settings import settings_from
from bitsandnats.store import Run, content_key, create_run, write_json
from bitsandnats.task import Task


def refined_summary(
    series: Mapping[str, Task], found: RefinedLLC, *, label: str, command: str | None
) -> dict[str, Any]:
    """Every refined λ̂ as the terminal and the report show it: one row a checkpoint, component and data."""
    task = next(iter(series.values()))
    settings = settings_from(dict(found.dataset.attrs))
    rows = []
    for place, ((checkpoint, component, data), estimate) in enumerate(found.estimates.items()):
        llc = as_record(estimate)
        dimension = found.dataset["dimension"].sel(checkpoint=checkpoint, component=component, data=data)
        rows.append(
            {
                "checkpoint": checkpoint or label,
                "step": step_of(checkpoint) if checkpoint else None,
                "component": component,
                "data": data,
                "dimension": int(dimension),
                "unit": f"llc.{place}",
                **{name: llc[name] for name in ("llc", "se", "interval", "rhat", "ess", "noise_only", "verdict")},
            }
        )
    statuses = [row["verdict"]["status"] for row in rows]
    counts = {status: statuses.count(status) for status in (USABLE, CAUTION, NOT_USABLE)}
    status = next((s for s in (USABLE, NOT_USABLE) if counts[s] == len(rows)), CAUTION)
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return {
        "schema": 1,
        "kind": "refined",
        "title": label,
        "verdict": {"status": status, "text": f"{status}: of {len(rows)} estimates {said}"},
        "findings": [],
        "recipe": "local",
        "provenance": summary.provenance(command, settings.seed),
        "model": summary.model_facts(task),
        "data": summary.data_facts(task, task, "the given data", "the given data"),
        "settings": settings.values(),
        "reasons": {},
        "checkpoints": [],
        "refined": rows,
    }


def store_refined(folder: str | Path, series: Mapping[str, Task], found: RefinedLLC, record: dict[str, Any]) -> Run:
    """A run folder with the draws of every refined λ̂, and their summary.

    Raises:
        StoreError: the folder cannot be written or belongs to other settings.
    """
    settings = dict(record["settings"])
    names = {name: [str(v) for v in found.dataset[name].values] for name in ("checkpoint", "component", "data")}
    options = {"model": record["title"], "kind": "refined", **names, "sampling": settings}
    run = create_run(folder, options, provenance=record["provenance"])
    for row, ((checkpoint, component, data), estimate) in zip(record["refined"], found.estimates.items(), strict=True):
        key = content_key(series[checkpoint], {**options, "refined": [component, data]})
        tree = estimate.tree.copy()
        tree.attrs = {**tree.attrs, "component": component, "data": data}
        run.finish(row["checkpoint"], row["unit"], key, tree)
    write_json(run.path / "summary.json", record)
    return run


def refined_table(found: RefinedLLC) -> Any:
    """A pandas table with a row for each checkpoint, component and data.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401  # xarray makes the table by it
    except ImportError as error:
        do = "run: pip install 'bitsandnats[tables]'"
        raise InputError(message(expected="pandas, to make a table", got="none installed", do=do)) from error
    return found.dataset.to_dataframe().reset_index()
