"""Figures of the compressibility study: suites side by side, with the figures of single studies as panels."""

from collections.abc import Callable
from typing import Any

import altair as alt

from bitsandnats.report.bits_figures import bits_figure
from bitsandnats.report.figures import Figure
from bitsandnats.report.fit_figures import fit_panel, merged
from bitsandnats.report.levels import level_axis
from bitsandnats.report.numbers import finite
from bitsandnats.report.series_figures import critical_figure, llc_figure
from bitsandnats.report.style import BLUE, MUTED, ORANGE, PREDICTORS, values
from bitsandnats.report.tables import Row, Tables, checkpoint_rows, critical_rows

SETTINGS = {"local": "local settings", "published": "published settings"}
_COLOURS = {"local": BLUE, "published": ORANGE}
_PANEL, _BAND = 250, 34
_PRUNED = {"retrained": "retrained", "pruned": "without retraining"}


def compressibility_figures(summary: dict[str, Any], studies: dict[str, Tables]) -> list[Figure]:
    """Every figure for which there are numbers.

    Args:
        summary: of the run.
        studies: what the suites' studies hold, by suite.
    """
    suites, main = summary.get("suites") or [], summary["main_tolerance"]
    scheme = summary["schemes"][0]
    found: list[Figure | None] = []
    for name, words in SETTINGS.items():
        panels = _titled(suites, lambda suite, name=name: llc_figure(_estimated(suite, name)))
        found.append(_figure((f"llc-{name}", "λ̂ over training", f"λ̂ over training, {words}"), _LLC, panels))
    panels = _titled(suites, lambda suite: critical_figure(_critical(suite, scheme), scheme))
    found.append(_figure(("critical", "critical levels", "Critical quantization over training"), _CRITICAL, panels))
    for name, words in SETTINGS.items():
        panels = [panel for suite in suites if (panel := _against(suite, summary, name)) is not None]
        title = f"Critical quantization against λ̂, {words}, ΔL = {main:g} nat"
        found.append(_figure((f"against-{name}", "fits", title), _AGAINST, panels, columns=3))
    fits = [f for f in summary["fits"] if f["scheme"] == scheme and f["tolerance"] == main and f["response"] == "level"]
    for quantity, (title, words) in _QUANTITIES.items():
        found.append(_figure((f"fits-{quantity}", "fits", title), words, _dots(fits, quantity), columns=3))
    for suite in suites:
        tables = studies.get(suite["name"])
        chart = None if tables is None else bits_figure(tables.curves, summary["tolerances"], "token")
        title = f"Schemes in bits, {suite['name']}"
        found.append(_figure((f"bits-{suite['name']}", "schemes", title), _BITS, [] if chart is None else [chart]))
    found.append(
        _figure(("pruning", "pruning", "Head pruning, smallest suite"), _PRUNING, _pruning(summary), columns=3)
    )
    return [figure for figure in found if figure is not None]


def _figure(name: tuple[str, str, str], caption: str, panels: list[Any], *, columns: int = 2) -> Figure | None:
    """The panels as one figure, where there are any."""
    if not panels:
        return None
    file, section, title = name
    chart = panels[0] if len(panels) == 1 else alt.concat(*panels, columns=columns, spacing=24)
    chart = chart.resolve_scale(color="independent", shape="independent") if len(panels) > 1 else chart
    return Figure(file, section, title, caption, chart.properties(description=title), True)


def _titled(suites: list[Row], draw: Callable[[Row], alt.TopLevelMixin | None]) -> list[Any]:
    """One panel a suite, under its name."""
    drawn = [(suite["name"], draw(suite)) for suite in suites]
    return [chart.properties(title=name) for name, chart in drawn if chart is not None]  # pyright: ignore[reportAttributeAccessIssue]


def _estimated(suite: Row, settings: str) -> list[Row]:
    """The suite's checkpoints with the estimates at some settings, as rows of a study."""
    rows = checkpoint_rows({"checkpoints": [{**row, "llc": row[settings]} for row in suite["checkpoints"]]})
    return [row for row in rows if finite(row["llc"])]


def _critical(suite: Row, scheme: str) -> list[Row]:
    return [row for row in critical_rows({"checkpoints": suite["checkpoints"]}) if row["scheme"] == scheme]


def _against(suite: Row, summary: dict[str, Any], settings: str) -> alt.TopLevelMixin | None:
    """The crossing against λ̂ with the line over the full range."""
    scheme, main = summary["schemes"][0], summary["main_tolerance"]
    critical = [row for row in _critical(suite, scheme) if row["tolerance"] == main]
    rows = [row for row in merged(_estimated(suite, settings), critical) if finite(row["llc"])]
    if len(rows) < 2:
        return None
    wanted = {"suite": suite["name"], "scheme": scheme, "tolerance": main, "settings": settings}
    wanted |= {"response": "level", "predictor": "llc"}
    fits = {f["range"]: f for f in summary["fits"] if all(f[key] == value for key, value in wanted.items())}
    said = [f"{name} range: R² {f['r2']:.2f}, {f['points']} points" for name, f in fits.items()] or ["no fit", ""]
    title = alt.Title(suite["name"], subtitle=said)
    return fit_panel(rows, "llc", fits.get("full"), level_axis(critical, scheme).unit, title)


def _dots(fits: list[Row], quantity: str) -> list[Any]:
    """One panel a suite and range: the quantity of every predictor with its interval, one colour a kind of settings."""
    panels = []
    for suite, part in dict.fromkeys((fit["suite"], fit["range"]) for fit in fits):
        own = [fit for fit in fits if (fit["suite"], fit["range"]) == (suite, part) and finite(fit[quantity])]
        rows = [
            {
                "name": PREDICTORS[fit["predictor"]],
                "settings": SETTINGS[fit["settings"]],
                "value": fit[quantity],
                "low": (fit[f"{quantity}_interval"] or [None, None])[0],
                "high": (fit[f"{quantity}_interval"] or [None, None])[1],
            }
            for fit in own
        ]
        if rows:
            panels.append(_dot_panel(rows, quantity, f"{suite}, {part} range, {own[0]['points']} points"))
    return panels


