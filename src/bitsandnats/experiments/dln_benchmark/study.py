"""dln_benchmark(): every arm of a plan, measured, stored and tabulated."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.experiments.conduct import Weighted, conduct
from bitsandnats.experiments.dln_benchmark import tables
from bitsandnats.experiments.dln_benchmark.aims import CALIBRATED
from bitsandnats.experiments.dln_benchmark.markdown import markdown
from bitsandnats.experiments.dln_benchmark.network import NetworkWork, measure_network
from bitsandnats.experiments.dln_benchmark.plan import Plan, PlanRow
from bitsandnats.experiments.dln_benchmark.rules import stated_rules
from bitsandnats.store import Run

TITLE = "Samplers on deep linear networks whose λ is known"


def dln_benchmark(
    out: str | Path,
    plan: Plan,
    *,
    costs: Sequence[PlanRow] = (),
    workers: int = 1,
    command: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Measures every arm of a plan; after each network `summary.json` and `tables.md` hold what is known by then.

    Interrupted, it continues where it stopped: a finished network is measured again only for other weights, data,
    options, seed or version.

    Args:
        out: the run folder.
        plan: from `benchmark_plan`.
        costs: from `measured_plan`, to weigh the progress by; empty = every network weighs the same.
        workers: processes of one CPU thread each that share the networks; 1 = this process, with its own threads.
            Scripts need the usual `if __name__ == "__main__":`.
        command: what remakes the run, for the report.
        progress: told of `networks`, in thousandths of the predicted work.

    Returns:
        The run: `.summary()`, `.tree(label, sampler)`.

    Raises:
        InputError: an option is out of range.
        StoreError: the run folder cannot be used.
    """
    measured: dict[int, list[dict[str, Any]]] = {}

    def summarise(made: dict[str, Any]) -> dict[str, Any]:
        return benchmark_summary(plan, [row for i in sorted(measured) for row in measured[i]], made)

    with conduct(
        out, plan.run_settings(), command=command, workers=workers, summarise=summarise, tabulate=markdown
    ) as made:
        works = _works(made.run.path, plan)
        tracker = Weighted(progress, "networks", _weights(works, costs))
        with closing(made.results(measure_network, works, tracker)) as stream:
            for index, rows in stream:
                measured[index] = rows
                tracker(index, "network", 1, 1)
                made.write()
        return made.run


def benchmark_summary(plan: Plan, networks: list[dict[str, Any]], made: dict[str, Any]) -> dict[str, Any]:
    """Everything that the report, the tables and the command line show.

    Args:
        plan: the arms.
        networks: one row a network and sampler, in the plan's order.
        made: provenance.
    """
    arms = tables.arm_rows(plan, networks)
    others = list(dict.fromkeys(arm.sampler for arm in plan.arms if arm.sampler != CALIBRATED))
    return {
        "schema": 1,
        "kind": "dln-benchmark",
        "title": TITLE,
        "verdict": tables.verdict(arms),
        "findings": tables.findings(arms),
        "provenance": made,
        "settings": plan.run_settings(),
        "rules": stated_rules(others),
        "arms": arms,
        "networks": networks,
    }


def _works(folder: Path, plan: Plan) -> list[NetworkWork]:
    """Every network once, the small classes first; the other samplers measure what the calibrated one has measured."""
    works = []
    for (size, samples), arms in plan.groups().items():
        for net in range(max(arm.nets for arm in arms)):
            others = tuple(arm.sampler for arm in arms if arm.sampler != CALIBRATED and net < arm.nets)
            works.append(NetworkWork(folder, size, samples, net, others, plan.seed, plan.target_se, plan.gradients))
    return works


def _weights(works: Sequence[NetworkWork], costs: Sequence[PlanRow]) -> list[float]:
    """Predicted seconds of each network, all its samplers together."""
    seconds = {row.arm[:3]: row.seconds / row.arm.nets for row in costs}
    return [
        sum(seconds.get((w.size, w.samples, name), 1.0) for name in (CALIBRATED, *w.samplers)) or 1.0 for w in works
    ]
