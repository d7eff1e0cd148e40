"""Figures of refined λ̂: curves over checkpoints by cluster, or one dot a component."""

from typing import Any, Literal

import altair as alt
import numpy as np

from bitsandnats.estimators.curves import cluster_count, cluster_curves, shapes
from bitsandnats.estimators.verdict import NOT_USABLE
from bitsandnats.report.figures import Figure
from bitsandnats.report.numbers import finite
from bitsandnats.report.style import BLUE, CHAINS, HALF, INK, MUTED, series_axis, status_scales, values
from bitsandnats.report.tables import Row, short_labels

METHODS: tuple[Literal["kmeans", "hierarchical", "dtw"], ...] = ("kmeans", "hierarchical", "dtw")
"""Ways of grouping curves."""

_DASHES = [[1, 0], [6, 3], [2, 2]]
_FEWEST = 3  # checkpoints of a curve that has a shape
_WIDE = 50  # largest over least from which an axis is logarithmic


def refined_rows(summary: dict[str, Any]) -> list[Row]:
    """One row a checkpoint, component and data, with the ends of its interval and its cluster among those data."""
    rows = [dict(row) for row in summary.get("refined") or []]
    places = [{"label": row["checkpoint"], "step": row["step"]} for row in rows]
    order = list(dict.fromkeys(row["checkpoint"] for row in rows))
    distinct = [next(place for place in places if place["label"] == name) for name in order]
    short = dict(zip(order, short_labels(distinct), strict=True))
    groups = {(row["component"], row["data"]): row["kmeans"] for row in cluster_rows(summary)}
    for row in rows:
        row["low"], row["high"] = row["interval"]
        row["status"] = row["verdict"]["status"]
        row["short"], row["order"] = short[row["checkpoint"]], order.index(row["checkpoint"])
        row["cluster"] = groups.get((row["component"], row["data"]), "")
    return rows


def cluster_rows(summary: dict[str, Any]) -> list[Row]:
    """The cluster of each component's curve, on each of the data, by each method; none of fewer than 4 curves."""
    rows = summary.get("refined") or []
    order = list(dict.fromkeys(row["checkpoint"] for row in rows))
    found: list[Row] = []
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        names = list(dict.fromkeys(row["component"] for row in own))
        by = {(row["component"], row["checkpoint"]): row["llc"] for row in own}
        curves = np.array([[by[name, place] for place in order] for name in names], dtype=float)
        kept = np.isfinite(curves).all(1)
        if len(order) < _FEWEST or kept.sum() < 4:
            continue
        shape = shapes(curves[kept])
        count = cluster_count(shape)
        labels = {method: cluster_curves(shape, count, method=method) for method in METHODS}
        for k, name in enumerate(np.array(names)[kept].tolist()):
            groups = {method: chr(ord("A") + int(own[k])) for method, own in labels.items()}
            found.append({"data": data, "component": name, **groups})
    return found


def refined_figures(summary: dict[str, Any]) -> list[Figure]:
    """The curves, where there are several checkpoints; the shapes by cluster; else a dot a component."""
    rows = [row for row in refined_rows(summary) if finite(row["llc"])]
    if not rows:
        return []
    if len({row["checkpoint"] for row in rows}) == 1:
        return [Figure("refined", "series", "Refined λ̂", _DOTS, _dots(rows), wide=True)]
    found = [Figure("refined", "series", "Refined λ̂ along the series", _CURVES, _curves(rows), wide=True)]
    if any(row["cluster"] for row in rows):
        found.append(Figure("clusters", "series", "Shapes of the curves by cluster", _SHAPES, _shapes(rows), wide=True))
    return found


def _dots(rows: list[Row]) -> alt.TopLevelMixin:
    base = alt.Chart(values(rows))
    names = list(dict.fromkeys(row["data"] for row in rows))
    y = alt.Y("component:N", sort=list(dict.fromkeys(row["component"] for row in rows)), title=None)
    colour, shape = status_scales(rows)
    rule = base.mark_rule(color=INK, strokeWidth=1.2).encode(x=alt.X("low:Q", title="λ̂, nats"), x2="high:Q", y=y)
    dot = base.mark_point(filled=True, size=80, opacity=1)
    dot = dot.encode(x="llc:Q", y=y, color=colour, shape=shape, tooltip=_hints())
    layers = [rule, dot]
    if len(names) > 1:
        said = base.mark_text(align="left", dx=8, color=MUTED, fontSize=10).encode(x="high:Q", y=y, text="data:N")
        layers = [layer.encode(yOffset=alt.YOffset("data:N", sort=names)) for layer in (rule, dot, said)]
    step = 20 if len(names) == 1 else 14 * len(names) + 6
    return alt.layer(*layers).properties(width=2 * HALF - 80, height={"step": step}, description="Refined λ̂")


