"""The benchmark's tables as a page of Markdown."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.dln_benchmark.tables import Row

_ARM_HEAD = (
    *(
        "sampler",
        "size",
        "n",
        "networks",
        "median absolute error",
        "90th percentile",
        "mean error ± s.e.",
        "s.e. of one",
    ),
    *("order", "beyond the line", "of these flagged", "flagged", "seconds: median, worst", "gradients"),
)


def markdown(summary: dict[str, Any]) -> str:
    """The tables of a summary, with the command, the versions and the machine.

    Args:
        summary: of the run.
    """
    made = summary["provenance"]
    lines = [
        f"# {summary['title']}",
        "",
        "```console",
        made.get("command") or "bitsandnats reproduce dln-benchmark",
        "```",
        "",
        f"{summary['verdict']['text']} bitsandnats {made['version']}, torch {made['torch']}, {made['platform']}, "
        f"{made['cores']} cores, {_processes(made)}, seed {made['seed']}.",
        "",
        *(f"- {finding}" for finding in summary["findings"]),
        "",
        "## Sampler by sampler",
        "",
        *_table(
            _ARM_HEAD,
            [_arm(arm) for arm in summary["arms"]],
        ),
        "",
        "Errors are λ̂/λ − 1 for the local λ of the teacher; a network without a number counts as infinitely wrong.",
        "Order: share of pairs with different λ in the right order. The line is the aim's 90th percentile. Flagged: a",
        "verdict other than `usable`. Gradients: those of all data and all chains, calibration included.",
        "",
    ]
    aims = [(arm, aim) for arm in summary["arms"] for aim in arm["aims"]]
    if aims:
        lines += [
            "## Aims",
            "",
            *_table(("arm", "what", "aim", "reached", ""), [_aim(arm, aim) for arm, aim in aims]),
            "",
        ]
    if summary["rules"]:
        share = summary["settings"]["gradients"]
        took = "as many as it took in all" if share == 1 else f"{share:.0%} of those it took in all"
        lines += [
            "## Step sizes of the others",
            "",
            "nβ, γ, chains and seed are those of the calibrated sampler on the same network; gradients are exact, and",
            f"{took}; a quarter of the steps is burn-in, and every chain starts at w\\*.",
            "",
        ]
        lines += [*_table(("sampler", "rule"), [(f"`{k}`", v) for k, v in summary["rules"].items()]), ""]
    lines += [
        "## Network by network",
        "",
        *_table(
            ("network", "sampler", "widths", "rank", "parameters", "λ", "λ̂ ± s.e.", "error", "γ", "seconds", "verdict"),
            [_network(row) for row in summary["networks"]],
        ),
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def _arm(arm: Row) -> tuple[str, ...]:
    return (
        arm["sampler"],
        arm["size"],
        f"{arm['samples']:,}",
        str(arm["nets"]) + (f" of {arm['planned']}" if arm["nets"] < arm["planned"] else ""),
        _number(arm["median"], ".2%"),
        _number(arm["ninetieth"], ".2%"),
        f"{_number(arm['mean'], '+.2%')} ± {_number(arm['mean_se'], '.2%')}",
        _number(arm["relative_se"], ".2%"),
        _number(arm["order"], ".4f"),
        f"{arm['missed']} ({arm['line']:.0%})",
        str(arm["missed_flagged"]),
        str(arm["flagged"]),
        f"{_number(arm['seconds'], '.0f')}, {_number(arm['worst_seconds'], '.0f')}",
        _number(arm["evaluations"], ",.0f"),
    )


def _aim(arm: Row, aim: Row) -> tuple[str, ...]:
    form = {"share": ".1%", "number": ".3f", "count": ".0f", "seconds": ".0f"}[aim["unit"]]
    shown = " s" if aim["unit"] == "seconds" else ""
    met = {True: "met", False: "**not met**", None: "not judged yet"}[aim["met"]]
    wanted = f"{aim['sense']} {_number(aim['aim'], form)}{shown}"
    return arm["name"], aim["name"], wanted, _number(aim["value"], form) + shown, met


def _network(row: Row) -> tuple[str, ...]:
    settings = row["settings"] or {}
    return (
        row["label"],
        row["sampler"],
        "-".join(map(str, row["widths"])),
        str(row["rank"]),
        f"{row['parameters']:,}",
        f"{row['truth']:g}",
        f"{_number(row['llc'], '.2f')} ± {_number(row['se'], '.2f')}",
        _number(row["error"], "+.2%"),
        _number(settings.get("gamma"), "g"),
        _number(row["seconds"], ".1f"),
        "; ".join([row["verdict"]["status"], *row["verdict"]["reasons"][:1]]),
    )


def _number(value: float | int | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def _processes(made: dict[str, Any]) -> str:
    workers = made.get("workers", 1)
    threads = made["threads"]
    return f"{workers} processes of one thread" if workers > 1 else f"{threads} thread{'s' if threads > 1 else ''}"
