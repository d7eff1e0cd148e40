"""The study's tables as a page of Markdown."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.grokking.findings import mean, name_of
from bitsandnats.experiments.grokking.tables import Row


def markdown(summary: dict[str, Any]) -> str:
    """The tables of a summary, with the command, the versions and the machine.

    Args:
        summary: of the run.
    """
    made, main = summary["provenance"], summary["main_tolerance"]
    lines = [
        f"# {summary['title']}",
        "",
        "```console",
        made.get("command") or "bitsandnats reproduce grokking",
        "```",
        "",
        f"{summary['verdict']['text']} bitsandnats {made['version']}, torch {made['torch']}, {made['platform']}, "
        f"{made['cores']} cores, {made.get('workers', 1)} process(es), device {made['device']}, seed {made['seed']}, "
        f"{made.get('seconds', 0):,.0f} seconds in the last sitting.",
        "",
        *(f"- {finding}" for finding in summary["findings"]),
        "",
        "## What was trained",
        "",
        *(f"- {text}" for text in dict.fromkeys(summary["settings"]["recipes"])),
        "",
        *_table(
            ("arm", "seeds", "parameters", "n", "training accuracy ≥ 99 % at", "test accuracy ≥ 95 % at", "at the end"),
            [_arm(arm) for arm in summary["arms"]],
        ),
        "",
        "## Rise and fall",
        "",
        summary["rule"],
        "",
        "Mean ± standard deviation over seeds. Fall: peak over the value named; both are of the same seed.",
        "",
        *_table(
            ("arm", "quantity", "peak", "fall at 95 % test accuracy", "at the end", "fall at the end", "≥ 2 for all"),
            [row for arm in summary["arms"] for row in _falls(arm)],
        ),
        "",
        f"## The same networks by every coder, ε = {main:g}",
        "",
        "The peak of each run and its last checkpoint; bytes. Ours has container and names; the others bare numbers.",
        "bzip2 of float32 is the published size of a given coarse network; bzip2, xz and zstd are of whole numbers.",
        "",
        *_sizes(summary["sizes"]),
        "",
        "## The published procedure",
        "",
        f"Bayesian optimisation of Δ and τ by 62 trials and bzip2 of float32, at ε = {main:g}, on the first measured",
        "checkpoint that has memorised its pairs and on the last one, beside ours on the same checkpoints.",
        "",
        *_table(
            ("run", "epoch", "published", "ours", "ours / published", "bzip2 of the raw weights", "raw / ours"),
            [_published(row) for row in summary["published"]],
        ),
        "",
        "## Rate and distortion",
        "",
        f"Bytes at each ε, at the last checkpoint; K ≈ K₁ε⁻ᵇ by least squares in the logarithms, ε ≤ "
        f"{summary['fitted_tolerance']:g}.",
        "",
        *_rates(summary),
        "",
        "## Bounds and description lengths",
        "",
        f"At the last checkpoint, the least over ε, with probability 95 %; our code in full, α = {summary['alpha']:g}.",
        "The error bound is for all pairs, and for those not trained on; the mixed one for the cross-entropy of the",
        "prediction mixed with the uniform guess, nats. Description: bits of model and training labels.",
        "",
        *_table(
            (
                "run",
                "error, all pairs",
                "error, pairs not trained on",
                "mixed cross-entropy",
                "description, bits",
                "at ε",
            ),
            [_bounds(row) for row in summary["bounds"]],
        ),
        "",
        "## Checkpoint by checkpoint",
        "",
    ]
    for run in summary["runs"]:
        lines += [f"### {run['arm']}, seed {run['seed']}", "", *_checkpoints(run, summary["tolerances"]), ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["None yet."]
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def _arm(arm: Row) -> tuple[str, ...]:
    return (
        *(name_of(arm), str(arm["seeds"]), f"{arm['parameters']:,}", f"{arm['pairs']:,}"),
        *(_epochs(arm["memorised"]), _epochs(arm["generalised"]), mean(arm["test_accuracy"], ".1%")),
    )


def _epochs(epochs: Sequence[int | None]) -> str:
    return ", ".join("never" if e is None else f"{e:,}" for e in epochs)


def _falls(arm: Row) -> list[tuple[str, ...]]:
    rows = []
    for name, words, form in (("bytes", "bytes", ",.0f"), ("llc", "λ̂, nats", ".1f")):
        found = arm[name]
        if found is not None:
            judged = "yes" if found["falls"] else "no" if found["generalised"] else "never passes 95 %"
            numbers = (mean(found["peak"], form), mean(found["fall"], ".2f"), mean(found["last"], form))
            rows.append((name_of(arm), words, *numbers, mean(found["fall_last"], ".2f"), judged))
    return rows


def _sizes(rows: Sequence[Row]) -> list[str]:
    names = list(rows[0]["sizes"]) if rows else []
    cells = [
        (f"{r['arm']}, seed {r['seed']}", r["what"], str(r["epoch"]), *(f"{r['sizes'][n]:,}" for n in names))
        for r in rows
    ]
    return _table(("run", "checkpoint", "epoch", *names), cells)


def _published(row: Row) -> tuple[str, ...]:
    return (
        *(f"{row['arm']}, seed {row['seed']}", str(row["epoch"]), f"{row['published']:,}", f"{row['ours']:,}"),
        *(f"{row['ours'] / row['published']:.2f}", f"{row['naive']:,}", f"{row['naive'] / row['ours']:.1f}"),
    )


def _rates(summary: dict[str, Any]) -> list[str]:
    tolerances = summary["tolerances"]
    rows = []
    for row in summary["rate_distortion"]:
        sizes = {p["tolerance"]: p["bytes"] for p in row["curve"]}
        cells = [f"{sizes[t]:,}" if t in sizes else "—" for t in tolerances]
        rows.append((f"{row['arm']}, seed {row['seed']}", *cells, f"{row['size']:,.0f}", f"{row['exponent']:.2f}"))
    return _table(("run", *(f"ε = {t:g}" for t in tolerances), "K₁", "b"), rows)


def _bounds(row: Row) -> tuple[str, ...]:
    return (
        *(f"{row['arm']}, seed {row['seed']}", f"{row['error_bound']:.2f}", f"{row['error_bound_rest']:.2f}"),
        *(f"{row['mixed_bound']:.2f}", f"{row['description']:,.0f}", f"{row['description_tolerance']:g}"),
    )


def _checkpoints(run: Row, tolerances: Sequence[float]) -> list[str]:
    rows = []
    for c in run["checkpoints"]:
        sizes = {p["tolerance"]: p["bytes"] for p in c["points"]}
        llc = "—" if c["llc"] is None else f"{c['llc']:.1f} ± {c['llc_se'] or 0:.1f}"
        rows.append(
            (
                *(str(c["epoch"]), f"{c['train_loss']:.3f}", f"{c['test_loss']:.2f}"),
                *(f"{c['train_accuracy']:.1%}", f"{c['test_accuracy']:.1%}"),
                *(f"{sizes[t]:,}" if t in sizes else "—" for t in tolerances),
                *(llc, "—" if c["noise_only"] is None else f"{c['noise_only']:.1f}", c["status"] or "—"),
            )
        )
    head = ("epoch", "training loss", "test loss", "training accuracy", "test accuracy")
    sizes = tuple(f"bytes, ε = {t:g}" for t in tolerances)
    return _table((*head, *sizes, "λ̂", "noise only", "verdict"), rows)
