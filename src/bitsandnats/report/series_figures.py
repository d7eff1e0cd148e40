"""Figures along the series of checkpoints: LLC, loss, critical level."""

import math

import altair as alt

from bitsandnats.report.levels import level_axis, stretched
from bitsandnats.report.numbers import Number, finite
from bitsandnats.report.style import (
    BLUE,
    HALF,
    HEIGHT,
    INK,
    MUTED,
    STATUSES,
    series_axis,
    status_scales,
    values,
)
from bitsandnats.report.tables import Row


def llc_figure(rows: list[Row]) -> alt.TopLevelMixin | None:
    """λ̂ (nats) with 95 % intervals along the series, marks by verdict, the noise-only control beside it."""
    rows = [{**row, "status": row["status"] or STATUSES[-1]} for row in rows if finite(row["llc"])]
    if not rows:
        return None
    if len(rows) == 1:
        return _single_llc(rows[0])
    x, rows = series_axis(rows)
    noise = [row for row in rows if finite(row["noise_only"])]
    y = alt.Y("llc:Q", title="nats", scale=alt.Scale(zero=True, nice=True))
    colour, shape = status_scales(rows)
    hints = [
        alt.Tooltip("label:N"),
        alt.Tooltip("llc:Q", title="λ̂", format=".4g"),
        alt.Tooltip("se:Q", title="s.e.", format=".2g"),
        alt.Tooltip("noise_only:Q", title="noise only", format=".4g"),
        alt.Tooltip("status:N", title="verdict"),
    ]
    control, base = alt.Chart(values(noise)), alt.Chart(values(rows))
    control_y = alt.Y("noise_only:Q", title="nats")
    layers = [
        control.mark_line(color="#a4abb3", strokeDash=[5, 4], strokeWidth=1.4).encode(x=x, y=control_y),
        control.mark_rule(color="#a4abb3").encode(x=x, y=alt.Y("noise_low:Q", title="nats"), y2="noise_high:Q"),
        control.mark_point(color="#8c959f", fill="white", shape="square", size=34, opacity=1).encode(
            x=x, y=control_y, tooltip=hints
        ),
        base.mark_line(color=BLUE, strokeWidth=1.8).encode(x=x, y=y),
        base.mark_rule(color=INK, strokeWidth=1.2).encode(x=x, y=alt.Y("low:Q", title="nats"), y2="high:Q"),
        base.mark_point(filled=True, size=110, opacity=1, stroke="white", strokeWidth=0.8).encode(
            x=x, y=y, color=colour, shape=shape, tooltip=hints
        ),
        *_end_labels(x, [(rows[-1:], "llc", "λ̂", BLUE), (noise[-1:], "noise_only", "noise only", MUTED)]),
    ]
    layers = layers if noise else layers[3:]
    return alt.layer(*layers).properties(
        width=HALF, height=HEIGHT, description="Local learning coefficient and noise-only control along the series"
    )


def loss_figure(rows: list[Row], chance: Number | None, unit: str) -> alt.TopLevelMixin | None:
    """Loss at the weights (nats a unit) with 95 % intervals along the series, chance as a dashed line."""
    rows = [row for row in rows if finite(row["loss"])]
    if len(rows) < 2:
        return None
    x, rows = series_axis(rows)
    y = alt.Y("loss:Q", title=f"nats per {unit}", scale=alt.Scale(zero=False, nice=True))
    hints = [alt.Tooltip("label:N"), alt.Tooltip("loss:Q", format=".4g"), alt.Tooltip("loss_se:Q", title="s.e.")]
    base = alt.Chart(values(rows))
    layers = [
        base.mark_line(color=BLUE, strokeWidth=1.8).encode(x=x, y=y),
        base.mark_rule(color=INK).encode(x=x, y=alt.Y("loss_low:Q", title=f"nats per {unit}"), y2="loss_high:Q"),
        base.mark_point(filled=True, color=BLUE, size=55, opacity=1).encode(x=x, y=y, tooltip=hints),
    ]
    if finite(chance):
        line = alt.Chart(values([{"loss": chance, "text": "chance"}]))
        layers += [
            line.mark_rule(color=MUTED, strokeDash=[5, 4]).encode(y=y),
            line.mark_text(align="right", dy=-7, color=MUTED, fontSize=11).encode(
                y=y, x=alt.XValue(HALF), text="text:N"
            ),
        ]
    return alt.layer(*layers).properties(width=HALF, height=HEIGHT, description="Held-out loss along the series")