def _curves(rows: list[Row]) -> alt.TopLevelMixin:
    """One panel for each data set, colour by cluster, names at the ends."""
    x, rows = series_axis(rows)
    last = max(row["order"] for row in rows)
    panels = []
    names = list(dict.fromkeys(row["data"] for row in rows))
    for data in names:
        own = [row for row in rows if row["data"] == data]
        base, ends = alt.Chart(values(own)), alt.Chart(values([row for row in own if row["order"] == last]))
        poor = alt.Chart(values([row for row in own if row["status"] == NOT_USABLE]))
        y = alt.Y("llc:Q", title="λ̂, nats", scale=_scale(own))
        colour = _cluster_colour(rows)
        layers = [
            base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour, detail="component:N"),
            base.mark_rule(strokeWidth=1, opacity=0.6).encode(
                x=x, y=alt.Y("low:Q", title="λ̂, nats"), y2="high:Q", color=colour
            ),
            base.mark_point(filled=True, size=34, opacity=1).encode(x=x, y=y, color=colour, tooltip=_hints()),
            poor.mark_point(filled=True, size=9, opacity=1, color="white").encode(x=x, y=y, tooltip=_hints()),
            ends.mark_text(align="left", dx=6, fontSize=10).encode(x=x, y=y, text="component:N", color=colour),
        ]
        words = "the task’s own data" if data == "all" else data
        panels.append(alt.layer(*layers).properties(width=_panel(names), height=300, title=words))
    return alt.hconcat(*panels) if len(panels) > 1 else panels[0]


def _shapes(rows: list[Row]) -> alt.TopLevelMixin:
    """Standardised curves, one panel a cluster."""
    x, rows = series_axis([row for row in rows if row["cluster"]])
    shaped = []
    for key in dict.fromkeys((row["component"], row["data"]) for row in rows):
        own = [row for row in rows if (row["component"], row["data"]) == key]
        curve = shapes(np.array([[row["llc"] for row in own]]))[0]
        name = key[0] if key[1] == "all" else f"{key[0]} on {key[1]}"
        shaped += [{**row, "shape": float(v), "name": name} for row, v in zip(own, curve, strict=True)]
    panels = []
    for cluster in sorted({row["cluster"] for row in shaped}):
        own = [row for row in shaped if row["cluster"] == cluster]
        names = list(dict.fromkeys(row["name"] for row in own))
        colours = alt.Scale(domain=names, range=[CHAINS[i % len(CHAINS)] for i in range(len(names))])
        dashes = alt.Scale(domain=names, range=[_DASHES[i // len(CHAINS) % 3] for i in range(len(names))])
        legend = alt.Legend(title=None, orient="bottom", columns=2, symbolType="stroke")
        chart = (
            alt.Chart(values(own))
            .mark_line(strokeWidth=1.8, point={"size": 22})
            .encode(
                x=x,
                y=alt.Y("shape:Q", title="λ̂ less its mean, over its s.d.", scale=alt.Scale(domain=[-2.6, 2.6])),
                color=alt.Color("name:N", scale=colours, legend=legend),
                strokeDash=alt.StrokeDash("name:N", scale=dashes, legend=legend),
                tooltip=_hints(),
            )
        )
        panels.append(chart.properties(width=250, height=210, title=f"cluster {cluster}"))
    return alt.concat(*panels, columns=3).resolve_scale(color="independent", strokeDash="independent")


def _scale(rows: list[Row]) -> alt.Scale:
    """Logarithmic where a whole network stands beside its heads, whose curves would lie flat on the axis."""
    lows, highs = [row["low"] for row in rows], [row["high"] for row in rows]
    if min(lows) > 0 and max(highs) > _WIDE * min(lows):
        return alt.Scale(type="log", nice=True)
    return alt.Scale(zero=False, nice=True)


def _cluster_colour(rows: list[Row]) -> Any:
    names = sorted({row["cluster"] for row in rows if row["cluster"]})
    if not names:
        return alt.value(BLUE)
    scale = alt.Scale(domain=[*names, ""], range=[*CHAINS[: len(names)], MUTED])
    return alt.Color("cluster:N", scale=scale, legend=alt.Legend(title="cluster", values=names, symbolType="stroke"))


def _panel(names: list[str]) -> int:
    return 2 * HALF - 120 if len(names) == 1 else HALF - 60


def _hints() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("component:N"),
        alt.Tooltip("data:N"),
        alt.Tooltip("checkpoint:N"),
        alt.Tooltip("llc:Q", title="λ̂", format=".4g"),
        alt.Tooltip("se:Q", title="s.e.", format=".2g"),
        alt.Tooltip("status:N", title="verdict"),
    ]


_DOTS = (
    "λ̂ in nats where only the component moves, with 95 % intervals of the sampling error; marks by verdict. All are "
    "sampled with the same settings. λ̂ of a part is at most that of the whole for block-separable and quadratic losses "
    "only."
)
_CURVES = (
    "λ̂ in nats where only the component moves, with 95 % intervals of the sampling error; one panel for each data set "
    "that the loss is taken on, with an axis of its own, logarithmic where the largest is far above the least. "
    "Colour: the cluster of the curve’s shape in its panel. Hollow: not sampled right."
)
_SHAPES = (
    "The same curves less their mean and over their s.d., k-means; as many clusters as have the largest mean "
    "silhouette. Curves of noise have shapes too: compare with the intervals above, and with the other methods in the "
    "table."
)
