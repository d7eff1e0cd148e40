"""study(): over a series of checkpoints, the LLC and the critical point of each scheme, and how they relate."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bitsandnats import compressors
from bitsandnats._types import Data, Progress, silent
from bitsandnats.calibrate import calibrate
from bitsandnats.critical import check_tolerances, critical_points
from bitsandnats.data import as_data, subset
from bitsandnats.errors import BitsAndNatsError, InputError, message
from bitsandnats.estimators.llc import as_record, estimate
from bitsandnats.recipes import summary
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.recipes.published import published_settings
from bitsandnats.settings import Settings, changed, settings_from
from bitsandnats.store import ContentKey, Run, content_key, create_run, write_json
from bitsandnats.task import Task

_EVALUATION_ITEMS = 256


@dataclass(frozen=True)
class Series:
    """Checkpoints in training order, loaded when their turn comes.

    Attributes:
        load: label -> a function that gives the Task (sampling data: its own).
        evaluation: held-out items for losses and critical points; None = up to 256 of the task's own.
        steps: training step of each label, None where unknown.
        sampling_text, evaluation_text: what the data are, in words.
    """

    load: Mapping[str, Callable[[], Task]]
    evaluation: Data | None
    steps: Mapping[str, int | None]
    sampling_text: str = "the task's own data"
    evaluation_text: str = "the task's own data"


def study(
    series: str | Path | Mapping[str, Task] | Series,
    *,
    schemes: Sequence[str] = ("quantize",),
    tolerances: Sequence[float] = (0.1, 0.3, 0.5, 1.0),
    settings: Settings | dict[str, Any] | None = None,
    out: str | Path,
    evaluation: Any = None,
    text: Sequence[str | Path] | None = None,
    context: int | None = None,
    fold: bool | None = None,
    recipe: str = "local",
    seed: int = 0,
    title: str | None = None,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Measures every checkpoint of a series and relates its LLC to its critical points.

    Interrupted, it continues where it stopped: a finished unit is used again only for the same parameters, data,
    loss, options, seed and version. One set of sampler settings serves the whole series and is stored with it. A
    checkpoint that cannot be measured is marked, and the rest goes on.

    Args:
        series: a folder of Hugging Face checkpoints, or a mapping label -> Task in training order (a label that ends
            in a number gives the step).
        schemes: compressors, as in `bitsandnats ls compressors`.
        tolerances: loss increases allowed, nats a unit; the one nearest to 0.5 is the main one.
        settings: all sampler settings, or a dict of those that are not to be chosen; None = by `calibrate`'s rule.
        out: the run folder.
        evaluation: held-out data for losses and critical points; None = a tenth of `text`, or for a mapping the
            tasks' own data.
        text: files or folders of text, for a folder of checkpoints.
        context: tokens a context, for a folder of checkpoints.
        fold: fold layer norms into the next linear map (function-preserving) before measuring; None = where the
            architecture is known.
        recipe: `local`, or `2510.12077` for the published sampler settings.
        seed: of every random choice.
        title, command: for the report.
        progress: told of the work as it is done.

    Returns:
        The run: `.summary()`, `.tree(label, measurement)`.

    Raises:
        InputError: an option is out of range. DataError, ModelError: nothing can be measured. StoreError: the run
        folder cannot be used.
    """
    check_tolerances(tolerances)
    built = {scheme: compressors.registry.build(scheme)() for scheme in schemes}
    source = _series(series, evaluation, text, context, fold)
    given = settings.values() if isinstance(settings, Settings) else dict(settings or {})
    fixed = published_settings(recipe, seed)
    asked = {
        "recipe": recipe,
        "schemes": list(schemes),
        "tolerances": [float(t) for t in tolerances],
        "seed": seed,
        "fold": fold,
        "context": context,
        "given": {k: v for k, v in given.items() if v is not None},
    }
    provenance = summary.provenance(command, seed)
    run = create_run(out, asked, provenance=provenance)
    began = time.perf_counter()
    resolved = (
        changed(fixed, given) if fixed is not None else _calibrated(run, source, {**given, "seed": seed}, progress)
    )
    rows: list[dict[str, Any]] = []
    head: dict[str, Any] = {}

    def write() -> None:
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        measured = {**provenance, "seconds": time.perf_counter() - began, "finished": finished}
        head.update(title=title or Path(out).name, recipe=recipe, tolerances=asked["tolerances"], schemes=list(schemes))
        write_json(run.path / "summary.json", summary.study_summary(head, rows, resolved, measured))

    for index, label in enumerate(source.load):
        progress("checkpoints", index, len(source.load))
        row: dict[str, Any] = {"label": label, "step": source.steps.get(label), "loss": None, "loss_se": None}
        row |= {"llc": None, "critical": {}, "failed": None}
        rows.append(row)
        try:
            task = source.load[label]()
            held_out = task.on(source.evaluation if source.evaluation is not None else _own(task))
            head.setdefault("model", summary.model_facts(task))
            head.setdefault("data", summary.data_facts(task, held_out, source.sampling_text, source.evaluation_text))
            row |= _loss(run, label, held_out)
            row["llc"] = _llc(run, label, task, resolved, progress)
            for scheme, compressor in built.items():
                options = {"scheme": scheme, "tolerances": asked["tolerances"], "seed": seed}
                row["critical"][scheme] = _critical(run, label, held_out, compressor, options, progress)
        except BitsAndNatsError as error:
            row["failed"] = str(error)
        write()
    progress("checkpoints", len(source.load), len(source.load))
    if all(row["failed"] for row in rows):
        raise InputError(
            message(
                expected="at least one checkpoint that can be measured", got=rows[0]["failed"], do="mend the series"
            )
        )
    return run


