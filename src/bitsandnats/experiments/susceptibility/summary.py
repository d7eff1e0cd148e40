"""summary.json of the study: rows, sheets, findings and the answer."""

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np

from bitsandnats.experiments.heads.chains import temperature
from bitsandnats.experiments.heads.text import STRUCTURES
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.sheets import spread
from bitsandnats.experiments.susceptibility import tables
from bitsandnats.experiments.susceptibility.components import RANK
from bitsandnats.experiments.susceptibility.plan import RATIOS, RULES, SHIFT, Plan
from bitsandnats.experiments.susceptibility.sheets import NAMES, sheets
from bitsandnats.experiments.susceptibility.words import strongest
from bitsandnats.experiments.susceptibility.works import column_labels

TITLE = "Susceptibilities of attention heads"


def study_summary(
    plan: Plan, trainings: Sequence[Row], readings: Sequence[Row], pulls: Sequence[Row], made: dict[str, Any]
) -> Row:
    """Everything that the report, the tables and the command line show, of what is known so far.

    Args:
        plan: of the run.
        trainings: rows of the trained networks under study.
        readings: rows of finished readings, in any order.
        pulls: rows of heads at several pulls, in any order.
        made: provenance.
    """
    trained = {row["seed"]: row for row in trainings}
    known = sorted((r for r in readings if not r["failed"]), key=lambda r: (r["seed"], list(NAMES).index(r["kind"])
                   if r["kind"] in NAMES else len(NAMES)))  # fmt: skip
    heads, seeds, words = [], [], []
    for reading in known:
        if reading["kind"] in NAMES:
            own = trained[reading["seed"]]
            labels = column_labels(plan, reading["seed"])
            rows = tables.head_rows(reading, own["roles"], own["rise"], labels)
            heads += rows
            seeds.append(tables.seed_row(reading, rows))
            if reading["kind"] == "posterior" and reading["seed"] == plan.seed:
                words = strongest(plan, reading, own["roles"])
    modules = [tables.module_row(r) for r in known if r["kind"].startswith("disjoint")]
    points = tables.points_of(plan, known)
    summary: Row = {
        "schema": 2,
        "kind": "susceptibility-of-heads",
        "title": TITLE,
        "provenance": made,
        "settings": plan.run_settings(),
        "rule": "\n\n".join(RULES),
        "shift": SHIFT,
        "facts": facts(plan),
        "structures": list(STRUCTURES),
        "trainings": sorted(trainings, key=lambda r: r["seed"]),
        "ratios": list(RATIOS),
        "pulls": tables.pull_rows(plan, pulls),
        "heads": heads,
        "seeds": seeds,
        "separation": {kind: tables.separation([s for s in seeds if s["kind"] == kind]) for kind in NAMES},
        "agreement": {
            kind: tables.agreement([h for h in heads if h["kind"] == kind and h["role"] != "idle"]) for kind in NAMES
        },
        "words": words,
        "modules": modules,
        "likeness": tables.likeness(known),
        "points": points,
        "additivity": tables.additivity(points),
        "failed": [f"seed {r['seed']}, {r.get('kind', r.get('head'))}: {r['failed']}"
                   for r in (*readings, *pulls) if r["failed"]],
    }  # fmt: skip
    summary |= {"verdict": verdict(summary), "findings": findings(summary)}
    return {**summary, "sheets": sheets(summary)}


def facts(plan: Plan) -> list[str]:
    """What was trained and sampled."""
    paper, texts = plan.published, plan.texts * len(plan.recipe.kinds)
    nbeta = temperature(texts)
    return [
        f"Networks: {plan.recipe.words()}",
        f"Two side by side, of which each answers texts of its own: {plan.part.words()} The first on bigrams and "
        "induction, the second on skip-trigrams and brackets.",
        f"L is the mean over {texts} of the training texts, of every kind as many as it weighs, and what is followed "
        f"all tokens of {plan.probe} held-out texts of each kind. Chains: {plan.sampling.words(nbeta)}; losses at "
        "every draw.",
        f"Control: as many draws of N(w*, 1/γ). Published settings: SGLD, {paper.chains} chains of {paper.draws} draws "
        f"after {paper.burn_in}, batches of {paper.batch_size} texts, γ = {paper.gamma:g}, nβ = {paper.nbeta:g}, ε = "
        f"{paper.step_size:g}; losses at {paper.looks} draws of each.",
        f"Shifted data: {plan.shifted * len(plan.recipe.kinds)} training texts and {plan.added} of one kind of those "
        "followed; losses at every other draw.",
    ]


