"""The critical level against λ̂ at every tolerance: whether a fit depends on how much loss is allowed."""

import altair as alt

from bitsandnats.report.fit_figures import fit_panel, merged
from bitsandnats.report.numbers import Number, finite
from bitsandnats.report.tables import Row


def tolerances_figure(
    points: list[Row], critical: list[Row], fits: list[Row], unit: str, tolerances: list[Number]
) -> alt.TopLevelMixin | None:
    """The crossing against λ̂ (nats), one panel a tolerance, each with its own vertical axis and its linear fit.

    Tolerances that the most severe level meets throughout have no panel.

    Args:
        points: one row a checkpoint.
        critical: the rows of one scheme.
        fits: the fits of that scheme with response `level`.
        unit: of the level.
        tolerances: nats a unit of the loss.
    """
    panels = []
    for tolerance in sorted(value for value in tolerances if finite(value)):
        rows = merged(points, [row for row in critical if row["tolerance"] == tolerance])
        rows = [row for row in rows if finite(row["llc"])]
        fit = next((f for f in fits if f["tolerance"] == tolerance and f["predictor"] == "llc"), None)
        if len(rows) < 2 or all(row["censored"] for row in rows):
            continue
        r2 = f"R² {fit['r2']:.2f}, {fit['points']} points" if fit is not None and finite(fit["r2"]) else "no fit"
        panels.append(fit_panel(rows, "llc", fit, unit, alt.Title(f"ΔL = {tolerance:g} nat", subtitle=r2)))
    if len(panels) < 2:
        return None
    description = "Critical level against the local learning coefficient, one panel a tolerance, with linear fits"
    return alt.concat(*panels, columns=4, spacing=14).properties(description=description)
