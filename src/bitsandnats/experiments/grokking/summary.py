"""summary.json of the study: everything that the report, the tables and the command line show."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.grokking import findings, tables
from bitsandnats.experiments.grokking.plan import ALPHA, FITTED, MAIN, RULE, WORDS, Plan, nbeta, training_pairs
from bitsandnats.experiments.grokking.tables import Row

TITLE = "Complexity and the local learning coefficient while networks grok"


def study_summary(
    plan: Plan, trainings: Sequence[Row], measurements: Sequence[Row], made: dict[str, Any]
) -> dict[str, Any]:
    """The tables of what is known so far.

    Args:
        plan: of the run.
        trainings: rows of finished training runs.
        measurements: rows of finished measurements, in any order.
        made: provenance.
    """
    runs = tables.run_rows(plan, trainings, measurements)
    arms = tables.arm_rows(plan, runs)
    recipes = list(dict.fromkeys(arm.recipe for arm in plan.arms))
    summary: dict[str, Any] = {
        "schema": 1,
        "kind": "grokking",
        "title": TITLE,
        "verdict": findings.verdict(arms),
        "findings": [],
        "provenance": made,
        "settings": plan.run_settings(),
        "rule": RULE,
        "tolerances": list(plan.tolerances),
        "main_tolerance": MAIN,
        "fitted_tolerance": FITTED,
        "alpha": ALPHA,
        "regimes": {name: WORDS[name] for name in dict.fromkeys(arm.regime.name for arm in plan.arms)},
        "nbeta": {f"{r.operation}-{r.network.kind}": nbeta(r) for r in recipes},
        "pairs": {f"{r.operation}-{r.network.kind}": training_pairs(r) for r in recipes},
        "runs": runs,
        "arms": arms,
        "rate_distortion": tables.curve_rows(runs),
        "bounds": tables.bound_rows(runs),
        "sizes": tables.size_rows(runs),
        "published": tables.published_rows(runs),
    }
    return {**summary, "findings": findings.findings(summary)}
