"""grokking(): networks trained, their checkpoints coarse-grained and sampled; stored and tabulated."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Weighted, conduct
from bitsandnats.experiments.grokking.costs import PlanRow
from bitsandnats.experiments.grokking.markdown import markdown
from bitsandnats.experiments.grokking.plan import MAIN, MEMORISED, Arm, Plan
from bitsandnats.experiments.grokking.summary import study_summary
from bitsandnats.experiments.grokking.tables import Row
from bitsandnats.experiments.grokking.training_unit import TrainWork, trained
from bitsandnats.experiments.grokking.works import Measurement, measured
from bitsandnats.store import Run

_BETWEEN = 60.0  # seconds between two writings of the tables


def grokking(
    out: str | Path,
    plan: Plan,
    *,
    costs: Sequence[PlanRow] = (),
    workers: int = 1,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Trains and measures all of a plan; now and then `summary.json` and `tables.md` say what is known by then.

    Interrupted, it continues where it stopped: a unit is the training of one seed, one checkpoint's complexity at all
    tolerances, or one checkpoint's LLC.

    Args:
        out: the run folder.
        plan: from `grokking_plan`.
        costs: from `measured_plan`, to weigh the progress by; empty = every unit weighs the same.
        workers: processes of one CPU thread each that share the units; 1 = this process, with its own threads.
            Scripts need the usual `if __name__ == "__main__":`.
        command: what remakes the run, for the report.
        progress: told of `training` and of `checkpoints`, in thousandths.

    Returns:
        The run: `.summary()`, `.tree(label, unit)`.

    Raises:
        StoreError: the run folder cannot be used.
    """
    trainings: list[Row] = []
    rows: list[Row] = []

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return study_summary(plan, trainings, rows, made)

    with conduct(
        out,
        plan.run_settings(),
        command=command,
        workers=workers,
        device=plan.device,
        summarise=summarise,
        tabulate=markdown,
    ) as made:
        groups = [
            TrainWork(made.run.path, arms, seeds, plan.epochs(arms[0].recipe), plan.device)
            for arms, seeds in plan.trainings()
        ]
        by_arm = {row.arm: row for row in costs}
        weights = [sum(by_arm[arm.name].training if costs else 1.0 for arm in group.arms) for group in groups]
        tracker = Weighted(progress, "training", weights)
        with closing(made.results(trained, groups, tracker, most=len(groups))) as stream:
            for _, found in stream:
                trainings += found
                made.write()
        works = measurements(made.run.path, plan, trainings)
        tracker = Weighted(progress, "checkpoints", [_weight(work, by_arm) for work in works])
        written = time.perf_counter()
        with closing(made.results(measured, works, tracker)) as stream:
            for index, row in stream:
                rows.append(row)
                tracker(index, row["kind"], 1, 1)
                if time.perf_counter() - written > _BETWEEN:
                    made.write()
                    written = time.perf_counter()
        made.write()
        return made.run


def measurements(folder: Path, plan: Plan, trainings: Sequence[Row]) -> list[Measurement]:
    """Everything that is measured, seed by seed of all arms, so that a part of a run is a comparison too.

    Args:
        folder: the run folder.
        plan: of the run.
        trainings: rows of the finished training runs.
    """
    works: list[Measurement] = []
    common = (plan.sampling, plan.device)
    for seed in plan.seed_range:
        for arm in plan.arms:
            for epoch in plan.epochs(arm.recipe):
                place = (folder, arm, seed, epoch)
                works.append(Measurement(*place, "complexity", plan.grade, plan.tolerances, *common))
                works.append(Measurement(*place, "llc", "", (), *common))
    curves = {(row["arm"], row["seed"]): row for row in trainings}
    for arm in plan.arms if plan.published else ():
        works += [
            Measurement(folder, arm, plan.seed, epoch, "complexity", "published", (MAIN,), *common)
            for epoch in _two(plan, arm, curves[arm.name, plan.seed])
        ]
    return works


def _two(plan: Plan, arm: Arm, curve: Row) -> list[int]:
    """The first measured checkpoint that has memorised its pairs, where there is one, and the last."""
    accuracy = dict(zip(curve["epochs"], curve["train_accuracy"], strict=True))
    epochs = plan.epochs(arm.recipe)
    first = next((epoch for epoch in epochs if accuracy[epoch] >= MEMORISED), epochs[-1])
    return list(dict.fromkeys((first, epochs[-1])))


def _weight(work: Measurement, costs: dict[str, PlanRow]) -> float:
    row = costs.get(work.arm.name)
    if row is None:
        return 1.0
    if work.kind == "llc":
        return row.llc
    return row.published if work.grade == "published" else row.complexity
