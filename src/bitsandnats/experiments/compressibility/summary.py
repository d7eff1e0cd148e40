"""summary.json of the study: everything that the report, the tables and the command line show."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.compressibility import findings, tables
from bitsandnats.experiments.compressibility.plan import RULE, SCHEMES, Plan
from bitsandnats.experiments.compressibility.tables import Row
from bitsandnats.recipes.comparison import level_name, unmeasured_findings

TITLE = "Compressibility and the local learning coefficient over training"


def study_summary(
    plan: Plan, studies: dict[str, Row], further: Sequence[Row], failed: dict[str, str], made: dict[str, Any]
) -> dict[str, Any]:
    """The tables of what has been measured so far.

    Args:
        plan: of the run.
        studies: summaries of the suites' studies, by suite.
        further: rows of checkpoints at the published settings and of pruned ones, in any order.
        failed: suites that could not be studied, and why.
        made: provenance.
    """
    published = [row for row in further if "fraction" not in row]
    pruned = sorted((row for row in further if "fraction" in row), key=lambda row: (row["step"] or 0, row["fraction"]))
    suites = tables.suite_rows(plan, studies, published)
    fits = tables.fit_rows(suites, plan.tolerances, plan.seed)
    main = tables.main_tolerance(suites, plan.tolerances)
    ranks, bits = tables.rank_rows(studies), tables.bits_rows(studies)
    level = level_name(suites[0]["checkpoints"], SCHEMES[0]) if suites else "level"
    said = findings.findings(fits, SCHEMES[0], main, level)
    said += findings.comparisons(bits, ranks, main)
    said += findings.sampled(suites)
    for suite in suites:
        said += [f"{suite['name']}: {text}" for text in unmeasured_findings(suite["checkpoints"])]
    said += [f"{name} could not be studied: {why}" for name, why in failed.items()]
    return {
        "schema": 1,
        "kind": "compressibility",
        "title": TITLE,
        "verdict": findings.verdict(fits, SCHEMES[0], main),
        "findings": said,
        "provenance": made,
        "settings": plan.run_settings(),
        "rule": RULE,
        "tolerances": list(plan.tolerances),
        "main_tolerance": main,
        "schemes": list(SCHEMES),
        "suites": suites,
        "failed": failed,
        "studies": {name: f"studies/{name}" for name in studies},
        "fits": fits,
        "tolerance_ranks": ranks,
        "fewest_bits": bits,
        "pruning": pruned,
    }
