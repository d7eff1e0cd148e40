"""The study's tables as text, and what was done in sentences."""

from typing import Any

from bitsandnats.experiments.influence_retraining.tables import Row
from bitsandnats.experiments.sheets import Sheet, number, sheet, span, yes


def facts(summary: dict[str, Any]) -> list[str]:
    """What was trained and sampled."""
    settings = summary["settings"]
    sizes, recipe, sampling = settings["sizes"], settings["recipe"], settings["sampling"]
    return [
        *(f"{summary['sets'][name]}: {n:,} images to train on." for name, n in summary["items"].items()),
        f"Networks: one hidden layer of {recipe['width']} tanh units, cross-entropy plus {recipe['decay']:g}‖w‖²/2, "
        f"{recipe['steps']} steps of Adam on all items, rate {recipe['rate']:g} falling as half a cosine.",
        f"{sizes['queries']} queries; {sizes['choosing']} subsets for choosing settings and {sizes['scored']} that are "
        f"scored, of each fraction; {sizes['repeats']} networks a subset; {sizes['left_out']} items left out one by "
        "one, from the same first weights.",
        f"BIF: {sampling['chains']} chains of {sampling['draws']} draws, Hamiltonian Monte Carlo on all data; on "
        f"the loss that was trained on, the penalty with μ = {recipe['decay']:g} included, so that w* is at rest, or "
        "on the bare loss. At nβ = 0 as many draws of N(w*, 1/(γ + nβμ)).",
    ]


def sheets(summary: dict[str, Any]) -> list[Sheet]:
    """All tables."""
    names = summary["methods"]
    place = ("data", "network", "subsets of", "form")
    return [
        sheet(
            "LDS",
            ("data", "subsets of", "form", *names.values()),
            [_mean(row, names) for row in summary["means"]],
            notes=["Mean over networks (least to largest)."],
        ),
        sheet(
            "Aims",
            ("data", "network", "subsets of", "aim", "reached", "interval", "met"),
            [_aim(row) for row in summary["aims"]],
            notes=["With 95 % bootstrap intervals over queries."],
        ),
        sheet(
            "Network by network",
            (*place, *names.values(), "BIF / better exact damped"),
            [_network(row, names) for row in summary["networks"]],
            notes=["LDS with its 95 % bootstrap interval over queries."],
            wide=True,
        ),
        sheet(
            "Settings chosen",
            (*place, *names.values()),
            [_settings(row, names) for row in summary["networks"]],
            wide=True,
        ),
        _chains(summary),
        sheet(
            "What retraining gave",
            ("data", "subsets of", "items", "networks", "reliability", "training loss", "query loss", "seconds"),
            [_truth(row) for row in summary["truths"]],
            notes=["Reliability: of the ranking of subsets, halves of the repeats compared and stepped up to all."],
        ),
        sheet(
            "The networks that attributions were made at",
            ("data", "network", "weights", "training loss", "query loss", "query accuracy"),
            [_model(row) for row in summary["models"]],
        ),
        sheet(
            "Chains",
            (
                *("data", "network", "nβ", "γ", "μ", "sampler", "acceptance", "R̂", "ESS of a covariance"),
                *("split-half reliability", "seconds"),
            ),
            [_run(row) for row in summary["runs"]],
            wide=True,
        ),
        sheet(
            "Seconds a method",
            ("data", *names.values()),
            _seconds(summary, names),
            notes=[
                "On the first network of each data set, at the setting chosen for the largest fraction, raw; gradients "
                "and decompositions that settings share are counted in each."
            ],
        ),
    ]


def _mean(row: Row, names: dict[str, str]) -> tuple[str, ...]:
    cells = [row["methods"][name] for name in names]
    shown = [f"{c['mean']:.3f} ({c['least']:.3f}–{c['most']:.3f})" for c in cells]
    return (row["set"], row["what"], row["form"], *shown)


def _aim(row: Row) -> tuple[str, ...]:
    value = number(row["value"], ".3f")
    return (row["set"], str(row["model"]), row["what"], row["aim"], value, span(row["interval"]), yes(row["met"]))


def _network(row: Row, names: dict[str, str]) -> tuple[str, ...]:
    cells = [row["methods"][name] for name in names]
    ratio = "—" if row["ratio"] is None else f"{row['ratio']['value']:.3f} {span(row['ratio'])}"
    shown = [f"{cell['value']:.3f} {span(cell)}" for cell in cells]
    return (row["set"], str(row["model"]), row["what"], row["form"], *shown, ratio)


def _settings(row: Row, names: dict[str, str]) -> tuple[str, ...]:
    shown = [row["methods"][name]["setting"] or "—" for name in names]
    return (row["set"], str(row["model"]), row["what"], row["form"], *shown)


def _chains(summary: dict[str, Any]) -> Sheet:
    rows = summary["chains"]
    scores = [name for name in rows[0] if name.startswith(("raw ", "normalised "))] if rows else []
    cells = [
        (
            *(row["set"], f"{row['nbeta']:.0f}", f"{row['ratio']:g}", f"{row['decay']:g}"),
            *(f"{row[name]:.3f}" for name in scores),
            *(number(row["reliability"]), yes(row["chosen"])),
        )
        for row in rows
    ]
    head = ("data", "nβ", "γ/nβ", "μ", *(f"LDS {name}" for name in scores), "split-half reliability", "chosen")
    notes = ["On the first network, by the subsets for choosing; μ of the penalty in the loss that chains move on."]
    return sheet("Settings of the chains", head, cells, notes=notes)


def _truth(row: Row) -> tuple[str, ...]:
    return (
        *(row["set"], f"{row['fraction']:g}", f"{row['items']:,}", f"{row['networks']:,}"),
        *(number(row["reliability"]), f"{row['train_loss']:.3f}", f"{row['query_loss']:.3f}", f"{row['seconds']:.0f}"),
    )


def _model(row: Row) -> tuple[str, ...]:
    losses = (f"{row['train_loss']:.3f}", f"{row['query_loss']:.3f}", f"{row['query_accuracy']:.1%}")
    return (row["set"], str(row["model"]), f"{row['weights']:,}", *losses)


def _run(row: Row) -> tuple[str, ...]:
    return (
        *(row["set"], str(row["model"]), f"{row['nbeta']:.0f}", f"{row['nbeta'] * row['ratio']:.3g}"),
        f"{row['decay']:g}",
        *(f"`{row['sampler']}`", number(row["acceptance"]), number(row["rhat"]), number(row["ess"], ".0f")),
        *(number(row["reliability"]), f"{row['seconds']:.0f}"),
    )


def _seconds(summary: dict[str, Any], names: dict[str, str]) -> list[tuple[str, ...]]:
    first: dict[str, Row] = {}
    for row in summary["networks"]:
        if row["form"] == "raw":
            first.setdefault(row["set"], row)
    return [(data, *(f"{row['methods'][name]['seconds']:.1f}" for name in names)) for data, row in first.items()]
