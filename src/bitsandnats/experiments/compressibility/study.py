"""compressibility(): suites trained, studied, sampled at the published settings and pruned; stored and tabulated."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.experiments.compressibility.costs import PlanRow
from bitsandnats.experiments.compressibility.markdown import markdown
from bitsandnats.experiments.compressibility.plan import Plan, Suite
from bitsandnats.experiments.compressibility.summary import study_summary
from bitsandnats.experiments.compressibility.tracker import Tracker
from bitsandnats.experiments.compressibility.works import PruneWork, PublishedWork, TrainWork, further, train
from bitsandnats.experiments.conduct import Conduct, conduct
from bitsandnats.recipes.checkpoint import CheckpointWork
from bitsandnats.recipes.published import published_settings
from bitsandnats.recipes.series import Series, checkpoint_series
from bitsandnats.recipes.study import study
from bitsandnats.settings import Settings, changed
from bitsandnats.store import Run

PAPER = "2510.12077"
_BETWEEN = 120.0  # seconds


def compressibility(
    out: str | Path,
    plan: Plan,
    *,
    costs: Sequence[PlanRow] = (),
    workers: int = 1,
    device: str | None = None,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Measures all of a plan; now and then `summary.json` and `tables.md` say what is known by then.

    Interrupted, it continues where it stopped. In the run folder: `suites/NAME`, the models that were trained;
    `studies/NAME`, a run folder of `study` for each suite, with λ̂ at local settings and all schemes; `units`, λ̂ at the
    published settings and the pruned models.

    Args:
        out: the run folder.
        plan: from `compressibility_plan`.
        costs: from `measured_plan`, to weigh the progress by; empty = every part weighs the same.
        workers: processes of one CPU thread each that share suites and checkpoints; 1 = this process, with its own
            threads. Scripts need the usual `if __name__ == "__main__":`.
        device: where to train and measure, e.g. `cuda`, which the workers share; None = the CPU.
        command: what remakes the run, for the report.
        progress: told of the parts, in thousandths of the predicted work.

    Returns:
        The run: `.summary()`, and the studies below it.

    Raises:
        StoreError: the run folder cannot be used.
        DataError: a suite lacks what is measured.
        ModelError: training diverged.
    """
    studies: dict[str, Any] = {}
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return study_summary(plan, studies, rows, failed, made)

    with conduct(
        out,
        plan.run_settings(),
        command=command,
        workers=workers,
        device=device,
        summarise=summarise,
        tabulate=markdown,
    ) as made:
        run, tracker = made.run, Tracker(progress, plan, costs)
        _train(made, plan, device, tracker)
        series = {suite.name: _series(run, plan, suite, device) for suite in plan.suites}
        for suite in plan.suites:
            try:
                done = _study(run, plan, suite, series[suite.name], workers, tracker.study(suite.name))
            except StoreError:
                raise
            except BitsAndNatsError as error:
                failed[suite.name] = str(error)
            else:
                studies[suite.name] = done.summary()
            made.write()
        works = _works(run.path, plan, series)
        with closing(made.results(further, works, tracker.further(works))) as stream:
            written = time.perf_counter()
            for _, row in stream:
                rows.append(row)
                if time.perf_counter() - written > _BETWEEN:  # the tables take seconds to make
                    made.write()
                    written = time.perf_counter()
        made.write()
        return run


def suite_folder(run: Path, suite: Suite) -> Path:
    """Where a suite is."""
    return suite.folder or run / "suites" / suite.name


def study_folder(run: Path, name: str) -> Path:
    """Where a suite's study is."""
    return run / "studies" / name


def _train(made: Conduct, plan: Plan, device: str | None, tracker: Tracker) -> None:
    """The suites that are not there yet, the largest first: by several processes it ends soonest so."""
    suites = [suite for suite in reversed(plan.suites) if suite.folder is None]
    works = [TrainWork(suite_folder(made.run.path, suite), suite, plan.corpus_bytes, device) for suite in suites]
    names = [suite.name for suite in suites]
    if works:
        with closing(made.results(train, works, tracker.training(names), most=len(works))) as stream:
            for _ in stream:
                pass


def _series(run: Run, plan: Plan, suite: Suite, device: str | None) -> Series:
    steps = set(plan.steps(suite))
    return checkpoint_series(
        suite_folder(run.path, suite),
        fold=True,
        keep=lambda found: [c for c in found if c.step in steps],
        device=device,
    )


def _study(run: Run, plan: Plan, suite: Suite, series: Series, workers: int, progress: Progress) -> Run:
    """λ̂ at local settings and all schemes, over one suite."""
    return study(
        series,
        schemes=suite.schemes,
        tolerances=plan.tolerances,
        settings=plan.local.given(),
        out=study_folder(run.path, suite.name),
        fold=True,
        seed=plan.seed,
        workers=workers,
        title=f"{suite.name}: {suite.words()}",
        progress=progress,
    )


def _works(folder: Path, plan: Plan, series: dict[str, Series]) -> list[PublishedWork | PruneWork]:
    """What is measured beside the studies, the largest model first."""
    found: list[PublishedWork | PruneWork] = []
    settings = _published(plan)
    for suite in reversed(plan.suites):
        own = series[suite.name]
        found += [
            PublishedWork(suite.name, label, _published_work(folder, suite.name, label, own, settings))
            for label in own.load
        ]
    smallest, pruned = plan.suites[0].name, set(plan.pruned_steps())
    own = series[smallest]
    for label in own.load:
        if own.steps[label] in pruned:
            found += [
                PruneWork(folder, own.only(label), label, smallest, fraction, plan.pruning, plan.seed)
                for fraction in plan.pruning.fractions
            ]
    return found


def _published(plan: Plan) -> Settings:
    """The paper's step, pull and temperature, with the chains of the plan."""
    settings = published_settings(PAPER, plan.seed)
    assert settings is not None
    return changed(settings, plan.published.given())


def _published_work(folder: Path, suite: str, label: str, series: Series, settings: Settings) -> CheckpointWork:
    """The measurement under a name of its own in the run folder, since labels of suites are alike."""
    name = f"{suite}-{label}"
    own = Series({name: series.load[label]}, series.evaluation, {name: series.steps[label]})
    return CheckpointWork(folder, own, name, settings, (), (), settings.seed)
