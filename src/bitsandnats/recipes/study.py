"""study(): over a series of checkpoints, the LLC and the critical point of each scheme, and how they relate."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr

from bitsandnats import compressors
from bitsandnats._types import Progress, Unit, silent
from bitsandnats.calibration import calibrate
from bitsandnats.critical import check_tolerances
from bitsandnats.errors import BitsAndNatsError, InputError, message
from bitsandnats.executor import run_here, run_in_processes
from bitsandnats.recipes import summary
from bitsandnats.recipes.checkpoint import CheckpointResult, CheckpointWork, measure_checkpoint
from bitsandnats.recipes.llc import check_given
from bitsandnats.recipes.published import published_settings
from bitsandnats.recipes.series import Series, checkpoint_series, task_series
from bitsandnats.settings import Settings, changed, settings_from
from bitsandnats.store import Run, content_key, create_run, write_json
from bitsandnats.task import Task

_SMALL_MODEL = 20_000_000


def study(
    series: str | Path | Mapping[str, Task] | Series,
    *,
    schemes: Sequence[str] = ("quantize",),
    tolerances: Sequence[float] = (0.1, 0.3, 0.5, 1.0),
    settings: Settings | dict[str, Any] | None = None,
    out: str | Path,
    evaluation: Any = None,
    text: Sequence[str | Path] | None = None,
    revisions: str | None = None,
    context: int | None = None,
    unit: Unit = "token",
    fold: bool | None = None,
    evict: bool = False,
    recipe: str = "local",
    seed: int | None = None,
    workers: int | None = 1,
    title: str | None = None,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Measures every checkpoint of a series and relates its LLC to its critical points.

    Interrupted, it continues where it stopped: a finished unit is used again only for the same parameters, data,
    loss, options, seed and version. One set of sampler settings serves the whole series and is stored with it. A
    checkpoint that cannot be measured is marked, and the rest goes on.

    Args:
        series: a folder of Hugging Face checkpoints, `org/name` on the hub, or a mapping label -> Task in training
            order (a label that ends in a number gives the step).
        schemes: compressors, as in `bitsandnats ls compressors`.
        tolerances: loss increases allowed, nats a unit; the one nearest to 0.5 is the main one.
        settings: all sampler settings, or a dict of those that are not to be chosen; None = by `calibrate`'s rule.
        out: the run folder.
        evaluation: held-out data for losses and critical points; None = a tenth of `text`, or for a mapping the
            tasks' own data.
        text: files or folders of text, for checkpoints that are loaded.
        revisions: which checkpoints, such as `step1000..step90000:8`, `step*000`, `step0,step512`; None = all of a
            folder.
        context: tokens a context, for checkpoints that are loaded.
        unit: of checkpoints that are loaded: `token`, or `sequence` for the sum over a context's tokens.
        fold: fold layer norms into the next linear map (function-preserving) before measuring; None = where the
            architecture is known.
        evict: delete from the local cache what this run fetched from the hub, once it is measured.
        recipe: `local`, or `2510.12077` for the published sampler settings.
        seed: of every random choice; None = that of `settings`, else 0.
        workers: processes that share the checkpoints of a folder, one CPU thread each; None = one a core for small
            models; 1 = this process, with its own threads. Scripts need the usual `if __name__ == "__main__":`.
        title: of the report; by default the run folder's name.
        command: what remakes the run, for the report.
        progress: told of the work as it is done.

    Returns:
        The run: `.summary()`, `.tree(label, measurement)`.

    Raises:
        InputError: an option is out of range.
        DataError: there is nothing to measure, or no text.
        StoreError: the run folder cannot be used.
    """
    given = settings.values() if isinstance(settings, Settings) else dict(settings or {})
    seed = int(given.get("seed") or 0) if seed is None else seed
    check_plan(schemes, tolerances, given)
    fixed = published_settings(recipe, seed)
    if isinstance(series, str | Path):
        options: dict[str, Any] = {"revisions": revisions, "context": context, "unit": unit, "fold": fold}
        source = checkpoint_series(series, text=text, **options, out=out, evict=evict)
    else:
        source = series if isinstance(series, Series) else task_series(series, evaluation)
    probed = _probed(source) if fixed is None else []
    asked = {
        "recipe": recipe,
        "schemes": list(schemes),
        "tolerances": [float(t) for t in tolerances],
        "seed": seed,
        "fold": "where known" if fold is None else fold,
        "context": context,
        "given": {k: v for k, v in given.items() if v is not None},
    }
    provenance = summary.provenance(command, seed)
    run = create_run(out, asked, provenance=provenance)
    began = time.perf_counter()
    if fixed is not None:
        resolved = changed(fixed, {**given, "seed": seed})
    else:
        resolved = _calibrated(run, list(source.load), probed, {**given, "seed": seed}, progress)
    head: dict[str, Any] = {"title": title or Path(out).resolve().name, "recipe": recipe}
    head |= {} if source.origin is None else {"origin": source.origin}
    head |= {"tolerances": asked["tolerances"], "schemes": asked["schemes"]}
    labels = list(source.load)
    works = [
        CheckpointWork(run.path, source.only(label), label, resolved, tuple(schemes), tuple(asked["tolerances"]))
        for label in labels
    ]
    tracker = _Tracker(progress, len(works))
    workers = _workers(workers, source, works)
    here = workers == 1
    results: dict[int, CheckpointResult] = {}
    waiting = iter(labels[workers:])  # the first ones are loaded at once
    _fetch_ahead(source, waiting)
    stream = (
        run_here(measure_checkpoint, works, tracker)
        if here
        else run_in_processes(measure_checkpoint, works, tracker, workers=workers)
    )
    with closing(stream):  # an interrupt here, between results, must end the workers too
        for index, result in stream:
            results[index] = result
            tracker.finished(index)
            _fetch_ahead(source, waiting, labels[index])
            measured = {**provenance, "seconds": time.perf_counter() - began, "workers": workers}
            measured["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
            rows = [results[i].row for i in sorted(results)]
            head |= next(({"model": r.model, "data": r.data} for r in results.values() if r.model), {})
            write_json(run.path / "summary.json", summary.study_summary(head, rows, resolved, measured))
    failures = [result.row["failed"] for result in results.values() if result.row["failed"]]
    if len(failures) == len(works):
        raise InputError(
            message(expected="at least one checkpoint that can be measured", got=failures[0], do="mend the series")
        )
    return run


def check_plan(schemes: Sequence[str], tolerances: Sequence[float], given: Mapping[str, Any]) -> None:
    """Refuses what a study cannot do, before anything is loaded or written.

    Raises:
        InputError: no scheme or tolerance, an unknown one, or a sampler setting out of range.
    """
    check_tolerances(tolerances)
    if not schemes:
        raise InputError(message(expected="at least one scheme", got="none", do="see 'bitsandnats ls compressors'"))
    for scheme in schemes:
        compressors.registry.build(scheme)()
    check_given(dict(given))


class _Tracker:
    """Progress of many checkpoints as one count: in thousandths of a checkpoint."""

    _WITHIN = (("sampling", 0.0, 0.8), ("compressing", 0.8, 0.2))

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._done = progress, [0.0] * total

    def __call__(self, index: int, stage: str, done: int, total: int) -> None:
        """One event of one checkpoint."""
        for name, start, length in self._WITHIN:
            if stage == name:
                self._done[index] = max(self._done[index], start + length * done / max(total, 1))
        self._show()

    def finished(self, index: int) -> None:
        """A checkpoint is done."""
        self._done[index] = 1.0
        self._show()

    def _show(self) -> None:
        self._progress("checkpoints", round(1000 * sum(self._done)), 1000 * len(self._done))


def _fetch_ahead(source: Series, waiting: Iterator[str], measured: str | None = None) -> None:
    """Fetches the next checkpoint beside the work at hand, and gives up one that is measured."""
    if source.supply is not None:
        if measured is not None:
            source.supply.finished(measured)
        source.supply.ahead(next(waiting, ""))


def _workers(asked: int | None, source: Series, works: Sequence[CheckpointWork]) -> int:
    """Processes to use: those asked for, where the series can be sent to them."""
    if not source.picklable or len(works) == 1:
        return 1
    if asked is not None:
        return min(asked, len(works))
    largest = _loadable(source, [work.label for work in reversed(works)])
    shared = largest.dimension <= _SMALL_MODEL and largest.device.type == "cpu"
    return min(os.cpu_count() or 1, len(works)) if shared else 1


def _probed(source: Series) -> list[Task]:
    """The first, the middle and the last checkpoint, or the one after (before the last) where one cannot be loaded."""
    labels = list(source.load)
    middle = len(labels) // 2
    orders = [labels, labels[middle:] + labels[:middle], labels[::-1]]
    return [_loadable(source, order) for order in orders[: len(labels)]]


def _loadable(source: Series, labels: Sequence[str]) -> Task:
    """The first checkpoint that can be loaded; the others are marked when their turn comes.

    Raises:
        BitsAndNatsError: none can; what is wrong with the first.
    """
    errors: list[BitsAndNatsError] = []
    for label in labels:
        try:
            return source.load[label]()
        except BitsAndNatsError as error:
            errors.append(error)
    raise errors[0]


def _calibrated(run: Run, labels: list[str], probed: list[Task], given: dict[str, Any], progress: Progress) -> Settings:
    others = [content_key(task, {}).digest for task in probed[:-1]]
    key = content_key(probed[-1], {"calibrate": given, "labels": labels, "others": others})
    stored = run.finished("_series", "settings", key)
    if stored is not None:
        return settings_from(json.loads(stored.attrs["settings"]))
    resolved = calibrate(probed, given=given, progress=progress)
    tree = xr.DataTree(xr.Dataset(attrs={"settings": json.dumps(resolved.model_dump())}))
    run.finish("_series", "settings", key, tree)
    return resolved
