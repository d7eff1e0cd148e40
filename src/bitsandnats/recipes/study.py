"""study(): over a series of checkpoints, the LLC and the critical point of each scheme, and how they relate."""

import math
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitsandnats import compressors, hf
from bitsandnats._types import Progress, Unit, silent
from bitsandnats.critical import check_tolerances
from bitsandnats.errors import InputError, message
from bitsandnats.executor import run_here, run_in_processes
from bitsandnats.recipes import summary
from bitsandnats.recipes.checkpoint import CheckpointResult, CheckpointWork, measure_checkpoint
from bitsandnats.recipes.llc import check_given
from bitsandnats.recipes.published import published_settings
from bitsandnats.recipes.resolved import probes, series_settings
from bitsandnats.recipes.rows import keep_row, kept_rows
from bitsandnats.recipes.series import Series, checkpoint_series, kept_in, task_series
from bitsandnats.recipes.shards import Shard, holding, shard_of
from bitsandnats.settings import Settings, changed
from bitsandnats.store import ContentKey, Run, check_run, create_run, locked, write_json
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
    text: hf.Text | None = None,
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
    shard: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Measures every checkpoint of a series and relates its LLC to its critical points.

    Interrupted, it continues where it stopped: a finished unit is used again only for the same parameters, data,
    loss, options, seed and version. One set of sampler settings serves the whole series and is stored with it. A
    checkpoint that cannot be measured, for whatever reason, is marked, and the rest goes on; a folder that cannot be
    written ends the study. One process at a time works on a folder, or one on each shard.

    Args:
        series: a folder of Hugging Face checkpoints, `org/name` on the hub, or a mapping label -> Task in training
            order (a label that ends in a number gives the step).
        schemes: compressors, as in `bitsandnats ls compressors`.
        tolerances: loss increases allowed, nats a unit; the one nearest to 0.5 is the main one.
        settings: all sampler settings, or a dict of those that are not to be chosen; None = by `calibrate`'s rule.
            A `Settings` is taken as it is; mode `auto` is decided once, for the whole series.
        out: the run folder.
        evaluation: held-out data for losses and critical points; None = a tenth of `text`, or for a mapping the
            tasks' own data.
        text: for checkpoints that are loaded, as `hf.load_task` takes it.
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
        shard: `i/n`: only every n-th checkpoint, from the i-th on. Shards may run at once, on machines that share the
            folder; whichever ends last completes the table. The same call without `shard` finishes what is missing.
        progress: told of the work as it is done.

    Returns:
        The run: `.summary()`, `.tree(label, measurement)`.

    Raises:
        InputError: an option is out of range.
        DataError: there is nothing to measure, or no text.
        StoreError: the run folder cannot be used, or another process holds it.
    """
    given = settings.values() if isinstance(settings, Settings) else dict(settings or {})
    seed = int(given.get("seed") or 0) if seed is None else seed
    check_plan(schemes, tolerances, given)
    place = settings.center if isinstance(settings, Settings) else given.pop("center", None) or "device"
    part = None if shard is None else shard_of(shard)
    fixed = published_settings(recipe, seed)
    if isinstance(series, str | Path):
        options: dict[str, Any] = {"revisions": revisions, "context": context, "unit": unit, "fold": fold}
        source = checkpoint_series(series, text=text, **options, out=out, evict=evict)
    else:
        source = series if isinstance(series, Series) else task_series(series, evaluation)
    source = kept_in(source, place)
    whole = fixed is not None or isinstance(settings, Settings)
    probed = probes(source, only_last=whole)
    asked = {
        "recipe": recipe,
        "schemes": list(schemes),
        "tolerances": [float(t) for t in tolerances],
        "seed": seed,
        "fold": "where known" if fold is None else fold,
        "context": context,
        "given": {k: v for k, v in given.items() if v is not None},
    }
    wanted: Settings | dict[str, Any] = {**given, "seed": seed}
    if fixed is not None:
        wanted = changed(fixed, {**given, "seed": seed})
    elif isinstance(settings, Settings):
        wanted = changed(settings, {"seed": seed})
    labels = list(source.load)
    mine = labels if part is None else part.of(labels)
    workers = _workers(workers, source, len(mine), probed[-1])
    provenance = summary.provenance(command, seed)
    made = {"provenance": {**provenance, "workers": workers}, "further": {"series": source.arguments or {}}}
    check_run(out, asked)
    with holding(Path(out), part):
        with locked(Path(out), "settings", wait=math.inf):  # of several shards one chooses, and the others take it
            began = time.perf_counter()
            run = create_run(out, asked, **made)
            resolved, key = series_settings(run, labels, probed, wanted, progress)
            resolved = changed(resolved, {"center": place})
            made["further"]["resolved"] = resolved.model_dump()
            run = create_run(out, asked, **made)
        head: dict[str, Any] = {"title": title or Path(out).resolve().name, "recipe": recipe}
        head |= {} if source.origin is None else {"origin": source.origin}
        head |= {"tolerances": asked["tolerances"], "schemes": asked["schemes"]}
        plan = tuple(schemes), tuple(asked["tolerances"]), resolved.seed
        works = [CheckpointWork(run.path, source.only(label), label, resolved, *plan) for label in mine]
        tracker = _Tracker(progress, len(works))
        results: dict[str, CheckpointResult] = {}
        waiting = iter(mine[workers:])  # the first ones are loaded at once
        _fetch_ahead(source, waiting)
        with closing(_stream(works, tracker, workers)) as stream:
            # an interrupt here, between results, must end the workers too
            for index, result in stream:
                results[mine[index]] = result
                tracker.finished(index)
                _fetch_ahead(source, waiting, mine[index])
                keep_row(run, key, result)
                measured = {**provenance, "seconds": time.perf_counter() - began, "workers": workers}
                _write_summary(run, key, (head, labels, resolved, measured), results, part)
    failures = [
        result.row["failed"] for result in results.values() if result.row["failed"] and not result.row["critical"]
    ]
    if works and len(failures) == len(works):
        raise InputError(
            message(expected="at least one checkpoint that can be measured", got=failures[0], do="mend the series")
        )
    return run


def _stream(
    works: list[CheckpointWork], tracker: "_Tracker", workers: int
) -> Generator[tuple[int, CheckpointResult], None, None]:
    if workers == 1:
        return run_here(measure_checkpoint, works, tracker)
    return run_in_processes(measure_checkpoint, works, tracker, workers=workers)


def _write_summary(
    run: Run,
    key: ContentKey,
    about: tuple[dict[str, Any], list[str], Settings, dict[str, Any]],
    results: Mapping[str, CheckpointResult],
    shard: Shard | None,
) -> None:
    """Writes the table as far as it is: with the rows of other shards, where there are some."""
    head, labels, resolved, measured = about
    with locked(run.path, "summary", wait=math.inf):
        known = {**({} if shard is None else kept_rows(run, key, labels)), **results}
        found = [known[label] for label in labels if label in known]
        head = head | next(({"model": r.model, "data": r.data} for r in found if r.model), {})
        measured = {**measured, "finished": datetime.now(UTC).isoformat(timespec="seconds")}
        table = summary.study_summary(head, [r.row for r in found], resolved, measured)
        pending = [label for label in labels if label not in known]
        write_json(run.path / "summary.json", {**table, **({"pending": pending} if pending else {})})


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


def _workers(asked: int | None, source: Series, checkpoints: int, last: Task) -> int:
    """Processes to use: those asked for, where the series can be sent to them."""
    if not source.picklable or checkpoints <= 1:
        return 1
    if asked is not None:
        return min(asked, checkpoints)
    shared = last.dimension <= _SMALL_MODEL and last.device.type == "cpu"
    return min(os.cpu_count() or 1, checkpoints) if shared else 1
