"""Schemes in one currency: the loss that each costs against the bits that it leaves."""

import math
from typing import Any

import altair as alt

from bitsandnats.report.levels import stretched
from bitsandnats.report.numbers import Number, finite
from bitsandnats.report.style import CHAINS, MUTED, values
from bitsandnats.report.tables import Row

_PANELS = 6
_COLUMNS = 3
_WIDTH, _HEIGHT = 312, 190


def bits_figure(curves: list[Row], tolerances: list[Number], unit: str) -> alt.TopLevelMixin | None:
    """ΔL (nats a unit) against the description length (bits a parameter, log axis), one line a scheme.

    One panel a checkpoint, of at most six spread over those that reach the smallest tolerance. Only where at least two
    schemes have a length.
    """
    rows = [row for row in curves if finite(row.get("bits")) and row["bits"] > 0]
    schemes = list(dict.fromkeys(row["scheme"] for row in rows))
    if len(schemes) < 2:
        return None
    least = min([t for t in tolerances if finite(t)], default=0.0)
    reaching = {row["order"] for row in rows if row["excess"] > least}
    chosen = _spread(sorted(reaching or {row["order"] for row in rows}))
    top = 1.35 * max([t for t in tolerances if finite(t)] or [max(row["excess"] for row in rows)])
    rows = [row for row in rows if row["order"] in chosen]
    inside = [row["bits"] for row in rows if 0.01 * top < row["excess"] < 1.2 * top] or [row["bits"] for row in rows]
    ends = stretched(inside, log=True, within=[row["bits"] for row in rows])
    ticks = [2.0**k for k in range(-6, 8)] + [1.5 * 2.0**k for k in range(-6, 7) if ends[1] / ends[0] < 12]
    scale = alt.Scale(type="log", base=2, domain=ends, nice=False)
    axis = alt.Axis(values=sorted(ticks), format="~g", grid=False, labelOverlap="greedy")
    x = alt.X("bits:Q", title="bits a parameter (log scale)", scale=scale, axis=axis)
    y = alt.Y("excess:Q", title=f"ΔL, nats per {unit}", scale=alt.Scale(domain=[-0.04 * top, top], nice=False))
    legend = alt.Legend(title="scheme", orient="top", direction="horizontal", titleOrient="left", columns=6)
    colour = alt.Color("scheme:N", sort=schemes, scale=alt.Scale(domain=schemes, range=CHAINS), legend=legend)
    hints = [
        alt.Tooltip("scheme:N"),
        alt.Tooltip("level:Q", format=".4g"),
        alt.Tooltip("bits:Q", title="bits a parameter", format=".4g"),
        alt.Tooltip("excess:Q", title="ΔL", format=".3g"),
    ]
    lines = alt.Chart(values([{"excess": tolerance} for tolerance in tolerances if finite(tolerance)]))
    panels = []
    for order in chosen:
        own = [row for row in rows if row["order"] == order]
        base: Any = alt.Chart(values(own))
        panels.append(
            alt.layer(
                lines.mark_rule(color=MUTED, strokeDash=[4, 4], strokeWidth=1).encode(y=y),
                base.mark_line(strokeWidth=1.8, clip=True).encode(x=x, y=y, color=colour),
                base.mark_point(filled=True, size=26, opacity=1, clip=True).encode(
                    x=x, y=y, color=colour, tooltip=hints
                ),
                width=_WIDTH,
                height=_HEIGHT,
                title=alt.Title(str(own[0]["label"]), offset=6, limit=_WIDTH),
            )
        )
    description = "Loss increase against description length, one line a scheme, one panel a checkpoint"
    return alt.concat(*panels, columns=_COLUMNS, spacing=22, description=description)


def _spread(orders: list[int]) -> list[int]:
    """At most six of them, evenly spread, the last among them."""
    count = min(_PANELS, len(orders))
    step = (len(orders) - 1) / max(count - 1, 1)
    return [orders[len(orders) - 1 - math.floor(k * step + 0.5)] for k in reversed(range(count))]
