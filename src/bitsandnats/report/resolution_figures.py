"""The resolution curve: λ̂ against nβ, and the λ that it is extrapolated to."""

from typing import Any

import altair as alt

from bitsandnats.report.numbers import finite
from bitsandnats.report.style import BLUE, HALF, HEIGHT, INK, MUTED, order_colour, values
from bitsandnats.report.tables import Row


def resolution_figure(summary: dict[str, Any]) -> alt.TopLevelMixin | None:
    """λ̂ (nats) with 95 % intervals at each nβ (log axis), dashed the extrapolation; one colour a checkpoint."""
    curves = [
        (str(row["label"]), row["llc"]["resolution"])
        for row in summary.get("checkpoints") or []
        if row.get("llc") and row["llc"].get("resolution")
    ]
    points: list[Row] = [
        {
            "label": label,
            "nbeta": point["nbeta"],
            "llc": point["llc"],
            "low": point["llc"] - 1.96 * (point["se"] or 0),
            "high": point["llc"] + 1.96 * (point["se"] or 0),
        }
        for label, curve in curves
        for point in curve["points"]
        if finite(point["llc"])
    ]
    if not points:
        return None
    limits: list[Row] = [
        {"label": label, "limit": curve["llc"], "said": f"λ = {curve['llc']:.4g} ± {curve['se']:.2g}"}
        for label, curve in curves
        if finite(curve["llc"])
    ]
    x = alt.X("nbeta:Q", title="nβ (log scale)", scale=alt.Scale(type="log", nice=False, padding=14))
    y = alt.Y("llc:Q", title="λ̂, nats", scale=alt.Scale(zero=True, nice=True))
    alone = len(curves) == 1
    colour: Any = alt.value(BLUE) if alone else order_colour([{"label": label} for label, _ in curves], "checkpoint")
    base = alt.Chart(values(points))
    dashed = alt.Chart(values(limits))
    layers = [
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour),
        base.mark_rule(color=INK).encode(x=x, y=alt.Y("low:Q", title="λ̂, nats"), y2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=x, y=y, color=colour, tooltip=[alt.Tooltip("label:N"), alt.Tooltip("nbeta:Q"), alt.Tooltip("llc:Q")]
        ),
    ]
    if limits:
        at = alt.Y("limit:Q", title="λ̂, nats")
        layers.append(dashed.mark_rule(color=MUTED, strokeDash=[5, 4]).encode(y=at))
        if alone:
            text = dashed.mark_text(align="left", dx=4, dy=-7, color=MUTED, fontSize=11)
            layers.append(text.encode(y=at, x=alt.XValue(0), text="said:N"))
    return alt.layer(*layers).properties(
        width=HALF, height=HEIGHT, description="Local learning coefficient against inverse temperature"
    )
