"""summary.json of the study: rows, sheets, findings and the answer."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.heads.chains import temperature
from bitsandnats.experiments.heads.text import LABELS
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.refined_llc import tables
from bitsandnats.experiments.refined_llc.plan import METHODS, OWN, RULES, Plan
from bitsandnats.experiments.refined_llc.tables import NOISE, POOLED, TRACE
from bitsandnats.experiments.sheets import number, sheet, spread

TITLE = "Refined LLCs of attention heads over training"


def study_summary(plan: Plan, trainings: Sequence[Row], checkpoints: Sequence[Row], made: dict[str, Any]) -> Row:
    """Everything that the report, the tables and the command line show, of what is known so far.

    Args:
        plan: of the run.
        trainings: rows of the trained networks.
        checkpoints: rows of measured checkpoints, in any order.
        made: provenance.
    """
    curves = tables.curve_rows(plan, trainings, checkpoints)
    summary: Row = {
        "schema": 2,
        "kind": "refined-llc",
        "title": TITLE,
        "provenance": made,
        "settings": plan.run_settings(),
        "rule": "\n\n".join(RULES),
        "facts": facts(plan),
        "quantities": [*plan.data, NOISE, TRACE],
        "trainings": sorted(trainings, key=lambda r: r["seed"]),
        "curves": curves,
        "agreement": tables.agreement_rows(plan, curves),
        "special": tables.special_rows(plan, curves),
        "failed": [f"seed {c['seed']}, step {c['step']}: {c['failed']}" for c in checkpoints if c["failed"]],
    }
    summary |= {"verdict": verdict(summary), "findings": findings(summary)}
    return {**summary, "sheets": sheets(plan, summary)}


def facts(plan: Plan) -> list[str]:
    """What was trained and sampled."""
    texts = plan.texts * len(plan.recipe.kinds)
    return [
        f"Networks: {plan.recipe.words()} Checkpoints at {', '.join(map(str, plan.steps))}.",
        f"L is the mean over {texts} of the training texts, of every kind as many as it weighs, or over as many other "
        f"texts of one kind. Chains on one head at a time: {plan.sampling.words(temperature(texts))}.",
        f"λ̂ at nβ = 0: nβ times the rise of L under {2 * plan.noises} draws of N(w*, 1/γ). Traces by {plan.probes} "
        "random vectors a head.",
    ]


def verdict(summary: Row) -> dict[str, str]:
    """Do heads of one label have curves of one shape, more so than by the trace of the Hessian or by noise?"""
    rows = summary["agreement"]
    pooled = [a for a in rows if a["seed"] == POOLED]
    best = {name: _mean(pooled or rows, name) for name in dict.fromkeys(a["quantity"] for a in rows)}
    if not best:
        return {"status": "not judged", "text": "No network is wholly measured yet."}
    baselines = {name: best.pop(name) for name in (TRACE, NOISE)}
    name = max(best, key=best.__getitem__)
    over = "methods, all networks pooled" if pooled else "methods and networks"
    text = (
        f"Grouped by the shape of their curves, heads agree with their labels by ablation best for {_words(name)}: "
        f"adjusted Rand index {best[name]:.2f}, the mean over {over}, where chance gives 0, the Hessian's trace "
        f"{baselines[TRACE]:.2f} and λ̂ at nβ = 0 {baselines[NOISE]:.2f}"
    )
    least = max(*baselines.values(), 0.1)
    status = "recovered" if best[name] >= max(0.5, least) else "in part" if best[name] > least else "not recovered"
    return {"status": status, "text": f"{text}."}


def _mean(rows: Sequence[Row], name: str) -> float:
    own = [a[m] for a in rows if a["quantity"] == name for m in METHODS]
    return sum(own) / len(own)


def findings(summary: Row) -> list[str]:
    """One sentence a question."""
    said = []
    for name in dict.fromkeys(a["quantity"] for a in summary["agreement"]):
        own = [a for a in summary["agreement"] if a["quantity"] == name and a["seed"] != POOLED]
        each = ", ".join(f"{m} {spread([a[m] for a in own])}" for m in METHODS)
        text = f"{_words(name)}: adjusted Rand index {each} (mean ± s.d. over {len(own)} networks)"
        for a in (a for a in summary["agreement"] if a["quantity"] == name and a["seed"] == POOLED):
            text += "; pooled, " + ", ".join(f"{m} {a[m]:+.2f} (p = {a['p'][m]:.2g})" for m in METHODS)
        said.append(f"{text}.")
    judged = [s for s in summary["special"] if s["agrees"] is not None]
    if judged:
        agree = sum(s["agrees"] for s in judged)
        said.append(
            f"The structure on whose texts a head's λ̂ is largest against that on the training data is its label by "
            f"ablation for {agree} of {len(judged)} heads whose label is among the refinements."
        )
    statuses = [s for c in summary["curves"] for s in c["statuses"]]
    if statuses:
        wrong, caution = (sum(s == kind for s in statuses) for kind in ("not usable", "usable with caution"))
        said.append(f"Of {len(statuses)} estimates {wrong} are not usable and {caution} usable with caution.")
    return said + summary["failed"]


def _words(name: str) -> str:
    return name if name == TRACE or name.startswith("λ̂") else f"λ̂ on {_data(name)}"


def _data(name: str) -> str:
    return "the training data" if name == OWN else f"{name} texts"


def sheets(plan: Plan, summary: Row) -> list[Row]:
    """Tables of text."""
    steps = [str(step) for step in plan.steps]
    structures = [name for name in plan.data if name != OWN]
    tabulated = [
        sheet(
            "Groups of curves against labels",
            ("network", "curves of", "labels", *METHODS),
            [
                (str(a["seed"]), _words(a["quantity"]), str(a["labels"]),
                 *(f"{a[m]:+.2f} (p = {a['p'][m]:.2g})" for m in METHODS))
                for a in summary["agreement"]
            ],
            notes=("Adjusted Rand index, into as many groups as there are labels; p: the chance of as large a one "
                   "where the labels are dealt anew among the heads.",),
        ),
        sheet(
            "Networks",
            ("network", *LABELS, "heads by ablation"),
            [
                (str(t["seed"]), *(f"{x:.3f}" for x in t["loss"][-1]), ", ".join(t["roles"]))
                for t in summary["trainings"]
            ],
            notes=("Loss of held-out tokens by what predicts them, nats.",),
        ),
        sheet(
            "Heads at the last checkpoint",
            ("network", "head", "by ablation", "λ̂", TRACE, *structures, "largest"),
            [
                (str(s["seed"]), s["head"], s["role"], f"{s['llc']:.2f}", f"{s['trace']:.2f}",
                 *(number(s["ratios"].get(name)) for name in structures), s["found"] or "—")
                for s in summary["special"]
            ],
            notes=("λ̂ on the training data, nats; λ̂ on texts with much of one structure over that.",),
        ),
    ]  # fmt: skip
    for name in summary["quantities"]:
        words, unit = _words(name), "nats per squared unit of weight" if name == TRACE else "nats"
        tabulated.append(
            sheet(
                f"{words} over training",
                ("network", "head", "by ablation", *steps),
                [_curve(c, plan) for c in summary["curves"] if c["quantity"] == name],
                notes=(f"Estimate ± standard error at each step, {unit}.",),
                wide=True,
            )
        )
    return tabulated


def _curve(c: Row, plan: Plan) -> tuple[str, ...]:
    known = {step: (v, se) for step, v, se in zip(c["steps"], c["values"], c["se"], strict=True)}
    cells = ("—" if s not in known else f"{known[s][0]:.2f} ± {known[s][1]:.2f}" for s in plan.steps)
    return (str(c["seed"]), c["head"], c["role"], *cells)
