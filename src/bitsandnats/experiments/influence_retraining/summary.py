"""summary.json of the study: everything that the report, the tables and the command line show."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.images import WORDS
from bitsandnats.experiments.influence_retraining import findings, page, tables
from bitsandnats.experiments.influence_retraining.plan import METHODS, RULE, Plan
from bitsandnats.experiments.influence_retraining.tables import Row

TITLE = "Attributions against retraining"


def study_summary(plan: Plan, rows: Sequence[Row], made: dict[str, Any]) -> dict[str, Any]:
    """The tables of what is known so far.

    Args:
        plan: of the run.
        rows: of finished units, in any order.
        made: provenance.
    """
    networks = tables.network_rows(plan, rows)
    aims = tables.aim_rows(networks)
    summary: dict[str, Any] = {
        "schema": 1,
        "kind": "influence-retraining",
        "title": TITLE,
        "verdict": findings.verdict(aims),
        "findings": [],
        "provenance": made,
        "settings": plan.run_settings(),
        "rule": RULE,
        "methods": METHODS,
        "sets": {name: WORDS[name] for name in plan.data},
        "items": {name: plan.train_items(name) for name in plan.data},
        "means": tables.mean_rows(networks),
        "networks": networks,
        "aims": aims,
        "truths": tables.data_rows(plan, rows),
        "models": tables.model_rows(rows),
        "chains": [row for data in plan.data for row in tables.chain_rows(plan, rows, data)],
        "runs": tables.run_rows(rows),
        "failed": [{k: r[k] for k in ("set", "kind", "failed")} for r in rows if r["failed"]],
    }
    said = {"findings": findings.findings(summary), "facts": page.facts(summary), "sheets": page.sheets(summary)}
    return {**summary, **said}
