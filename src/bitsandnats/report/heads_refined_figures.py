"""Figures of refined λ̂ over training: curves of heads, their shapes, and how groups of them agree with labels."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from bitsandnats.report.figures import Figure
from bitsandnats.report.heads_figures import by_seed, role_colour, short
from bitsandnats.report.style import values
from bitsandnats.report.tables import Row

_METHODS = ("kmeans", "dtw", "hierarchical")


def refined_figures(summary: dict[str, Any]) -> list[Figure]:
    """Every figure for which there are numbers."""
    curves = [c for c in summary["curves"] if c["values"]]
    if not curves:
        return []
    panels = [
        _curves(f"seed {seed}, {_words(name)}", [c for c in rows if c["quantity"] == name])
        for seed, rows in by_seed(curves)
        for name in summary["quantities"]
    ]
    columns = len(summary["quantities"])
    chart = alt.concat(*panels, columns=min(columns, 3), spacing=22).resolve_scale(y="independent")
    found = [Figure("curves", "curves", "Heads over training", _CURVES, chart, True)]
    if summary["agreement"]:
        found.append(Figure("agreement", "labels", "Groups against labels", _AGREEMENT, _agreement(summary), False))
    ratios = [s for s in summary["special"] if s["ratios"]]
    if ratios:
        found.append(Figure("special", "labels", "On which texts", _SPECIAL, _special(ratios), False))
    return found


def _words(name: str) -> str:
    if name == "all":
        return "λ̂, training data"
    return name if name[0].isupper() or name.startswith("λ̂") else f"λ̂, {name} texts"


def _curves(title: str, curves: Sequence[Row]) -> Any:
    """One line a head."""
    rows = [
        {"head": short(c["head"]), "role": c["role"], "step": step, "value": value, "low": value - se,
         "high": value + se}
        for c in curves
        for step, value, se in zip(c["steps"], c["values"], c["se"], strict=True)
    ]  # fmt: skip
    steps = sorted({row["step"] for row in rows})
    axis = alt.Axis(values=steps, labelOverlap="greedy", grid=False)
    x = alt.X("step:Q", title="training step", scale=alt.Scale(type="log", nice=False), axis=axis)
    y = alt.Y("value:Q", title="nats" if "λ̂" in title else "nats / weight²", axis=alt.Axis(tickCount=5))
    hints = [
        alt.Tooltip("head:N"),
        alt.Tooltip("role:N", title="by ablation"),
        alt.Tooltip("step:Q"),
        alt.Tooltip("value:Q", format=".3f"),
    ]
    base = alt.Chart(values(rows)).encode(x=x, color=role_colour(curves), detail="head:N")
    bars = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q", title=""), y2="high:Q")
    lines = base.mark_line(strokeWidth=1.6, point={"size": 18}).encode(y=y, tooltip=hints)
    return alt.layer(bars, lines, width=215, height=170, title=title)


def _agreement(summary: dict[str, Any]) -> Any:
    rows = [
        {"seed": f"{a['seed']}", "quantity": _words(a["quantity"]), "method": m, "value": a[m]}
        for a in summary["agreement"]
        for m in _METHODS
    ]
    order = list(dict.fromkeys(row["quantity"] for row in rows))
    return (
        alt.Chart(values(rows), width=300, height=34 * len(order))
        .mark_point(filled=True, size=60, opacity=0.8)
        .encode(
            x=alt.X("value:Q", title="adjusted Rand index", scale=alt.Scale(domain=[-0.5, 1])),
            y=alt.Y("quantity:N", sort=order, title=None),
            shape=alt.Shape("method:N", legend=alt.Legend(title="method", orient="bottom")),
            yOffset="method:N",
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("seed", "quantity", "method", "value")],
        )
    )


def _special(rows: Sequence[Row]) -> Any:
    """λ̂ on each structure's texts over that on all, a column a structure."""
    points = [
        {"head": short(s["head"]), "role": s["role"], "seed": s["seed"], "text": name, "ratio": value}
        for s in rows
        for name, value in s["ratios"].items()
    ]
    return (
        alt.Chart(values(points), width=300, height=240)
        .mark_point(filled=True, size=70, opacity=0.85)
        .encode(
            x=alt.X("text:N", title="texts", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("role:N"),
            y=alt.Y("ratio:Q", title="λ̂ over that on the training data"),
            color=role_colour(rows),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("seed", "head", "role", "text", "ratio")],
        )
    )


_CURVES = (
    "One line a head, coloured by what ablation says of it at the end; bars are standard errors. λ̂ is refined to the "
    "head's weights, and to the texts named; at the first steps w* is no minimum and λ̂ may be anything. The trace of "
    "the head's Hessian, the last panel of each network, is what a measure without chains gives."
)
_AGREEMENT = (
    "Curves, each less its mean and over its standard deviation, grouped into as many groups as there are labels; one "
    "point a network and method. Few heads make a noisy index: differences of a tenth or two mean nothing."
)
_SPECIAL = (
    "λ̂ on texts with much of one structure, over λ̂ on the training data, at the last checkpoint, a point a head. "
    "Heads ought to stand out on the texts of their own structure."
)
