"""What the tables say in sentences, the answer to the aims, and the tables as text."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.loss_kernel.plan import RATIO, TASKS, WORDS
from bitsandnats.experiments.loss_kernel.tables import Row
from bitsandnats.experiments.sheets import Sheet, number, sheet, span, yes


def verdict(aims: Sequence[Row]) -> dict[str, str]:
    """Are all aims met, on each network?"""
    if not aims:
        return {"status": "not judged", "text": "No kernel is measured yet."}
    names = list(dict.fromkeys(aim["aim"] for aim in aims))
    listed = []
    for name in names:
        own = [aim for aim in aims if aim["aim"] == name]
        listed.append(f"{name}: {sum(aim['met'] for aim in own)} of {len(own)}")
    status = "aims met" if all(aim["met"] for aim in aims) else "aims not met"
    return {"status": status, "text": "Aims: " + "; ".join(listed) + "."}


def findings(summary: dict[str, Any]) -> list[str]:
    """One sentence a kind of network, one a classifier, and what failed."""
    said = []
    for kind in dict.fromkeys(row["kind"] for row in summary["blocks"]):
        own = [row for row in summary["blocks"] if row["kind"] == kind]
        ratios = "; ".join(f"{row['ratio']:.4f} {span(row, '.4f')}" for row in own)
        text = f"{WORDS[kind][0].upper()}{WORDS[kind][1:]}: energy across tasks over that within {ratios}"
        if kind == "shared":
            text += "; p against nβ = 0 " + ", ".join(number(row["p"], ".4f") for row in own)
        near = ", ".join(number(row["purity"]) for row in own)
        said.append(f"{text}; nearest neighbour of the same task {near}.")
    for row in summary["hierarchy"]:
        shown = [f"{name} {t['spearman']:.2f} (p = {t['p']:.4f})" for name, t in row["tests"].items()]
        said.append(f"Classifier {row['network']}, Spearman with the hierarchy: {', '.join(shown)}.")
    return said + [f"{f['part']}, network {f['model']}: {f['failed']}" for f in summary["failed"]]


def facts(summary: dict[str, Any]) -> list[str]:
    """What was trained and sampled."""
    plan = summary["plan"]
    tasks, classes = plan["tasks"], plan["classes"]
    recipe = tasks["recipe"]
    said = [
        f"{TASKS[0].capitalize()} and {TASKS[1]} mod {tasks['modulus']}: all {2 * tasks['modulus'] ** 2} items, the "
        f"pair and the task one-hot; one hidden layer of {recipe['width']} tanh units, {recipe['steps']} steps of Adam "
        f"on all items, decay {recipe['decay']:g}; {_chains(tasks['sampling'])} a kernel.",
    ]
    if classes is not None:
        own = classes["recipe"]
        said.append(
            f"Fashion-MNIST averaged to 7 × 7 pixels, {classes['train']:,} training images, one hidden layer of "
            f"{own['width']} tanh units, {own['steps']} steps of Adam, decay {own['decay']:g}; kernel of "
            f"{classes['inputs']} test images, as many of each class; {_chains(classes['sampling'])}."
        )
    said.append(
        f"Chains: Hamiltonian Monte Carlo on all data, nβ = n, γ = {RATIO:g} n; at nβ = 0 as many draws of N(w*, 1/γ)."
    )
    said.append("Hierarchy: first senses of WordNet 3.0, steps up to the nearest common hypernym and down.")
    return said


def _chains(sampling: dict[str, int]) -> str:
    return f"{sampling['chains']} chains of {sampling['draws']:,} draws"


def sheets(summary: dict[str, Any]) -> list[Sheet]:
    """All tables."""
    return [
        sheet(
            "Two tasks",
            ("network", "kind", "cross / within", "interval", "p against nβ = 0", "mean energy within"),
            [_block(row) for row in summary["blocks"]],
            notes=["Energies: mean products of correlations of two chains, the squares of correlations."],
        ),
        sheet(
            "Their kernels",
            (
                *("network", "kind", "weights", "training loss", "accuracy", "nearest neighbour of the same task"),
                *("split-half reliability", "ESS", "R̂", "acceptance"),
            ),
            [_kernel(row) for row in summary["blocks"]],
        ),
        sheet(
            "Classes and hierarchy",
            ("network", "kernel", "Spearman", "p", "nearest neighbour of the same class", "split-half reliability"),
            [cells for row in summary["hierarchy"] for cells in _hierarchy(row)],
        ),
        sheet(
            "Aims",
            ("part", "network", "kind", "aim", "value", "met"),
            [
                (a["part"], str(a["network"]), a["kind"], a["aim"], number(a["value"], ".4f"), yes(a["met"]))
                for a in summary["aims"]
            ],
        ),
        _class_sheet(summary),
    ]


def _block(row: Row) -> tuple[str, ...]:
    return (
        *(str(row["network"]), row["kind"], f"{row['ratio']:.4f}", span(row, ".4f"), number(row["p"], ".4f")),
        f"{row['within']:.4f}",
    )


def _kernel(row: Row) -> tuple[str, ...]:
    size = "—" if row["weights"] is None else f"{row['weights']:,}"
    loss, right = number(row["train_loss"], ".3f"), "—" if row["accuracy"] is None else f"{row['accuracy']:.1%}"
    known = (number(row[n]) for n in ("purity", "reliability"))
    ess, rest = number(row["ess"], ".0f"), (number(row[n]) for n in ("rhat", "acceptance"))
    return (str(row["network"]), row["kind"], size, loss, right, *known, ess, *rest)


def _hierarchy(row: Row) -> list[tuple[str, ...]]:
    listed = []
    for name, test in row["tests"].items():
        facts = row["kinds"].get(name, {})
        numbers = (number(facts.get("purity")), number(facts.get("reliability")))
        listed.append((str(row["network"]), name, f"{test['spearman']:.3f}", f"{test['p']:.4f}", *numbers))
    return listed


def _class_sheet(summary: dict[str, Any]) -> Sheet:
    order = summary["class_order"]
    rows = []
    for row in summary["hierarchy"][:1]:
        cells = {(c["one"], c["other"]): c["value"] for c in row["cells"]}
        rows = [(one, *(f"{cells[one, other]:.3f}" for other in order)) for one in order]
    note = "Mean correlation of the losses of images of each two classes, first network."
    return sheet("Kernel of the classes", ("", *order), rows, notes=[note])
