"""Figures of the studies of attribution."""

from typing import Any

import altair as alt

from bitsandnats.report.figures import Figure
from bitsandnats.report.style import BLUE, GREEN, INK, MUTED, ORANGE, RED, values
from bitsandnats.report.tables import Row

_FORMS = {"raw": BLUE, "normalised": ORANGE}
_WIDTH = 330


def retraining_figures(summary: dict[str, Any]) -> list[Figure]:
    """Rank correlations of every method on every network, a panel a data set and kind of retraining."""
    panels = []
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in summary["networks"]:
        groups.setdefault((row["set"], row["what"]), []).append(row)
    for (data, what), own in groups.items():
        rows = [
            {
                "method": summary["methods"][name],
                "form": row["form"],
                "network": row["model"],
                **{k: cell[k] for k in ("value", "low", "high")},
            }
            for row in own
            for name, cell in row["methods"].items()
        ]
        words = f"subsets of {what}" if what[0].isdigit() else "one item left out"
        panels.append(_dots(f"{data}, {words}", rows, list(summary["methods"].values())))
    if not panels:
        return []
    caption = (
        "Rank correlation between what attributions predict and what retraining gave, the mean over queries: a mark a "
        "network, with its 95 % bootstrap interval over queries. Normalised: correlations or cosines in place of "
        "covariances or inner products. BIF at nβ = 0 moves the weights without looking at the data."
    )
    chart = alt.concat(*panels, columns=2, spacing=30)
    return [Figure("lds", "agreement with retraining", "Attributions against retraining", caption, chart, True)]


def _dots(title: str, rows: list[Row], order: list[str]) -> alt.TopLevelMixin:
    colour = alt.Color(
        "form:N",
        scale=alt.Scale(domain=list(_FORMS), range=list(_FORMS.values())),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    place = alt.Y("method:N", sort=order, title=None, axis=alt.Axis(labelLimit=260, grid=True))
    shift = alt.YOffset("form:N", scale=alt.Scale(domain=list(_FORMS)))
    base = alt.Chart(values(rows)).encode(y=place, yOffset=shift, color=colour)
    bars = base.mark_rule(opacity=0.45, strokeWidth=1.2).encode(x=alt.X("low:Q", title="rank correlation"), x2="high:Q")
    tips = [alt.Tooltip(f"{name}:{kind}") for name, kind in (("method", "N"), ("network", "O"), ("form", "N"))]
    points = base.mark_point(filled=True, size=42, opacity=0.9).encode(
        x=alt.X("value:Q", title="rank correlation"), tooltip=[*tips, alt.Tooltip("value:Q", format=".3f")]
    )
    return alt.layer(bars, points).properties(width=_WIDTH, height=260, title=title)


def kernel_figures(summary: dict[str, Any]) -> list[Figure]:
    """Block energies with their controls, and the classes' kernel beside the hierarchy."""
    found = []
    rows = [row for row in summary["blocks"] if row["ratio"] is not None]
    if rows:
        caption = (
            "Mean square correlation of losses across tasks over that within tasks, without what chance gives, with "
            "its 95 % chain-bootstrap interval: a mark a network. Noise: the same network, its weights drawn as "
            "N(w*, 1/γ). Disjoint: half of the hidden units for each task. Copies: the network twice, each input under "
            "its task's copy."
        )
        found.append(Figure("blocks", "tasks", "Whether two tasks share weights", caption, _blocks(rows), False))
    cells = [cell for row in summary["hierarchy"][:1] for cell in row["cells"]]
    if cells:
        caption = (
            "Mean correlation of the losses of images of each two classes, first network; classes in the order of the "
            "hierarchy. Colours end at the largest value between different classes."
        )
        found.append(Figure("classes", "classes", "Kernel of the classes", caption, _matrix(cells, summary), False))
    pairs = [pair for row in summary["hierarchy"] for pair in row["pairs"]]
    if pairs:
        caption = "Each pair of classes: its kernel against the number of steps between the two in the hierarchy."
        found.append(Figure("hierarchy", "classes", "Kernel and hierarchy", caption, _pairs(pairs), False))
    return found


def _blocks(rows: list[Row]) -> alt.TopLevelMixin:
    kinds = {"shared": BLUE, "noise": ORANGE, "disjoint": GREEN, "copies": MUTED}
    present = [kind for kind in kinds if any(row["kind"] == kind for row in rows)]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=present, range=[kinds[k] for k in present]), legend=None)
    shown = [{k: row[k] for k in ("kind", "network", "ratio", "low", "high")} for row in rows]
    base = alt.Chart(values(shown)).encode(
        x=alt.X("kind:N", sort=present, title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("network:O"),
        color=colour,
    )
    bars = base.mark_rule(strokeWidth=1.4, opacity=0.6).encode(y=alt.Y("low:Q", title="cross / within"), y2="high:Q")
    points = base.mark_point(filled=True, size=55).encode(
        y=alt.Y("ratio:Q", title="cross / within"),
        tooltip=["kind:N", "network:O", alt.Tooltip("ratio:Q", format=".3f")],
    )
    return alt.layer(bars, points).properties(width=_WIDTH, height=260)


def _matrix(cells: list[Row], summary: dict[str, Any]) -> alt.Chart:
    order = summary["class_order"]
    most = max(
        abs(cell["value"]) for cell in cells if cell["one"] != cell["other"]
    )  # classes with themselves stand out
    scale = alt.Scale(domain=[-most, 0, most], range=[RED, "#ffffff", BLUE], interpolate="rgb", clamp=True)
    return (
        alt.Chart(values(cells))
        .mark_rect()
        .encode(
            x=alt.X("one:N", sort=order, title=None, axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("other:N", sort=order, title=None),
            color=alt.Color("value:Q", scale=scale, legend=alt.Legend(title="mean R")),
            tooltip=["one:N", "other:N", alt.Tooltip("value:Q", format=".3f")],
        )
        .properties(width=_WIDTH, height=_WIDTH)
    )


def _pairs(pairs: list[Row]) -> alt.Chart:
    return (
        alt.Chart(values(pairs))
        .mark_point(filled=True, opacity=0.6, color=INK, size=38)
        .encode(
            x=alt.X("distance:Q", title="steps in the hierarchy"),
            y=alt.Y("value:Q", title="mean R"),
            shape=alt.Shape("network:O", legend=alt.Legend(title="network")),
            tooltip=["one:N", "other:N", "distance:Q", alt.Tooltip("value:Q", format=".3f")],
        )
        .properties(width=_WIDTH, height=260)
    )
