"""summary.json of the study: rows, sheets, findings and the answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitsandnats.experiments.heads.text import LABELS, STRUCTURES, shown
from bitsandnats.experiments.heads.training import held_out
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.sheets import number, sheet, spread
from bitsandnats.experiments.susceptibility import tables
from bitsandnats.experiments.susceptibility.plan import RULES, SHIFT, Plan
from bitsandnats.experiments.susceptibility.works import column_labels

TITLE = "Susceptibilities of attention heads"
_NAMES = {"posterior": "posterior", "control": "nβ = 0", "published": "published settings"}
_TOP = 4


def study_summary(plan: Plan, trainings: Sequence[Row], readings: Sequence[Row], made: dict[str, Any]) -> Row:
    """Everything that the report, the tables and the command line show, of what is known so far.

    Args:
        plan: of the run.
        trainings: rows of the trained networks under study.
        readings: rows of finished readings, in any order.
        made: provenance.
    """
    trained = {row["seed"]: row for row in trainings}
    known = sorted((r for r in readings if not r["failed"]), key=lambda r: (r["seed"], r["kind"]))
    heads, seeds, words = [], [], []
    for reading in known:
        if reading["kind"] in _NAMES:
            own = trained[reading["seed"]]
            labels = column_labels(plan, reading["seed"])
            rows = tables.head_rows(reading, own["roles"], own["rise"], labels)
            heads += rows
            seeds.append(tables.seed_row(reading, rows))
            if reading["kind"] == "posterior":
                words += _strongest(plan, reading, own["roles"])
    modules = [tables.module_row(r) for r in known if r["kind"].startswith("disjoint")]
    points = tables.points_of(plan, known)
    summary: Row = {
        "schema": 1,
        "kind": "susceptibility-of-heads",
        "title": TITLE,
        "provenance": made,
        "settings": plan.run_settings(),
        "rule": "\n\n".join(RULES),
        "shift": SHIFT,
        "facts": facts(plan),
        "structures": list(STRUCTURES),
        "trainings": sorted(trainings, key=lambda r: r["seed"]),
        "heads": heads,
        "seeds": seeds,
        "words": words,
        "modules": modules,
        "likeness": tables.likeness(known),
        "points": points,
        "additivity": tables.additivity(points),
        "failed": [f"seed {r['seed']}, {r['kind']}: {r['failed']}" for r in readings if r["failed"]],
    }
    summary |= {"verdict": verdict(summary), "findings": findings(summary)}
    return {**summary, "sheets": sheets(summary)}


def facts(plan: Plan) -> list[str]:
    """What was trained and sampled."""
    own, paper = plan.sampling, plan.published
    return [
        f"Networks: {plan.recipe.words()}",
        f"Two side by side, of which each answers texts of its own: {plan.part.words()} The first on bigrams and "
        "induction, the second on skip-trigrams and brackets.",
        f"Chains: {own.chains} of {own.draws} draws after {own.burn_in} discarded, SGLD from w*, batches of "
        f"{own.batch_size} texts, γ = {own.gamma:g}, nβ = {own.nbeta:g}, ε = {own.step_size:g}; losses at {own.looks} "
        f"draws of each. Control: the same at nβ = 0. Published settings: γ = {paper.gamma:g}, nβ = {paper.nbeta:g}, "
        f"ε = {paper.step_size:g}.",
        f"Followed: all tokens of {plan.probe} held-out texts of each kind; L is the mean over "
        f"{plan.reference} training texts.",
    ]


def verdict(summary: Row) -> dict[str, str]:
    """Are heads with the same task told apart from the others by how they respond?"""
    judged = [s for s in summary["seeds"] if s["kind"] == "posterior" and s["margin"] is not None]
    if not judged:
        return {"status": "not judged", "text": "No network with an induction head has been sampled yet."}
    passed = sum(s["margin"] > 0 for s in judged)
    control = [s for s in summary["seeds"] if s["kind"] == "control" and s["margin"] is not None]
    text = f"By their contrast, induction heads are separated from the others in {passed} of {len(judged)} networks"
    if control:
        text += f", and at nβ = 0, where nothing but noise moves the weights, in {sum(s['margin'] > 0 for s in control)} of {len(control)}"  # noqa: E501
    status = "separated" if passed == len(judged) else "in part" if passed else "not separated"
    return {"status": status, "text": f"{text}."}


def findings(summary: Row) -> list[str]:
    """One sentence a question."""
    said = []
    for kind, name in _NAMES.items():
        own = [s for s in summary["seeds"] if s["kind"] == kind]
        if own:
            agree, judged = sum(s["agree"] for s in own), sum(s["judged"] for s in own)
            said.append(
                f"{_begin(name)}: the structure found by susceptibilities is that found by ablation for {agree} "
                f"of {judged} heads; rank correlation of specific responses with ablation costs "
                f"{spread([s['correlation'] for s in own])}; split-half reliability "
                f"{spread([s['reliability'] for s in own])} (mean ± s.d. over {len(own)} networks)."
            )
            parts = [f"{i + 1}: {sum(bool(s['separating'][i]) for s in own)}" for i in range(len(own[0]["separating"]))]
            said.append(
                f"{_begin(name)}: networks whose induction heads a principal component has all on one side, of "
                f"{sum(s['separating'][0] is not None for s in own)}, by component {', '.join(parts)}. The first "
                f"explains {spread([s['explained'][0] for s in own], '.1%')} of the variance, the second "
                f"{spread([s['explained'][1] for s in own], '.1%')}."
            )
    alike = [r for row in summary["likeness"] for r in row["r"]]
    if alike:
        said.append(
            f"Posterior against nβ = 0: the specific responses of a head to all tokens correlate by {min(alike):.2f} "
            f"to {max(alike):.2f}."
        )
    found = summary["additivity"]
    if found:
        said.append(
            f"Additivity: r = {found['r']:.3f} and slope {found['slope']:.2f}, where 1/δh is {1 / SHIFT:g}, over "
            f"{found['points']} pairs of head and text: {'as' if found['met'] else 'not as'} asked for."
        )
    for kind, name in (("disjoint", "Posterior"), ("disjoint-control", "nβ = 0")):
        own = [m for m in summary["modules"] if m["kind"] == kind]
        if own:
            whole = sum(m["alike"] == m["components"] for m in own)
            said.append(f"{name}: two networks side by side told apart without error in {whole} of {len(own)} seeds.")
    return said + summary["failed"]


def _begin(name: str) -> str:
    return name if name.startswith("nβ") else name.capitalize()


def sheets(summary: Row) -> list[Row]:
    """Tables of text."""
    own = summary["settings"]
    return [
        sheet(
            "Networks by susceptibilities",
            ("network", "chains", "reliability", "verdict", "L", "L at w*", "agree", "rank correlation", "margin",
             "PCs that separate", "PC1", "PC2"),
            [_seed(s) for s in summary["seeds"]],
            notes=(
                "Agree: heads whose structure by susceptibilities is their label by ablation. Margin: the least "
                "contrast of an induction head less the largest of another one; above 0 they are separated. PC1, PC2: "
                "share of the variance of the standardised responses.",
            ),
        ),
        sheet(
            "Networks",
            ("network", "parameters", *LABELS, "heads by ablation"),
            [
                (str(t["seed"]), f"{t['parameters']:,}", *(f"{x:.3f}" for x in t["loss"][-1]), ", ".join(t["roles"]))
                for t in summary["trainings"]
            ],
            notes=("Loss of held-out tokens by what predicts them, nats.",),
        ),
        sheet(
            "Two networks side by side",
            ("network", "chains", "grouped rightly", "reliability", "verdict"),
            [
                (str(m["seed"]), "nβ = 0" if m["kind"].endswith("control") else "posterior",
                 f"{m['alike']} of {m['components']}", number(m["reliability"]), m["verdict"])
                for m in summary["modules"]
            ],
            notes=(
                "Components in the group of their own network, of all, by Ward's clustering into two groups of which "
                "tokens they change at all: those where the specific response differs from its commonest value.",
            ),
        ),
        sheet(
            "Heads",
            ("network", "chains", "head", "by ablation", *(f"rise, {s}" for s in STRUCTURES),
             *(f"χ, {s}" for s in STRUCTURES), "by χ", "contrast", "PC1", "PC2", "PC3", "reliability"),
            [_head(h) for h in summary["heads"]],
            notes=("Rise of the loss under ablation, nats; specific response; both by the structure that predicts the "
                   "token.",),
            wide=True,
        ),
        sheet(
            "Tokens that heads respond to most",
            ("head", "by ablation", "tokens"),
            [(w["head"], w["role"], "; ".join(w["tokens"])) for w in summary["words"] if w["seed"] == own["seed"]],
            notes=("The most negative specific responses of each head of the first network: the token to be predicted, "
                   "after what.",),
            wide=True,
        ),
    ]  # fmt: skip


def _seed(s: Row) -> tuple[str, ...]:
    separating = [str(i + 1) for i, found in enumerate(s["separating"]) if found]
    return (
        *(str(s["seed"]), _NAMES[s["kind"]], number(s["reliability"]), s["verdict"]),
        *(number(s["loss"]), number(s["center_loss"])),
        *(f"{s['agree']} of {s['judged']}", number(s["correlation"]), number(s["margin"], "+.3f")),
        *(", ".join(separating) or "—", f"{s['explained'][0]:.1%}", f"{s['explained'][1]:.1%}"),
    )  # fmt: skip


def _head(h: Row) -> tuple[str, ...]:
    return (
        *(str(h["seed"]), _NAMES[h["kind"]], h["head"], h["role"]),
        *(f"{h['rise'][s]:+.2f}" for s in STRUCTURES),
        *(f"{h['specific'][s]:+.3f}" for s in STRUCTURES),
        *(h["found"], f"{h['contrast']:+.3f}", *(f"{x:+.2f}" for x in h["loadings"]), number(h["reliability"])),
    )


def _strongest(plan: Plan, reading: Row, roles: Sequence[str]) -> list[Row]:
    """The tokens whose loss each head's chains raise most beyond the others', with the tokens before."""
    data = reading["data"]
    each = data["specific"].values
    texts = {kind: held_out((kind,), plan.probe, seed=reading["seed"]).tokens for kind in plan.recipe.probes}
    places = zip(*(data[f"column_{name}"].values for name in ("probe", "item", "token")), strict=True)
    columns = [(str(probe), int(item), int(token)) for probe, item, token in places]
    rows = []
    for i, head in enumerate(data["component"].values):
        chosen = [columns[j] for j in np.argsort(each[i])[:_TOP]]
        said = []
        for probe, item, token in chosen:
            before = [shown(int(t)) for t in texts[probe][item, max(0, token - 3) : token + 1]]
            said.append(f"{' '.join(before)} → {shown(int(texts[probe][item, token + 1]))}")
        rows.append({"seed": reading["seed"], "head": str(head), "role": roles[i], "tokens": said})
    return rows
