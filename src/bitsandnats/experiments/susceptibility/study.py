"""susceptibility(): networks trained, their heads ablated and sampled; stored and tabulated."""

from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Weighted, conduct
from bitsandnats.experiments.heads.training import CHECKPOINTS, growing_steps
from bitsandnats.experiments.heads.units import Row, TrainWork, trained
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.experiments.susceptibility.disjoint import KINDS
from bitsandnats.experiments.susceptibility.plan import ONCE, READINGS, Plan
from bitsandnats.experiments.susceptibility.pull import Pull, pulled
from bitsandnats.experiments.susceptibility.summary import study_summary
from bitsandnats.experiments.susceptibility.works import Reading, read
from bitsandnats.store import Run

_WEIGHTS = {"control": 0.2, "disjoint": 0.4, "disjoint-control": 0.1, "whole": 1.5, "published": 0.7}
"""Of the readings' time."""


def susceptibility(
    out: str | Path, plan: Plan, *, workers: int = 1, command: str | None = None, progress: Progress = silent
) -> Run:
    """Trains and samples all of a plan; `summary.json` and `tables.md` say what is known after each unit.

    Interrupted, it continues where it stopped: a unit is one network's training, one reading of it, or one head
    of it at several pulls.

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
    pulls: list[Row] = []

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return study_summary(plan, trainings, readings, pulls, made)

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
        trios = [works[i : i + 3] for i in range(0, len(works), 3)]
        units: list[Reading | Pull] = [  # first what says whether the chains are worth it
            Pull(plan, works[0], head) for head in range(len(plan.recipe.components))
        ]
        units += [
            Reading(plan, tuple(own[1:] if kind.startswith("disjoint") else own[:1]), kind)
            for kind in READINGS
            for own in (trios[:1] if kind in ONCE else trios)
        ]
        weights = [_WEIGHTS.get(unit.kind, 1.0) if isinstance(unit, Reading) else 0.1 for unit in units]
        with closing(made.results(_measured, units, Weighted(progress, "sampling", weights))) as stream:
            for _, row in stream:
                (pulls if "kind" not in row else readings).append(row)
                made.write()
        made.write()
        return made.run


def _measured(work: Reading | Pull, progress: Progress) -> Row:
    return read(work, progress) if isinstance(work, Reading) else pulled(work, progress)


def networks(folder: Path, plan: Plan) -> list[TrainWork]:
    """Of every seed the network under study, then the two that stand side by side."""
    works = []
    for seed in plan.seed_range:
        steps = growing_steps(plan.recipe.steps, CHECKPOINTS)
        works.append(TrainWork(folder, f"s{seed}", plan.recipe, seed, steps, plan.device))
        for place, kinds in enumerate(KINDS):
            recipe = plan.part._replace(kinds=kinds)
            works.append(TrainWork(folder, f"s{seed}-part{place}", recipe, seed, (recipe.steps,), plan.device))
    return works