def critical_figure(rows: list[Row], scheme: str) -> alt.TopLevelMixin | None:
    """Critical level (the interpolated crossing) along the series, one line a tolerance, censored points hollow."""
    rows = [row for row in rows if row["scheme"] == scheme and finite(row["crossing"])]
    if len({row["label"] for row in rows}) < 2:
        return None
    x, rows = series_axis(rows)
    rows = [{**row, "name": f"{row['tolerance']:g}"} for row in rows]
    tolerances = sorted({row["tolerance"] for row in rows})
    shown = level_axis(rows, scheme)
    title = f"critical {shown.title}"
    least = 0 if shown.base else -math.inf
    bounded = [row for row in rows if finite(row["low"]) and finite(row["high"]) and row["low"] > least]
    bounds = [row[key] for row in bounded for key in ("low", "high")]
    crossings = [row["crossing"] for row in rows]
    ends = stretched(crossings, log=shown.base > 0, within=[*crossings, *bounds])
    y_scale, y_axis = shown.scale(ends, padding=12), shown.axis(ends)
    colour = alt.Color(
        "name:N",
        sort=[f"{value:g}" for value in tolerances],
        scale=alt.Scale(
            domain=[f"{value:g}" for value in tolerances], scheme=alt.SchemeParams(name="plasma", extent=[0.05, 0.78])
        ),
        legend=None,
    )
    y = alt.Y("crossing:Q", title=title, scale=y_scale, axis=y_axis)
    hints = [
        alt.Tooltip("label:N"),
        alt.Tooltip("name:N", title="tolerance (nats)"),
        alt.Tooltip("crossing:Q", format=".4g"),
        alt.Tooltip("level:Q", title="most severe level within it", format=".4g"),
        alt.Tooltip("censored:N"),
    ]
    base = alt.Chart(values(rows))
    last = [
        max((row for row in rows if row["tolerance"] == value), key=lambda row: row["order"]) for value in tolerances
    ]
    layers = [
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour),
        alt.Chart(values(bounded))
        .mark_rule(strokeWidth=1.2, clip=True)
        .encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour),
        base.transform_filter("!datum.censored")
        .mark_point(filled=True, size=55, opacity=1)
        .encode(x=x, y=y, color=colour, tooltip=hints),
        base.transform_filter("datum.censored")
        .mark_point(fill="white", size=55, opacity=1, strokeWidth=1.5)
        .encode(x=x, y=y, color=colour, tooltip=hints),
        alt.Chart(values(_tolerance_labels(last, shown.base > 0, ends)))
        .mark_text(align="left", dx=9, fontSize=11)
        .encode(x=x, y=y, text="text:N", color=colour),
    ]
    return alt.layer(*layers).properties(width=HALF, height=HEIGHT, description=f"{title} along the series")


def _tolerance_labels(last: list[Row], log: bool, ends: list[Number]) -> list[Row]:
    """The last point of each tolerance's line with its name; lines that end at the same place share a label."""
    size = math.log(ends[1] / ends[0]) if log else ends[1] - ends[0]
    groups: list[list[Row]] = []
    for row in sorted(last, key=lambda row: row["crossing"]):
        before = groups[-1][-1]["crossing"] if groups else None
        apart = None if before is None else math.log(row["crossing"] / before) if log else row["crossing"] - before
        if apart is not None and apart < 0.035 * size:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [
        {**group[0], "text": f"{', '.join(sorted((row['name'] for row in group), key=float))} nat"} for group in groups
    ]


def _end_labels(x: alt.X, series: list[tuple[list[Row], str, str, str]]) -> list[alt.Chart]:
    """The name of each series at its last point."""
    return [
        alt.Chart(values([{**row, "text": name} for row in rows]))
        .mark_text(align="left", dx=10, color=colour, fontSize=12, fontWeight=600)
        .encode(x=x, y=alt.Y(f"{column}:Q", title="nats"), text="text:N")
        for rows, column, name, colour in series
        if rows
    ]


def _single_llc(row: Row) -> alt.TopLevelMixin:
    """One estimate and its control as two intervals on one axis."""
    names = ["λ̂", "noise only"]
    pairs = [
        (names[0], row["llc"], row["low"], row["high"]),
        (names[1], row["noise_only"], row["noise_low"], row["noise_high"]),
    ]
    rows = [
        {"name": name, "value": value, "low": low, "high": high} for name, value, low, high in pairs if finite(value)
    ]
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelFontSize=13, ticks=False, domain=False))
    x = alt.X("value:Q", title="nats", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=7))
    colour = alt.Color("name:N", scale=alt.Scale(domain=names, range=[BLUE, "#8c959f"]), legend=None)
    base = alt.Chart(values(rows))
    return alt.layer(
        base.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q", title="nats"), x2="high:Q", color=colour),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            y=y, x=x, color=colour, tooltip=[alt.Tooltip("name:N"), alt.Tooltip("value:Q", format=".4g")]
        ),
    ).properties(width=HALF, height=90, description="Local learning coefficient and its noise-only control")