def checkpoint_series(
    path: str | Path,
    *,
    text: Sequence[str | Path] | None = None,
    context: int | None = None,
    fold: bool | None = None,
    keep: Callable[[list[Any]], list[Any]] | None = None,
    device: str | None = None,
) -> Series:
    """The checkpoints in a folder, with text to sample on and text held out, as a series to study.

    Args:
        path: folder of Hugging Face checkpoints, or of one.
        text: files or folders; None for a suite trained by `bitsandnats train`.
        context: tokens a context.
        fold: fold layer norms; None = where the architecture is known, said in the notes where not.
        keep: which of the checkpoints found to study; None = all.
        device: where to measure, e.g. `cuda`; None = the CPU.

    Raises:
        DataError: no checkpoints or no text.
    """
    from bitsandnats import hf

    checkpoints = hf.find_series(path)
    if keep is not None:
        checkpoints = keep(checkpoints)
    found = hf.series_text(checkpoints, text, context)

    def loader(folder: Path) -> Callable[[], Task]:
        return lambda: hf.load_task(folder, text=found.sampling, fold=fold, device=device)

    return Series(
        load={c.label: loader(c.path) for c in checkpoints},
        evaluation=as_data(found.evaluation),
        steps={c.label: c.step for c in checkpoints},
        sampling_text=found.sampling_words,
        evaluation_text=found.evaluation_words,
    )


def _series(
    series: str | Path | Mapping[str, Task] | Series,
    evaluation: Any,
    text: Sequence[str | Path] | None,
    context: int | None,
    fold: bool | None,
) -> Series:
    if isinstance(series, Series):
        return series
    if isinstance(series, str | Path):
        return checkpoint_series(series, text=text, context=context, fold=fold)
    if not series:
        raise InputError(message(expected="a series of at least one task", got="none", do="give label -> Task"))
    steps = {label: summary.trailing_number(label) for label in series}
    data = None if evaluation is None else as_data(evaluation)
    words = "the task's own data" if evaluation is None else "the data given as evaluation"
    return Series({label: (lambda t=task: t) for label, task in series.items()}, data, steps, evaluation_text=words)


def _own(task: Task) -> Data:
    count = min(_EVALUATION_ITEMS, len(task.data))
    return subset(task.data, np.linspace(0, len(task.data) - 1, count).round().astype(int).tolist())


def _calibrated(run: Run, source: Series, given: dict[str, Any], progress: Progress) -> Settings:
    labels = list(source.load)
    probed = [source.load[labels[i]]() for i in sorted({0, len(labels) // 2, len(labels) - 1})]
    key = content_key(probed[-1], {"calibrate": given, "labels": labels})
    stored = run.finished("_series", "settings", key)
    if stored is not None:
        return settings_from(json.loads(stored.attrs["settings"]))
    resolved = calibrate(probed, given=given, progress=progress)
    tree = xr.DataTree(xr.Dataset(attrs={"settings": json.dumps(resolved.model_dump())}))
    run.finish("_series", "settings", key, tree)
    return resolved


def _loss(run: Run, label: str, task: Task) -> dict[str, float]:
    def measure() -> xr.DataTree:
        losses = task.all_item_losses(task.center).double().cpu().numpy() / task.mean_weight
        return xr.DataTree(xr.Dataset({"item_losses": ("item", losses)}))

    losses = _unit(run, label, "loss", content_key(task, {"loss": True}), measure)["item_losses"].values
    return {
        "loss": float(losses.mean()),
        "loss_se": float(losses.std(ddof=min(1, len(losses) - 1)) / len(losses) ** 0.5),
    }


def _llc(run: Run, label: str, task: Task, settings: Settings, progress: Progress) -> dict[str, Any]:
    key = content_key(task, {"llc": settings.values()})
    tree = _unit(run, label, "llc", key, lambda: measure_llc(task, settings, progress=progress))
    return {**as_record(estimate(tree)), "seconds": tree.attrs.get("seconds")}


def _critical(
    run: Run, label: str, task: Task, compressor: Any, options: dict[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    def measure() -> xr.DataTree:
        points = critical_points(compressor, task, options["tolerances"], seed=options["seed"], progress=progress)
        records = json.dumps([point.as_record() for point in points])
        return xr.DataTree(points[0].curve.assign_attrs(critical=records))

    tree = _unit(run, label, options["scheme"], content_key(task, options), measure)
    return json.loads(tree.attrs["critical"])


def _unit(run: Run, label: str, name: str, key: ContentKey, measure: Callable[[], xr.DataTree]) -> xr.DataTree:
    tree = run.finished(label, name, key)
    if tree is None:
        tree = measure()
        run.finish(label, name, key, tree)
    return tree
