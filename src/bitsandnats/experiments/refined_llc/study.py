"""refined_llc(): networks trained, every head sampled at every checkpoint; stored and tabulated."""

from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Weighted, conduct
from bitsandnats.experiments.heads.units import Row, TrainWork, trained
from bitsandnats.experiments.refined_llc.plan import Plan
from bitsandnats.experiments.refined_llc.summary import study_summary
from bitsandnats.experiments.refined_llc.works import Checkpoint, measured
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.store import Run


def refined_llc(
    out: str | Path, plan: Plan, *, workers: int = 1, command: str | None = None, progress: Progress = silent
) -> Run:
    """Trains and samples all of a plan; `summary.json` and `tables.md` say what is known after each unit.

    Interrupted, it continues where it stopped: a unit is one network's training, or one checkpoint.

    Args:
        out: the run folder.
        plan: from `refined_llc_plan`.
        workers: processes of one CPU thread each that share the units; 1 = this process, with its own threads.
            Scripts need the usual `if __name__ == "__main__":`.
        command: what remakes the run, for the report.
        progress: told of `training` and of `sampling`, in thousandths.

    Returns:
        The run: `.summary()`, `.tree(label, unit)`.

    Raises:
        StoreError: the run folder cannot be used.
    """
    trainings: list[Row] = []
    checkpoints: list[Row] = []

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return study_summary(plan, trainings, checkpoints, made)

    with conduct(
        out,
        plan.run_settings(),
        command=command,
        workers=workers,
        device=plan.device,
        summarise=summarise,
        tabulate=sheets_as_markdown,
    ) as made:
        networks = [
            TrainWork(made.run.path, f"s{seed}", plan.recipe, seed, plan.steps, plan.device) for seed in plan.seed_range
        ]
        with closing(made.results(trained, networks, Weighted(progress, "training", [1.0] * len(networks)))) as stream:
            for _, row in stream:
                trainings.append(row)
                made.write()
        units = [Checkpoint(plan, own, step) for own in networks for step in plan.steps]
        with closing(made.results(measured, units, Weighted(progress, "sampling", [1.0] * len(units)))) as stream:
            for _, row in stream:
                checkpoints.append(row)
                made.write()
        made.write()
        return made.run
