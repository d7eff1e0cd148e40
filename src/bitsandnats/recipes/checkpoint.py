"""Everything that a study measures on one checkpoint, each part a stored unit."""

import inspect
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from bitsandnats import compressors
from bitsandnats._types import Progress
from bitsandnats.compressors.types import Compressor
from bitsandnats.critical import critical_points
from bitsandnats.errors import BitsAndNatsError, InputError, StoreError, message
from bitsandnats.estimators.llc import as_record, estimate
from bitsandnats.recipes import summary
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.recipes.series import Series
from bitsandnats.recipes.subsets import subset_losses
from bitsandnats.run.blocks import StoredBlocks
from bitsandnats.settings import Settings
from bitsandnats.store import ContentKey, Run, content_key, locked
from bitsandnats.task import Task

_WAIT = 30.0  # seconds, for a worker whose parent was killed a moment ago


@dataclass(frozen=True)
class CheckpointWork:
    """One checkpoint of a study, as work for any process.

    Attributes:
        folder: the run folder.
        series: the series, of which only `label` is looked at.
        label: the checkpoint.
        settings: of the sampler, for the whole series; None = the LLC is not asked for.
        schemes: compressors, as text.
        tolerances: nats a unit.
        seed: of random schemes.
    """

    folder: Path
    series: Series
    label: str
    settings: Settings | None
    schemes: tuple[str, ...]
    tolerances: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class CheckpointResult:
    """A row of the study's table, and what the model and the data are.

    Attributes:
        row: of the table.
        model: None where it could not be loaded.
        data: as `model`.
        trace: where something went wrong that was not foreseen.
    """

    row: dict[str, Any]
    model: dict[str, Any] | None
    data: dict[str, Any] | None
    trace: str | None = None


def measure_checkpoint(work: CheckpointWork, progress: Progress) -> CheckpointResult:
    """Held-out loss, LLC and critical points of one checkpoint; finished units are read, not measured again.

    A checkpoint that cannot be measured gives a row that says why, whatever the reason: the LLC's in `failed`, beside
    the schemes' results; a scheme's in `unmeasured`, beside the others'. One process at a time works on a checkpoint.

    Raises:
        StoreError: the run folder cannot be written, or another process holds the checkpoint.
    """
    run, label = Run(work.folder), work.label
    row: dict[str, Any] = {"label": label, "step": work.series.steps.get(label), "loss": None, "loss_se": None}
    row |= {"source": None, "subsets": {}, "llc": None, "critical": {}, "unmeasured": {}, "failed": None}
    model = data = None
    traces: list[str] = []
    with locked(run.path, f"checkpoint-{run.unit_folder(label, '_').parent.name}", wait=_WAIT):
        try:
            task = work.series.load[label]()
            row["source"] = task.source
            held_out = work.series.held_out(task)
            model = summary.model_facts(task)
            data = summary.data_facts(task, held_out, work.series.sampling_text, work.series.evaluation_text)
            row |= _loss(run, label, held_out)
        except StoreError:
            raise
        except Exception as error:
            return CheckpointResult({**row, "failed": _said(error, traces)}, model, data, _joined(traces))
        try:
            if work.settings is not None:
                row["llc"] = _llc(run, label, task, work.settings, progress)
        except StoreError:
            raise
        except Exception as error:
            row["failed"] = _said(error, traces)
        for at, scheme in enumerate(work.schemes):
            share = _share(progress, at, len(work.schemes))
            try:
                row["critical"][scheme] = _critical(run, (held_out, task), scheme, work, share)
            except StoreError:
                raise
            except Exception as error:
                row["unmeasured"][scheme] = _said(error, traces)
    return CheckpointResult(row, model, data, _joined(traces))


def _said(error: Exception, traces: list[str]) -> str:
    """What went wrong, in one sentence; where, if it was not foreseen, goes to `traces`."""
    if isinstance(error, BitsAndNatsError):
        return str(error)
    traces.append("".join(traceback.format_exception(error)))
    return " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(": ")


