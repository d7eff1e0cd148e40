"""loss_kernel_study(): networks trained, their kernels and controls sampled; stored and tabulated."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Weighted, conduct
from bitsandnats.experiments.loss_kernel import page, tables
from bitsandnats.experiments.loss_kernel.hierarchy import ORDER
from bitsandnats.experiments.loss_kernel.plan import RULE, Classes, Plan, TwoTasks
from bitsandnats.experiments.loss_kernel.works import Row, Work, measured
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.store import Run

TITLE = "Loss kernels: two tasks, and classes in a hierarchy"


def loss_kernel_study(
    out: str | Path,
    plan: Plan,
    *,
    workers: int = 1,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Trains and samples all of a plan; after each network `summary.json` and `tables.md` say what is known.

    Interrupted, it continues where it stopped. A unit is one network with its controls.

    Args:
        out: the run folder.
        plan: from `loss_kernel_plan`.
        workers: processes of one CPU thread each that share the networks; 1 = this process, with its own threads.
            Scripts need the usual `if __name__ == "__main__":`.
        command: what remakes the run, for the report.
        progress: told of `kernels`, in thousandths.

    Returns:
        The run: `.summary()`, `.tree(label, unit)`.

    Raises:
        StoreError: the run folder cannot be used.
    """
    rows: list[Row] = []

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return study_summary(plan, rows, made)

    with conduct(
        out,
        plan.run_settings(),
        command=command,
        workers=workers,
        summarise=summarise,
        tabulate=sheets_as_markdown,
        device=plan.device,
    ) as made:
        works = [Work(made.run.path, plan, "tasks", model) for model in range(plan.models)]
        if plan.classes is not None:
            works += [Work(made.run.path, plan, "classes", model) for model in range(plan.models)]
        tracker = Weighted(progress, "kernels", [1.0] * len(works))
        with closing(made.results(measured, works, tracker)) as stream:
            for index, row in stream:
                rows.append(row)
                tracker(index, row["part"], 1, 1)
                made.write()
        made.write()
        return made.run


def study_summary(plan: Plan, rows: Sequence[Row], made: dict[str, Any]) -> dict[str, Any]:
    """Everything that the report, the tables and the command line show.

    Args:
        plan: of the run.
        rows: of finished units, in any order.
        made: provenance.
    """
    blocks, hierarchy = tables.block_rows(rows), tables.hierarchy_rows(rows)
    aims = tables.aim_rows(blocks, hierarchy)
    summary: dict[str, Any] = {
        "schema": 1,
        "kind": "loss-kernel",
        "title": TITLE,
        "verdict": page.verdict(aims),
        "provenance": made,
        "settings": plan.run_settings(),
        "plan": {"tasks": _plain(plan.tasks), "classes": None if plan.classes is None else _plain(plan.classes)},
        "rule": RULE,
        "class_order": list(ORDER),
        "blocks": blocks,
        "hierarchy": hierarchy,
        "aims": aims,
        "failed": [{k: r[k] for k in ("part", "model", "failed")} for r in rows if r["failed"]],
    }
    said = {"findings": page.findings(summary), "facts": page.facts(summary), "sheets": page.sheets(summary)}
    return {**summary, **said}


def _plain(part: TwoTasks | Classes) -> dict[str, Any]:
    return part._asdict() | {"recipe": part.recipe._asdict(), "sampling": part.sampling._asdict()}
