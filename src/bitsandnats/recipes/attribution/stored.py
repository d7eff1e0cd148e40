"""Runs of attribution in folders, what is said of them, and tables of them."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.bif import Influence
from bitsandnats.estimators.kernel_map import KernelMap
from bitsandnats.estimators.llc import as_record, estimate
from bitsandnats.estimators.loss_kernel import LossKernel
from bitsandnats.estimators.susceptibility import Susceptibility
from bitsandnats.estimators.verdict import Verdict
from bitsandnats.recipes import summary
from bitsandnats.recipes.attribution.maps import with_maps
from bitsandnats.settings import Settings, settings_from
from bitsandnats.store import Run, content_key, create_run, write_json
from bitsandnats.task import Task

UNIT = "attribution"
"""The unit of a run folder that holds the moments."""

_SHOWN = 5
_ROWS = 1000


def run_options(settings: Settings, label: str, kind: str, subsets: dict[str, int]) -> dict[str, Any]:
    """What defines the run folder of one attribution."""
    return {"model": label, "kind": kind, "subsets": subsets, "sampling": settings.values()}


def settings_of(tree: xr.DataTree) -> Settings:
    """The settings that a run was drawn with."""
    return settings_from({name: tree.attrs[name] for name in Settings.model_fields if name in tree.attrs})


def store_attribution(
    folder: str | Path,
    task: Task,
    tree: xr.DataTree,
    record: dict[str, Any],
    *,
    label: str,
    kind: str,
    progress: Progress = silent,
) -> Run:
    """A run folder with one run, what was read from it, and a map of each kernel's inputs.

    Raises:
        StoreError: the folder cannot be written or belongs to other settings.
    """
    settings = settings_of(tree)
    sizes = {name: int(child.dataset.sizes["column"]) for name, child in tree["subsets"].children.items()}
    options = run_options(settings, label, kind, sizes)
    run = create_run(folder, options, provenance=record["provenance"])
    run.finish(label, UNIT, content_key(task, options), with_maps(tree, seed=settings.seed, progress=progress))
    write_json(run.path / "summary.json", record)
    return run


def influence_summary(task: Task, found: Influence, *, label: str, command: str | None) -> dict[str, Any]:
    """An influence matrix as the terminal and the report show it: every query's strongest, and the suspects."""
    record = head("influence", task, found.tree, found.verdict, label, command)
    queries = []
    for row in range(found.bif.shape[0]):
        helpful, harmful = found.top(row, _SHOWN)
        queries.append(
            {
                "item": int(found.dataset["query_item"].values[row]),
                "token": int(found.dataset["query_token"].values[row]),
                "reliability": _plain(found.dataset["reliability_over_draws"].values[row]),
                "helpful": [named._asdict() for named in helpful],
                "harmful": [named._asdict() for named in harmful],
            }
        )
    suspects = [{**named._asdict(), "se": None} for named in found.suspects()]
    return {**record, "reliability": found.reliability.record(), "queries": queries, "suspects": suspects}


def kernel_summary(
    task: Task, found: KernelMap, tree: xr.DataTree, *, label: str, command: str | None
) -> dict[str, Any]:
    """A loss kernel as the terminal and the report show it; of many inputs the neighbours of the first thousand."""
    record = head("kernel", task, tree, found.verdict, label, command)
    near = zip(found.neighbours[:_ROWS, :_SHOWN].tolist(), found.correlation[:_ROWS, :_SHOWN].tolist(), strict=True)
    rows = [
        {"item": i, "nearest": [{"item": j, "correlation": r} for j, r in zip(*both, strict=True)]}
        for i, both in enumerate(near)
    ]
    return {**record, "reliability": found.reliability.record(), "inputs": rows}


def susceptibility_summary(task: Task, found: Susceptibility, *, label: str, command: str | None) -> dict[str, Any]:
    """Susceptibilities as the terminal and the report show them: responses to whole probes, and to columns."""
    record = head("susceptibility", task, found.tree, found.verdict, label, command)
    data = found.dataset
    probes = [str(name) for name in data["probe"].values]
    worst = np.fmin(data["reliability_over_chains"].values, data["reliability_over_draws"].values)
    rows = [
        {
            "component": str(name),
            "phi": _plain(data["phi"].values[i]),
            "reliability": _plain(worst[i]),
            "responses": dict(zip(probes, map(_plain, found.response[i]), strict=True)),
            "responses_se": dict(zip(probes, map(_plain, data["response_se"].values[i]), strict=True)),
            "top": [list(column) for column in found.top(str(name), _SHOWN)],
        }
        for i, name in enumerate(data["component"].values)
    ]
    return {**record, "reliability": found.reliability.record(), "components": rows}


def susceptibility_table(found: Susceptibility) -> Any:
    """A pandas table with a row for each component and item or token of the probes.

    Raises:
        InputError: pandas is not installed.
    """
    return _frame(found.dataset[["susceptibility", "susceptibility_se"]])


def influence_table(found: Influence) -> Any:
    """A pandas table with a row for each query and training sample.

    Raises:
        InputError: pandas is not installed.
    """
    return _frame(found.dataset[[name for name, v in found.dataset.data_vars.items() if v.dims == ("query", "train")]])


def kernel_table(found: LossKernel) -> Any:
    """A pandas table with a row for each pair of inputs.

    Raises:
        InputError: pandas is not installed.
    """
    return _frame(found.dataset[["kernel", "kernel_se", "correlation"]])


def write_parquet(table: Any, path: Path) -> None:
    """Writes a table as parquet.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be written.
    """
    try:
        table.to_parquet(path, index=False)
    except ImportError as error:
        do = "run: pip install 'bitsandnats[tables]'"
        raise InputError(message(expected="pyarrow, to write parquet", got="none installed", do=do)) from error
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise InputError(message(expected=f"to write {path}", got=got, do="choose another --export")) from None


def _frame(dataset: xr.Dataset) -> Any:
    try:
        import pandas  # noqa: F401  # xarray makes the table by it
    except ImportError as error:
        do = "run: pip install 'bitsandnats[tables]'"
        raise InputError(message(expected="pandas, to make a table", got="none installed", do=do)) from error
    return dataset.to_dataframe().reset_index()


def head(kind: str, task: Task, tree: xr.DataTree, verdict: Verdict, label: str, command: str | None) -> dict[str, Any]:
    """What all runs of attribution say of themselves."""
    settings = settings_of(tree)
    llc = as_record(estimate(tree))
    return {
        "schema": 1,
        "kind": kind,
        "title": label,
        "verdict": {"status": verdict.status, "text": str(verdict)},
        "findings": [],
        "recipe": "local",
        "provenance": summary.provenance(command, settings.seed),
        "model": summary.model_facts(task),
        "data": summary.data_facts(task, task, "the given data", "the given data"),
        "settings": {**settings.values(), "looks": int(tree.attrs["looks"])},
        "reasons": {},
        "rule": None,
        "tolerances": [],
        "schemes": [],
        "fits": [],
        "checkpoints": [],
        "llc": {name: llc[name] for name in ("llc", "se", "interval")},
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
