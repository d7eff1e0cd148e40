"""The page docs/results/codec.md from what `codec.py` has measured."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import bitsandnats as bn

OUT = Path(__file__).parents[1] / "docs" / "results" / "codec.md"
ALL = "and compensation: all"
ADDED: dict[str, tuple[Any, ...]] = {
    "one Δ and τ for all": (),
    "and spacings by sensitivity": ("spacings",),
    "and rounding for rate": ("spacings", "rounding"),
    "and ranks by matrix": ("spacings", "rounding", "ranks"),
    ALL: ("spacings", "rounding", "ranks", "compensation"),
}
LEFT_OUT: dict[str, tuple[Any, ...]] = {
    "without spacings by sensitivity": ("rounding", "ranks", "compensation"),
    "without rounding for rate": ("spacings", "ranks", "compensation"),
    "without ranks by matrix": ("spacings", "rounding", "compensation"),
}
STARTS = 3  # of compensation; in rows that do not say so, 2
_DEAR = (2.0, 10.0)  # seconds a loss; at the first a Gaussian process begins to choose

Rows = dict[str, dict[str, Any]]


def write(rows: Rows, cases: dict[str, str]) -> None:
    """Writes the page of what there is."""
    present = [name for name in cases if name in rows]
    blocks = [
        "# Bytes of networks",
        "Made by `python benchmarks/codec.py`; nothing is typed by hand. "
        f"bitsandnats {bn.__version__}, torch {torch.__version__}, Python {platform.python_version()}, one thread.{_elsewhere(rows)}",
        "ε in nats a sample or token, on the training data. Sizes in bytes.",
        "\n".join(
            f"* `{name}`: {cases[name]}; {rows[name]['parameters']:,} parameters{_facts(rows[name])}"
            for name in present
        ),
        *_coder(rows, present),
        *_search(rows, present),
        *_nncodec(rows, present),
        *_cost(rows, present),
        *_speed(rows),
    ]
    OUT.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _elsewhere(rows: Rows) -> str:
    """Which parts another version of torch made, on another machine."""
    others: dict[str, list[str]] = {}
    for key, row in rows.items():
        if row.get("torch", torch.__version__) != torch.__version__ and "/" in key:
            others.setdefault(row["torch"], []).append(key)
    return "".join(
        f" With torch {name}, on another machine: {', '.join(sorted(keys))}." for name, keys in others.items()
    )


def _facts(row: dict[str, Any]) -> str:
    return f"; step {row['step']}, {row['train']:.0%} and {row['test']:.1%} right" if "step" in row else ""


def _table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    made = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*made, *(f"| {' | '.join(_cell(c) for c in line)} |" for line in lines)])


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _part(rows: Rows, present: Sequence[str], part: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, row) for name in present if f"{name}/{part}" in rows for row in rows[f"{name}/{part}"]["rows"]]


def _coder(rows: Rows, present: Sequence[str]) -> list[str]:
    lines = []
    for name, row in _part(rows, present, "coder"):
        s = row["sizes"]
        ideal, best = s["entropy"] + s["side"], min(s[other] for other in ("bzip2", "xz", "zstd"))
        ratios = (s["bitsandnats"] / ideal, s["bitsandnats"] / s["float32"], s["bitsandnats"] / best)
        sizes = (s["bitsandnats"], ideal, s["float32"], s["bzip2"], s["xz"], s["zstd"])
        lines.append((name, row["tolerance"], *sizes, *(f"{r:.3f}" for r in ratios)))
    head = ("case", "ε", "ours", "entropy and side information", "bzip2 of float32", "bzip2", "xz", "zstd")
    return [
        "## The coder alone",
        "The same network, one Δ and τ for all tensors from our grid search, by every coder. Entropy: first-order, one distribution a tensor; "
        "side information: head, names, configuration and numbers at full precision, of which ours has all, but not distributions, shapes and spacings, "
        "which ours has too. bzip2 of float32: of arrays whose zeros have no sign, nothing else. bzip2, xz, zstd: of the whole numbers alone. "
        "The last three columns: ours over entropy and side information, over bzip2 of float32, over the best of the last three.",
        _table((*head, "ours / entropy", "ours / float32", "ours / best"), lines),
        "Where ours lies below the entropy, rows or columns differ in scale and have distributions of their own.",
    ]


def _search(rows: Rows, present: Sequence[str]) -> list[str]:
    before = {(name, row["tolerance"]): row for name, row in _part(rows, present, "published")}
    found = _part(rows, present, "search")
    lines = []
    for name, row in found:
        if (name, row["tolerance"]) not in before:
            continue
        other = before[name, row["tolerance"]]
        sizes = [f"{other[m]:,} ({other[f'{m}, unsigned']:,})" for m in ("published", "quantization")]
        ours = row[ALL]["bytes"]
        ratios = f"{ours / other['published']:.2f} ({ours / other['published, unsigned']:.2f})"
        lines.append((name, row["tolerance"], *sizes, ours, ratios))
    return [
        "## The search",
        "The smallest network within ε. Published: Algorithm 1 with 62 trials and bzip2 of the float32 arrays; in brackets with −0 written "
        "as 0, which the published arithmetic does not do.",
        _table(("case", "ε", "published", "Algorithm 2", "ours", "ours / published"), lines),
        "Compensation begins three times: with one spacing and nothing else, with the network of the other parts, and with that of one spacing for "
        "all and the other parts; the smallest result counts. Where leaving out a part changes nothing, another start is the smallest. Where it makes "
        f"the network smaller, the search has missed that one.{_older(found)}",
        "What each part adds, each column with all parts to its left:",
        _table(("case", "ε", *ADDED), [(n, r["tolerance"], *(r[k]["bytes"] for k in ADDED)) for n, r in found]),
        *_left_out(rows, present),
        "Ranks of the networks found:",
        "\n".join(
            f"* `{n}`, ε = {r['tolerance']:g}: " + (", ".join(f"{m} {k}" for m, k in r["ranks"].items()) or "all full")
            for n, r in found
        ),
        "The symbols of the networks found, by what their distribution depends on. The first two are entropies, without what it takes to say the distributions; the "
        "third is what is in the file, with distributions, shapes and spacings; the last is the file.",
        _table(
            ("case", "ε", "one for all tensors", "one a tensor", "classes of rows and columns, coded", "file"),
            [(n, r["tolerance"], *(r["models"][k] for k in ("pooled", "tensor", "coded", "file"))) for n, r in found],
        ),
    ]


def _older(found: list[tuple[str, dict[str, Any]]]) -> str:
    """Whose search was made before compensation began a third time."""
    names = dict.fromkeys(f"`{name}`" for name, row in found if row.get("starts", 2) < STARTS)
    return f" {', '.join(names)}: measured before the third was added." if names else ""


def _left_out(rows: Rows, present: Sequence[str]) -> list[str]:
    less = {(name, row["tolerance"]): row for name, row in _part(rows, present, "left out")}
    lines = [
        (
            *(name, row["tolerance"], row[ALL]["bytes"]),
            *(less[name, row["tolerance"]][part]["bytes"] for part in LEFT_OUT),
            row["and ranks by matrix"]["bytes"],
        )
        for name, row in _part(rows, present, "search")
        if (name, row["tolerance"]) in less
    ]
    return (
        ["And all parts but one:", _table(("case", "ε", "all", *LEFT_OUT, "without compensation"), lines)]
        if lines
        else []
    )


def _nncodec(rows: Rows, present: Sequence[str]) -> list[str]:
    found = _part(rows, present, "nncodec")
    if not found:
        return []
    ours = {(name, row["tolerance"]): row for name, row in _part(rows, present, "search")}
    lines = []
    for name, row in found:
        mine = ours.get((name, row["tolerance"]))
        if mine is None:
            continue
        if "bytes" not in row:
            lines.append((name, row["tolerance"], "none within ε", "", mine[ALL]["bytes"], ""))
            continue
        plain = mine["and ranks by matrix"]["bytes"]
        settings = ", ".join(f"{k} {v}" for k, v in row["settings"].items())
        ratios = (f"{mine[ALL]['bytes'] / row['bytes']:.2f}", f"{plain / row['bytes']:.2f}")
        lines.append((name, row["tolerance"], row["bytes"], settings, mine[ALL]["bytes"], *ratios))
    head = ("case", "ε", "NNCodec", "its settings", "ours", "ours / NNCodec", "without compensation / NNCodec")
    return [
        "## NNCodec",
        "NNCodec 2.1.3 (ISO/IEC 15938-17) in an environment of its own, since it needs NumPy 1: the smallest of its streams whose decoded weights are within "
        "ε, over qualities (`qp`, eight an octave of the step) for all matrices, the same or eight finer for all else, with its defaults (trellis quantization), "
        "with uniform quantization, and with qualities by tensor that it chooses (`opt_qp`). "
        "Like ours, the stream holds names and shapes.",
        _table(head, lines),
    ]


def _cost(rows: Rows, present: Sequence[str]) -> list[str]:
    lines = []
    for name, row in _part(rows, present, "search"):
        if row["tolerance"] != 0.1:
            continue
        spent, trials = row["spent"], row["trials"]
        shares = [spent["losses"] / spent["total"], spent["decompositions"] / spent["total"]]
        lines.append((name, trials, f"{row['seconds']:.1f}", *(f"{s:.0%}" for s in shares), f"{1 - sum(shares):.0%}"))
    text = [
        "## What the search takes",
        "All parts, both ε from one pool; shares of wall-clock time on a busy machine. Losses: with gradients of the loss, of 3 to 10 ms each in these cases.",
        _table(("case", "networks tried", "CPU seconds", "losses", "decompositions", "everything else"), lines),
    ]
    if "cheap" in rows:
        row, older = rows["cheap"], _older(_part(rows, present, "search"))
        more = (
            " The rows of cases measured earlier are of steps that took more passes over the weights." if older else ""
        )
        text.append(
            f"In processor time: on `digits` at ε = {row['tolerance']:g}, {row['rest']:.1f} of {row['whole']:.1f} seconds, {row['rest'] / row['whole']:.0%}, are "
            f"neither losses nor gradients, by the same search with those {row['losses']:,.0f} played back.{more}"
        )
    if "dear" in rows:
        rest, losses = rows["dear"]["overhead"], rows["dear"]["losses"]
        shares = " and ".join(f"{rest / (rest + losses * s):.0%} at {s:g} s" for s in _DEAR)
        text.append(
            f"Where a loss takes more than {_DEAR[0]:g} s, a Gaussian process chooses 30 of the trials. On `digits` and at ε = 0.5, everything but losses and "
            f"decompositions then takes {rest:.1f} CPU seconds for {losses} losses: a share of {shares} a loss."
        )
    return text


def _speed(rows: Rows) -> list[str]:
    if "speeds" not in rows:
        return []
    lines = [(r["name"], r["bytes"], f"{r['encode']:.0f}", f"{r['decode']:.0f}") for r in rows["speeds"]["rows"]]
    return [
        "## Speed",
        "CPU time of four million weights, in megabytes of float32 a second.",
        _table(("weights", "bytes", "coding, MB/s", "decoding, MB/s"), lines),
    ]
