"""influence_retraining(): networks retrained on subsets, attributions that should predict it; stored and tabulated."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Conduct, Weighted, conduct
from bitsandnats.experiments.influence_retraining.costs import PlanRow
from bitsandnats.experiments.influence_retraining.plan import Plan
from bitsandnats.experiments.influence_retraining.summary import study_summary
from bitsandnats.experiments.influence_retraining.tables import Row, chosen_chains
from bitsandnats.experiments.influence_retraining.works import Work, measured
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.store import Run


def influence_retraining(
    out: str | Path,
    plan: Plan,
    *,
    costs: Sequence[PlanRow] = (),
    workers: int = 1,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Retrains, samples and scores all of a plan; after each unit `summary.json` and `tables.md` say what is known.

    Interrupted, it continues where it stopped. A unit is the retraining on all subsets of one fraction, the leaving
    out of single items, the chains of one network at one setting, or all other attributions of one network.

    Args:
        out: the run folder.
        plan: from `influence_plan`.
        costs: from `measured_plan`, to weigh the progress by; empty = every unit weighs the same.
        workers: processes of one CPU thread each that share the units; 1 = this process, with its own threads.
            Scripts need the usual `if __name__ == "__main__":`.
        command: what remakes the run, for the report.
        progress: told of `first`, all of the first network and all that needs no chains, and of `further networks`; in
            thousandths.

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
        folder, by_set = made.run.path, {row.set: row for row in costs}
        first = [Work(folder, plan, name, "chains", chain=c) for name in plan.data for c in plan.chain_settings(name)]
        first += [Work(folder, plan, data, "retraining", fraction=f) for data in plan.data for f in plan.fractions]
        first += [Work(folder, plan, data, "attribution", model=m) for data in plan.data for m in range(plan.models)]
        first += [Work(folder, plan, data, "left_out", model=m) for data in plan.data for m in range(plan.models)]
        _make(made, first, Weighted(progress, "first", [_weight(w, by_set) for w in first]), rows)
        second = [
            Work(folder, plan, data, "chains", model=m, chain=chain)
            for data in plan.data
            for m in range(1, plan.models)
            for chain in chosen_chains(plan, rows, data)
        ]
        _make(made, second, Weighted(progress, "further networks", [_weight(w, by_set) for w in second]), rows)
        return made.run


def _make(made: Conduct, works: Sequence[Work], tracker: Weighted, rows: list[Row]) -> None:
    """Makes units and writes down what is known after each."""
    with closing(made.results(measured, works, tracker)) as stream:
        for index, row in stream:
            rows.append(row)
            tracker(index, row["kind"], 1, 1)
            made.write()
    made.write()


def _weight(work: Work, costs: dict[str, PlanRow]) -> float:
    row = costs.get(work.data)
    return 1.0 if row is None else float(getattr(row, work.kind))
