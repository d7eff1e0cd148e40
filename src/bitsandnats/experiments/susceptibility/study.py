"""susceptibility(): networks trained, their heads ablated and sampled; stored and tabulated."""

from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Weighted, conduct
from bitsandnats.experiments.heads.units import Row, TrainWork, trained
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.experiments.susceptibility.disjoint import KINDS
from bitsandnats.experiments.susceptibility.plan import READINGS, Plan
from bitsandnats.experiments.susceptibility.summary import study_summary
from bitsandnats.experiments.susceptibility.works import Reading, read
from bitsandnats.store import Run


def susceptibility(
    out: str | Path, plan: Plan, *, workers: int = 1, command: str | None = None, progress: Progress = silent
) -> Run:
    """Trains and samples all of a plan; `summary.json` and `tables.md` say what is known after each unit.

    Interrupted, it continues where it stopped: a unit is one network's training, or one reading of it.

    Args:
        out: the run folder.
        plan: from `susceptibility_plan`.
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
    readings: list[Row] = []

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return study_summary(plan, trainings, readings, made)

    with conduct(
        out,
        plan.run_settings(),
        command=command,
        workers=workers,
        device=plan.device,
        summarise=summarise,
        tabulate=sheets_as_markdown,
    ) as made:
        works = networks(made.run.path, plan)
        with closing(
            made.results(trained, works, Weighted(progress, "training", [float(w.recipe.steps) for w in works]))
        ) as stream:
            for _, row in stream:
                if row["label"] in {f"s{seed}" for seed in plan.seed_range}:
                    trainings.append(row)
                    made.write()
        units = [
            Reading(plan, tuple(own[1:] if kind.startswith("disjoint") else own[:1]), kind)
            for own in (works[i : i + 3] for i in range(0, len(works), 3))
            for kind in READINGS
        ]
        with closing(made.results(read, units, Weighted(progress, "sampling", [1.0] * len(units)))) as stream:
            for _, row in stream:
                readings.append(row)
                made.write()
        made.write()
        return made.run


def networks(folder: Path, plan: Plan) -> list[TrainWork]:
    """Of every seed the network under study, then the two that stand side by side."""
    works = []
    for seed in plan.seed_range:
        works.append(TrainWork(folder, f"s{seed}", plan.recipe, seed, (plan.recipe.steps,), plan.device))
        for place, kinds in enumerate(KINDS):
            recipe = plan.part._replace(kinds=kinds)
            works.append(TrainWork(folder, f"s{seed}-part{place}", recipe, seed, (recipe.steps,), plan.device))
    return works