def _dot_panel(rows: list[Row], quantity: str, title: str) -> alt.TopLevelMixin:
    names = [name for name in PREDICTORS.values() if any(row["name"] == name for row in rows)]
    domain = [0, 1] if quantity == "r2" else [-1, 1]
    axis = alt.Axis(labelLimit=120, tickSize=0, domain=False, labelPadding=6)
    y = alt.Y("name:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    shift = alt.YOffset("settings:N", scale=alt.Scale(domain=list(SETTINGS.values())))
    scale = alt.Scale(domain=domain, nice=False)
    x = alt.X("value:Q", title=_AXES[quantity], scale=scale, axis=alt.Axis(tickCount=5))
    legend = alt.Legend(title=None, orient="top", direction="horizontal")
    colours = alt.Scale(domain=list(SETTINGS.values()), range=list(_COLOURS.values()))
    colour = alt.Color("settings:N", scale=colours, legend=legend)
    base = alt.Chart(values(rows)).encode(y=y, yOffset=shift, color=colour)
    hints = [
        alt.Tooltip("name:N"),
        alt.Tooltip("settings:N"),
        alt.Tooltip("value:Q", format=".3f"),
        alt.Tooltip("low:Q", format=".3f"),
        alt.Tooltip("high:Q", format=".3f"),
    ]
    layers = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2, opacity=0.55)
        .encode(x=alt.X("low:Q", title=_AXES[quantity], scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, tooltip=hints),
    ]
    return alt.layer(*layers, width=_PANEL, height=_BAND * len(names), title=alt.Title(title, limit=_PANEL + 60))


def _pruning(summary: dict[str, Any]) -> list[Any]:
    """One panel a checkpoint: ΔL against the fraction of heads kept, with and without retraining."""
    rows = [row for row in summary.get("pruning") or [] if not row["failed"]]
    panels = []
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [
            {
                "fraction": row["fraction"],
                "kind": words,
                "excess": row[name],
                "low": row[name] - 1.96 * row[f"{name}_se"],
                "high": row[name] + 1.96 * row[f"{name}_se"],
            }
            for row in rows
            if row["label"] == label
            for name, words in _PRUNED.items()
        ]
        x = alt.X("fraction:Q", title="fraction of heads kept", scale=alt.Scale(domain=[0, 1.05], nice=False))
        y = alt.Y("excess:Q", title="ΔL, nats per token")
        legend = alt.Legend(title=None, orient="top", direction="horizontal")
        scale = alt.Scale(domain=list(_PRUNED.values()), range=[BLUE, MUTED])
        base = alt.Chart(values(own)).encode(x=x, color=alt.Color("kind:N", scale=scale, legend=legend))
        hints = [alt.Tooltip("kind:N"), alt.Tooltip("fraction:Q"), alt.Tooltip("excess:Q", format=".3f")]
        layers = [
            alt.Chart(values([{"excess": 0.0}])).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(y=y),
            base.mark_line(strokeWidth=1.8).encode(y=y),
            base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q", title="ΔL, nats per token"), y2="high:Q"),
            base.mark_point(filled=True, size=55, opacity=1).encode(y=y, tooltip=hints),
        ]
        panels.append(alt.layer(*layers, width=_PANEL, height=190, title=str(label)))
    return panels


_AXES = {"r2": "R²", "partial": "partial correlation given log2 step"}
_LLC = (
    "λ̂ in nats with 95 % intervals, marks by verdict, one panel a suite; dashed, in grey, what pure weight noise of "
    "the chain's variance gives with no likelihood (nβ = 0). Where the two move together λ̂ tells little beyond "
    "sensitivity to noise. Vertical axes differ, and suites compare only at equal nβ, γ and unit."
)
_CRITICAL = (
    "The interpolated n_q at which ΔL equals each tolerance (labelled, nats a token), 95 % intervals, range of the "
    "weights chosen by the loss. Hollow points are censored: n_q = 4 already meets the tolerance."
)
_AGAINST = (
    "One point a checkpoint, labelled by its step; the line is the fit over the full range, hollow points are left out "
    "of it. Checkpoints of one training run are not independent: any two quantities that grow during training "
    "correlate. The controls are in the figure below."
)
_QUANTITIES = {
    "r2": (
        "R² of the critical level by predictor",
        "Straight-line fits of critical n_q at the main tolerance, over the same checkpoints for all predictors of a "
        "colour; bars are 95 % intervals of a bootstrap over checkpoints. λ̂ explains something of its own only where "
        "its mark stands clear of those below it. R² does not show that a fit falls; the table does.",
    ),
    "partial": (
        "Partial correlation given log2 step",
        "Correlation with critical n_q at the main tolerance once the straight-line effect of log2 step is taken from "
        "both; bars are 95 % intervals of a bootstrap over checkpoints. Positive is what the theory expects of λ̂. "
        "Intervals from −1 to 1 say that there are too few checkpoints for an answer.",
    ),
}
_BITS = (
    "ΔL, nats per token, against the length of the whole description in bits a parameter: values, ranges, ranks, and "
    "fixed parameters. Lower and further left is better. Schemes without a code (noise) have no place here."
)
_PRUNING = (
    "ΔL on held-out text when random heads are set to zero, with and without training on at a tenth of the training "
    "rate, 95 % intervals over items and choices of heads. At a fraction of 1 nothing is pruned: what retraining alone "
    "gains. No critical fraction is given."
)
