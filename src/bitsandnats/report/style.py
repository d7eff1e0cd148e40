"""How figures look: colours safe for colour-blind readers, type, the axis of steps. Pure values and helpers."""

import json
from typing import Any

import altair as alt

from bitsandnats.report.numbers import finite
from bitsandnats.report.tables import Row

INK, MUTED, FAINT = "#1f2328", "#6e7781", "#b6bcc3"
BLUE, GREEN, ORANGE, RED, PURPLE, SKY = "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9"
CHAINS = [BLUE, ORANGE, GREEN, PURPLE, SKY, RED, "#8c6d31", INK]

STATUSES = ["usable", "usable with caution", "not usable", "no verdict"]
STATUS_COLOURS = ["#00805d", "#d98e00", RED, MUTED]
STATUS_SHAPES = ["circle", "diamond", "cross", "square"]

PREDICTORS = {"llc": "λ̂", "noise_only": "noise only", "loss": "held-out loss", "log_step": "log2 step"}
"""The quantity whose fit is asked for, then its controls: name in the summary -> name in figures."""

HALF, HEIGHT = 430, 275
"""Plot size in pixels of a figure that takes half the page's width."""

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "white",
    "padding": 6,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 11,
        "labelColor": "#4b535b",
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "titleColor": INK,
        "titlePadding": 8,
        "gridColor": "#eceef0",
        "domainColor": "#8c959f",
        "tickColor": "#8c959f",
        "tickSize": 4,
    },
    "legend": {
        "labelFontSize": 11,
        "labelColor": "#3b4249",
        "titleFontSize": 11,
        "titleFontWeight": 600,
        "titleColor": INK,
        "labelLimit": 220,
        "symbolSize": 85,
        "rowPadding": 3,
    },
    "title": {
        "anchor": "start",
        "fontSize": 12.5,
        "fontWeight": 600,
        "color": INK,
        "subtitleFontSize": 11,
        "subtitleColor": MUTED,
        "subtitlePadding": 4,
        "offset": 10,
    },
    "text": {"font": FONT, "color": INK},
    "concat": {"spacing": 24},
}


def spec(chart: alt.TopLevelMixin, *, validate: bool = False) -> dict[str, Any]:
    """The chart as a Vega-Lite specification in the house style; validation takes seconds, and is for tests."""
    return {**chart.to_dict(validate=validate), "config": CONFIG}


def values(rows: list[Row]) -> dict[str, Any]:
    """Rows as a chart's inline data; every encoding names its type, so nothing is inferred.

    As one text, since altair copies a chart's data, row by row, each time that charts are put together.
    """
    return {"values": json.dumps(rows, allow_nan=False), "format": {"type": "json"}}


def has_step(row: Row) -> bool:
    """Whether the row has a place on a log axis of steps."""
    return finite(row.get("step")) and row["step"] > 0


def by_step(rows: list[Row]) -> bool:
    """Whether a series goes along a log axis of steps (else along its labels)."""
    return len({row["step"] for row in rows if has_step(row)}) >= 2


def series_axis(rows: list[Row]) -> tuple[alt.X, list[Row]]:
    """The x axis of a series and the rows that have a place on it.

    Steps on a log axis, ticks at the checkpoints; labels in the series' order where steps are unknown.
    """
    if not by_step(rows):
        order = list(dict.fromkeys(row["short"] for row in rows))
        axis = alt.Axis(title="checkpoint", labelAngle=0 if len(order) < 6 else -40, grid=False)
        return alt.X("short:N", sort=order, axis=axis), rows
    shown = [row for row in rows if has_step(row)]
    steps = sorted({row["step"] for row in shown})
    stretch = (steps[-1] / steps[0]) ** 0.03
    scale = alt.Scale(type="log", base=2, domain=[steps[0] / stretch, steps[-1] * stretch], nice=False)
    label = "datum.value >= 10000 ? format(datum.value, '~s') : format(datum.value, '~g')"
    axis = alt.Axis(title="training step", values=steps, labelOverlap="greedy", labelSeparation=4, labelExpr=label)
    return alt.X("step:Q", scale=scale, axis=axis), shown


def status_scales(rows: list[Row]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of marks by verdict; the legend names only statuses that occur."""
    found = [status for status in STATUSES if any(row["status"] == status for row in rows)]
    at = [STATUSES.index(status) for status in found]
    legend = alt.Legend(title="verdict", orient="top", direction="horizontal", titleOrient="left", offset=8)
    colours = alt.Scale(domain=found, range=[STATUS_COLOURS[i] for i in at])
    shapes = alt.Scale(domain=found, range=[STATUS_SHAPES[i] for i in at])
    colour = alt.Color("status:N", scale=colours, legend=legend)
    return colour, alt.Shape("status:N", scale=shapes, legend=legend)


def order_colour(rows: list[Row], title: str) -> alt.Color:
    """Colour that runs with a series' order, light enough to see and dark enough to read."""
    order = list(dict.fromkeys(row["short"] for row in sorted(rows, key=lambda row: row["order"])))
    legend = alt.Legend(title=title, symbolType="stroke", symbolStrokeWidth=3, columns=1 + len(order) // 15)
    legend = legend if len(order) > 1 else None
    scale = alt.Scale(domain=order, scheme=alt.SchemeParams(name="viridis", extent=[0.02, 0.9]))
    return alt.Color("short:N", sort=order, scale=scale, legend=legend)
