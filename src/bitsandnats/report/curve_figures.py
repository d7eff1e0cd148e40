"""Figures of what was measured at each checkpoint: the loss under compression, the loss along the chains."""

import altair as alt

from bitsandnats.report.levels import level_axis, stretched
from bitsandnats.report.numbers import Number, finite
from bitsandnats.report.style import CHAINS, HALF, HEIGHT, INK, MUTED, order_colour, values
from bitsandnats.report.tables import Row


def curves_figure(rows: list[Row], tolerances: list[Number], scheme: str, unit: str) -> alt.TopLevelMixin | None:
    """ΔL (nats a unit) against the level of compression, one curve a checkpoint, tolerances dashed.

    The axes end above the largest tolerance and beside the levels around it: what lies beyond decides nothing.
    """
    rows = [row for row in rows if row["scheme"] == scheme]
    if not rows:
        return None
    top = 1.35 * max(
        [tolerance for tolerance in tolerances if finite(tolerance)] or [max(row["excess"] for row in rows)]
    )
    bottom = min(-0.04 * top, max(min(row["excess"] for row in rows), -0.25 * top))
    shown = level_axis(rows, scheme)
    inside = [row["level"] for row in rows if 0.02 * top < row["excess"] < 1.2 * top]
    levels = [row["level"] for row in rows]
    ends = stretched(inside or levels, log=shown.base > 0, within=levels)
    x = alt.X("level:Q", title=shown.title, scale=shown.scale(ends), axis=shown.axis(ends))
    title = f"ΔL, nats per {unit}"
    y = alt.Y("excess:Q", title=title, scale=alt.Scale(domain=[bottom, top], nice=False, clamp=False))
    colour = order_colour(rows, "step" if all(row["short"][:1].isdigit() for row in rows) else "checkpoint")
    hints = [
        alt.Tooltip("label:N"),
        alt.Tooltip("level:Q", title=shown.unit, format=".4g"),
        alt.Tooltip("excess:Q", title="ΔL", format=".3g"),
        alt.Tooltip("se:Q", title="s.e.", format=".2g"),
    ]
    base = alt.Chart(values(rows))
    lines = [{"excess": tolerance, "text": f"{tolerance:g} nat"} for tolerance in tolerances if finite(tolerance)]
    rules = alt.Chart(values(lines))
    zero = alt.Chart(values([{"excess": 0}]))
    high, low = ([row["level"] for row in rows if (row["excess"] > 0.3 * top) == beyond] for beyond in (True, False))
    rising = bool(high and low) and sum(high) / len(high) > sum(low) / len(low)
    side, edge = ("left", 4) if rising else ("right", HALF)  # where the curves are low
    return alt.layer(
        zero.mark_rule(color="#8c959f", strokeWidth=0.8).encode(y=y),
        rules.mark_rule(color=MUTED, strokeDash=[4, 4], strokeWidth=1).encode(y=y),
        rules.mark_text(align=side, dy=-6, color=MUTED, fontSize=11).encode(y=y, x=alt.XValue(edge), text="text:N"),
        base.mark_line(strokeWidth=1.6, clip=True).encode(x=x, y=y, color=colour),
        base.mark_point(filled=True, size=22, opacity=1, clip=True).encode(x=x, y=y, color=colour, tooltip=hints),
    ).properties(width=HALF, height=HEIGHT, description=f"Loss increase against {shown.title} for each checkpoint")


def traces_figure(rows: list[Row]) -> alt.TopLevelMixin | None:
    """Loss along every chain, one panel a checkpoint: burn-in shaded, the loss at w* as a line."""
    rows = [row for row in rows if row["value"] is not None]
    orders = sorted({row["order"] for row in rows})
    if not orders:
        return None
    columns = min(3, len(orders))
    panels = [
        _trace_panel(
            [row for row in rows if row["order"] == order], width=640 if columns == 1 else 1110 // columns - 68
        )
        for order in orders
    ]
    shown = values([{key: row[key] for key in ("order", "draw", "chain", "part", "value")} for row in rows])
    description = "Loss of the draws of every chain, one panel a checkpoint"
    return alt.concat(*panels, data=shown, columns=columns, spacing=18, description=description)


def _trace_panel(rows: list[Row], *, width: int) -> alt.LayerChart | alt.FacetChart:
    """One checkpoint's chains."""
    first = rows[0]
    ends = [min(row["draw"] for row in rows), max(row["draw"] for row in rows) + 1]
    title = "L(w) − L(w*), nats" if first["paired"] else "loss, nats"
    x = alt.X(
        "draw:Q",
        title="draw",
        scale=alt.Scale(domain=ends, nice=False),
        axis=alt.Axis(tickCount=5, format="~s", grid=False),
    )
    y = alt.Y(
        "value:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=3, labelFlush=True)
    )
    chains = sorted({row["chain"] for row in rows})
    legend = alt.Legend(orient="top", title="chain", direction="horizontal", titleOrient="left", symbolType="stroke")
    colour = alt.Color("chain:O", scale=alt.Scale(domain=chains, range=CHAINS), legend=legend)
    layers: list[alt.Chart] = []
    if ends[0] < 0:
        band = alt.Chart(values([{"draw": ends[0], "stop": 0}]))
        layers.append(band.mark_rect(color="#eef0f2", opacity=1).encode(x=x, x2="stop:Q"))
    for part, opacity in (("burn_in", 0.45), ("draws", 0.9)):
        shown = alt.Chart().transform_filter(f"datum.order == {first['order']} && datum.part == '{part}'")
        layers.append(shown.mark_line(strokeWidth=1, opacity=opacity).encode(x=x, y=y, color=colour))
    marks = [("center", INK, [1, 0], 1), ("noise", MUTED, [5, 4], 1.2)]
    for key, ink, dash, stroke in marks:
        if first[key] is not None:
            rule = alt.Chart(values([{"value": first[key]}]))
            layers.append(rule.mark_rule(color=ink, strokeDash=dash, strokeWidth=stroke).encode(y=y))
    if first["mean"] is not None and ends[1] > 0:
        mean = alt.Chart(values([{"value": first["mean"], "draw": 0, "stop": ends[1]}]))
        layers.append(mean.mark_rule(color=INK, strokeWidth=2).encode(x=x, x2="stop:Q", y=y))
    status = first["status"] or "no verdict"
    title = alt.Title(str(first["label"]), subtitle=status, offset=6, limit=width)
    return alt.layer(*layers, width=width, height=120, title=title)