def _joined(traces: list[str]) -> str | None:
    return "\n".join(traces) or None


def _loss(run: Run, label: str, task: Task) -> dict[str, Any]:
    def measure() -> xr.DataTree:
        losses = task.all_item_losses(task.center).double().cpu().numpy() / task.mean_weight
        return xr.DataTree(xr.Dataset({"item_losses": ("item", losses)}))

    losses = _unit(run, label, "loss", content_key(task, {"loss": True}), measure).dataset["item_losses"].values
    spread = losses.std(ddof=min(1, len(losses) - 1))
    found = {"loss": float(losses.mean()), "loss_se": float(spread / len(losses) ** 0.5)}
    return {**found, "subsets": subset_losses(task, losses * task.mean_weight)}


def _llc(run: Run, label: str, task: Task, settings: Settings, progress: Progress) -> dict[str, Any]:
    key = content_key(task, {"llc": settings.values()})
    blocks = StoredBlocks(run, label, key)
    tree = _unit(run, label, "llc", key, lambda: measure_llc(task, settings, blocks=blocks, progress=progress))
    blocks.clear()
    return {**as_record(estimate(tree)), "seconds": tree.attrs.get("seconds")}


def _critical(
    run: Run, tasks: tuple[Task, Task], scheme: str, work: CheckpointWork, progress: Progress
) -> list[dict[str, Any]]:
    """Critical points on held-out data, the first of `tasks`; schemes that train do so on the data of the second."""
    held_out, task = tasks
    compressor = compressor_of(scheme, task, work.series.training_rate)
    options: dict[str, Any] = {"scheme": scheme, "tolerances": work.tolerances, "seed": work.seed}
    if getattr(compressor, "data", None) is not None:
        rate = getattr(compressor, "training_rate", None)
        options |= {"training": content_key(task, {}).digest, "training_rate": rate}

    def measure() -> xr.DataTree:
        points = critical_points(compressor, held_out, work.tolerances, seed=work.seed, progress=progress)
        records = json.dumps([point.as_record() for point in points])
        return xr.DataTree(points[0].curve.assign_attrs(critical=records))

    tree = _unit(run, work.label, scheme, content_key(held_out, options), measure)
    return json.loads(tree.attrs["critical"])


def compressor_of(scheme: str, task: Task, training_rate: float | None) -> Compressor:
    """The compressor that a text names; one that trains does so on the data of `task`, never on held-out ones.

    Args:
        scheme: name and options.
        task: the checkpoint on the data that it was trained on.
        training_rate: of the original training; None where it is not known.

    Raises:
        InputError: the compressor trains at a share of a rate that is neither known nor among its options.
    """
    build = compressors.registry.build(scheme)
    parameters = inspect.signature(build).parameters
    given = getattr(build, "keywords", {})
    if "data" not in parameters:
        return build()
    if "training_rate" not in parameters or "training_rate" in given or given.get("retrain_steps") == 0:
        return build(data=task.data)
    if training_rate is None:
        raise InputError(
            message(
                expected=f"the learning rate of the training, of which {scheme.partition('(')[0]} takes a tenth",
                got="a series that does not say it",
                do="write prune-heads(training_rate=0.001), or prune-heads(retrain_steps=0) for none",
            )
        )
    return build(data=task.data, training_rate=training_rate)


def _share(progress: Progress, at: int, schemes: int) -> Progress:
    """Progress of one scheme as its part of that of all, in thousandths of a scheme."""

    def told(stage: str, done: int, total: int) -> None:
        progress(stage, 1000 * at + 1000 * done // max(total, 1), 1000 * schemes)

    return told


def _unit(run: Run, label: str, name: str, key: ContentKey, measure: Callable[[], xr.DataTree]) -> xr.DataTree:
    tree = run.finished(label, name, key)
    if tree is None:
        tree = measure()
        run.finish(label, name, key, tree)
    return tree