def verdict(summary: Row) -> dict[str, str]:
    """Are induction heads told apart from the others by how they respond, and by more than noise tells?"""
    own, control = (summary["separation"][kind] for kind in ("posterior", "control"))
    if own is None:
        return {"status": "not judged", "text": "No network with an induction head has been sampled yet."}
    text = (
        f"By their contrast, induction heads are separated from the others in {own['separated']} of {own['networks']} "
        f"networks, where {own['chance']:.1f} would be by chance"
    )
    if control:
        text += (
            f"; at nβ = 0, where nothing but noise moves the weights, in {control['separated']} of "
            f"{control['networks']}"
        )
    status = "separated" if own["separated"] == own["networks"] else "in part" if own["separated"] else "not separated"
    return {"status": status, "text": f"{text}."}


def findings(summary: Row) -> list[str]:
    """One sentence a question."""
    said = []
    for kind, name in NAMES.items():
        own, found = [s for s in summary["seeds"] if s["kind"] == kind], summary["agreement"][kind]
        if not own:
            continue
        if found:
            said.append(
                f"{_begin(name)}: the structure found by susceptibilities is that found by ablation for "
                f"{found['agree']} of {found['heads']} heads, where {found['chance']:.1f} would be by chance (p = "
                f"{found['p']:.2g}); rank correlation of specific responses with ablation costs "
                f"{spread([s['correlation'] for s in own])}; "
                f"split-half reliability of χ {spread([s['reliability'] for s in own], '.3f')}, of specific responses "
                f"{spread([s['specific_reliability'] for s in own], '.3f')} (mean ± s.d. over {len(own)} networks)."
            )
        families = dict.fromkeys(f for s in own for f in s["separating"])
        said += [_family(name, family, [s for s in own if family in s["separating"]]) for family in families]
    alike = [r for row in summary["likeness"] for r in row["r"]]
    if alike:
        said.append(
            f"Posterior against nβ = 0: the specific responses of a head to all tokens correlate by {min(alike):.2f} "
            f"to {max(alike):.2f}, {float(np.median(alike)):.2f} for the median head."
        )
    found = summary["additivity"]
    if found:
        within = (
            "" if found["r_within"] is None else f" (r within heads, their own factors aside, {found['r_within']:.3f})"
        )
        said.append(
            f"Additivity: r = {found['r']:.3f}{within} and slope {found['slope']:.2f}, where 1/δh is {1 / SHIFT:g}, "
            f"over {found['points']} pairs of head and text: {'as' if found['met'] else 'not as'} asked for."
        )
    for kind, name in (("disjoint", "Posterior"), ("disjoint-control", "nβ = 0")):
        own = [m for m in summary["modules"] if m["kind"] == kind]
        if own:
            whole = sum(m["alike"] == m["components"] for m in own)
            said.append(f"{name}: two networks side by side told apart without error in {whole} of {len(own)} seeds.")
    return said + summary["failed"]


def _family(name: str, family: str, own: Sequence[Row]) -> str:
    """In how many networks each component of a family has all induction heads on one side."""
    parts = [f"{i + 1}: {sum(bool(s['separating'][family][i]) for s in own)}" for i in range(RANK)]
    judged = [s for s in own if s["margin"] is not None]
    chance = sum(2 / comb(s["induction"] + s["others"], s["induction"]) for s in judged)
    first, second = (spread([s["explained"][family][i] for s in own], ".1%") for i in (0, 1))
    return (
        f"{_begin(name)}, {family}: networks of {len(judged)} whose induction heads a component has all on one side, "
        f"by component {', '.join(parts)}; {chance:.1f} each by chance. The first explains {first} of the variance, "
        f"the second {second}."
    )


def _begin(name: str) -> str:
    return name if name.startswith("nβ") else name.capitalize()
