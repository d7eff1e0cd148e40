"""The figure of all fits at once: predictor by tolerance, for each response and each way of asking."""

import altair as alt

from bitsandnats.report.numbers import DASH, Number, finite
from bitsandnats.report.style import INK, MUTED, PREDICTORS, values
from bitsandnats.report.tables import Row

PANEL_WIDTH, CELL_HEIGHT = 296, 28

RESPONSES = {"level": "crossing", "log2_level": "log2 of the crossing"}
QUANTITIES = {"r2": "R²", "difference_r2": "R² of first differences", "partial": "partial r given log2 step"}


def controls_figure(fits: list[Row]) -> alt.TopLevelMixin | None:
    """R², R² of first differences and partial correlation of every fit as heat tables.

    Args:
        fits: the fits of one scheme.
    """
    if not fits:
        return None
    tolerances = sorted({fit["tolerance"] for fit in fits if finite(fit["tolerance"])})
    responses = [name for name in RESPONSES if any(fit["response"] == name for fit in fits)]
    bands = [
        alt.hconcat(
            *(_panel(fits, response, quantity, tolerances, names=at == 0) for at, quantity in enumerate(QUANTITIES)),
            spacing=22,
        )
        for response in responses
    ]
    chart = alt.vconcat(*bands, spacing=20) if bands else None
    return chart.properties(description="Fits of the critical level by predictor and tolerance") if chart else None


def cells(fits: list[Row], response: str, quantity: str, tolerances: list[Number]) -> list[Row]:
    """One row a cell: value, printed text, ink that is readable on the cell's colour."""
    found = {(fit["predictor"], fit["tolerance"]): fit for fit in fits if fit["response"] == response}
    rows = []
    for predictor, name in PREDICTORS.items():
        for tolerance in tolerances:
            fit = found.get((predictor, tolerance)) or {}
            value = fit.get(quantity)
            star = "*" if finite(value) and fit.get("subset") == "all" else ""
            text = f"{value:.2f}{star}".replace("-", "\u2212") if finite(value) else DASH
            ink = "white" if finite(value) and abs(value) > 0.62 else INK if finite(value) else MUTED
            place = {"predictor": name, "tolerance": f"{tolerance:g}", "points": fit.get("points")}
            rows.append({**place, "value": value if finite(value) else None, "text": text, "ink": ink})
    return rows


def _panel(
    fits: list[Row], response: str, quantity: str, tolerances: list[Number], *, names: bool
) -> alt.LayerChart | alt.FacetChart:
    """One heat table."""
    rows = cells(fits, response, quantity, tolerances)
    x = alt.X(
        "tolerance:N",
        sort=[f"{value:g}" for value in tolerances],
        title="tolerance, nats",
        axis=alt.Axis(labelAngle=0, domain=False, ticks=False, orient="bottom", titleFontSize=11),
    )
    axis = alt.Axis(domain=False, ticks=False, labels=names, labelFontSize=12, labelPadding=8)
    y = alt.Y("predictor:N", sort=list(PREDICTORS.values()), title=None, axis=axis)
    signed = quantity == "partial"
    scheme = (
        alt.SchemeParams(name="purpleorange", extent=[1, 0])
        if signed
        else alt.SchemeParams(name="blues", extent=[0, 1])
    )
    scale = alt.Scale(domain=[-1, 1] if signed else [0, 1], scheme=scheme, clamp=True)
    base = alt.Chart(values(rows))
    known = base.transform_filter("isValid(datum.value)")
    hints = [
        alt.Tooltip("predictor:N"),
        alt.Tooltip("tolerance:N"),
        alt.Tooltip("text:N", title=QUANTITIES[quantity]),
        alt.Tooltip("points:Q"),
    ]
    return alt.layer(
        base.mark_rect(stroke="white", strokeWidth=2, color="#f3f4f6").encode(x=x, y=y),
        known.mark_rect(stroke="white", strokeWidth=2).encode(
            x=x, y=y, color=alt.Color("value:Q", scale=scale, legend=None), tooltip=hints
        ),
        base.mark_text(fontSize=11.5).encode(x=x, y=y, text="text:N", color=alt.Color("ink:N", scale=None)),
        width=min(PANEL_WIDTH, 96 * len(tolerances)),
        height=CELL_HEIGHT * len(PREDICTORS),
        title=alt.Title(QUANTITIES[quantity], subtitle=f"response: {RESPONSES[response]}", offset=6),
    ).resolve_scale(color="independent")
