"""Figures of the fits: critical level against λ̂ and, on the same footing, against each control."""

import math
from typing import NamedTuple

import altair as alt

from bitsandnats.report.numbers import Number, finite, interval, number
from bitsandnats.report.style import BLUE, PREDICTORS, values
from bitsandnats.report.tables import Row

PANEL_WIDTH, PANEL_HEIGHT = 226, 226

_COLUMNS = {"llc": "llc", "noise_only": "noise_only", "loss": "loss", "log_step": "step"}
_UNITS = {
    "llc": "λ̂, nats",
    "noise_only": "noise-only excess, nats",
    "loss": "held-out loss, nats",
    "log_step": "training step (log scale)",
}


class Axis(NamedTuple):
    """A numeric axis whose ends are known, so that labels can be placed before drawing."""

    low: float
    high: float
    size: int
    log: bool

    def pixel(self, value: Number) -> float:
        """Distance from the axis's start."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.size * (value - low) / (high - low)

    def value(self, pixel: float) -> float:
        """The value at a distance from the axis's start."""
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        found = low + (high - low) * pixel / self.size
        return math.exp(found) if self.log else found


def fits_figure(
    points: list[Row], critical: list[Row], fits: list[Row], unit: str = "level"
) -> alt.TopLevelMixin | None:
    """The crossing against λ̂ and each control, one panel each, with the linear fit that the summary holds.

    Args:
        points: one row a checkpoint.
        critical: the rows of one scheme and one tolerance.
        fits: the fits of that scheme, that tolerance and response `level`.
        unit: of the level.
    """
    rows = merged(points, critical)
    present = [name for name in PREDICTORS if any(_place(row, name) is not None for row in rows)]
    if len(rows) < 2 or not present:
        return None
    by_predictor = {fit["predictor"]: fit for fit in fits}
    best = max((fit["r2"] for fit in fits if finite(fit["r2"])), default=None)
    titles = {name: _title(name, by_predictor.get(name), best) for name in present}
    panels = [fit_panel(rows, name, by_predictor.get(name), unit, titles[name]) for name in present]
    return alt.hconcat(*panels, spacing=14).properties(
        description="Critical level against the local learning coefficient and against each control, with linear fits"
    )


def merged(points: list[Row], critical: list[Row]) -> list[Row]:
    """The checkpoints at which a crossing was found, with it; ends of λ̂'s interval as `llc_low`, `llc_high`."""
    by_label = {row["label"]: row for row in critical if finite(row["crossing"])}
    return [
        {**point, "llc_low": point["low"], "llc_high": point["high"], **by_label[point["label"]]}
        for point in points
        if point["label"] in by_label
    ]


def fit_panel(
    rows: list[Row], predictor: str, fit: Row | None, unit: str, title: alt.Title
) -> alt.LayerChart | alt.FacetChart:
    """One predictor: points, those left out of the fit hollow, labels, the fit's line; rows from `merged`."""
    ends = [row["crossing"] for row in rows]
    span = max(ends) - min(ends) or abs(max(ends))  # an interval far wider than the series does not set the axis
    bounds = [row[key] for row in rows for key in ("low", "high") if finite(row[key])]
    ends += [bound for bound in bounds if min(ends) - span <= bound <= max(ends) + span]
    return _panel(_points(rows, predictor, fit), predictor, fit, _axis(ends, size=PANEL_HEIGHT, log=False), title, unit)


def _points(rows: list[Row], predictor: str, fit: Row | None) -> list[Row]:
    """The rows that have a place on the predictor's axis, with whether the fit used them."""
    used = set((fit or {}).get("labels") or [])
    points: list[Row] = []
    for row in rows:
        place = _place(row, predictor)
        if place is not None:
            point = {key: row[key] for key in ("label", "short", "crossing", "low", "high", "censored")}
            ends = [row["llc_low"], row["llc_high"]] if predictor == "llc" else [None, None]
            points.append(point | {"x": place, "x_low": ends[0], "x_high": ends[1], "used": row["label"] in used})
    return points


def _panel(
    points: list[Row], predictor: str, fit: Row | None, y: Axis, title: alt.Title, unit: str
) -> alt.LayerChart | alt.FacetChart:
    x = _axis([point["x"] for point in points], size=PANEL_WIDTH, log=predictor == "log_step")
    pixels = [(x.pixel(point["x"]), y.pixel(point["crossing"])) for point in points]
    labels = place_labels(pixels, [point["short"] for point in points], x, y)
    points = [
        point | {"text_x": x.value(left), "text_y": y.value(up)}
        for point, (left, up) in zip(points, labels, strict=True)
    ]
    ink = BLUE if predictor == "llc" else "#57606a"
    ends = [x.low, x.high]
    x_scale = alt.Scale(type="log", base=2, domain=ends, nice=False) if x.log else _linear(ends)
    expression = "datum.value >= 10000 ? format(datum.value, '~s') : format(datum.value, '~g')"
    x_axis = alt.Axis(tickCount=4, labelExpr=expression, labelOverlap="greedy", labelSeparation=6)
    encode_x = alt.X("x:Q", title=_UNITS[predictor], scale=x_scale, axis=x_axis)
    y_title = f"critical {unit} (crossing)"
    encode_y = alt.Y("crossing:Q", title=y_title, scale=_linear([y.low, y.high]), axis=alt.Axis(tickCount=6))
    base = alt.Chart(values(points))
    hints = [
        alt.Tooltip("label:N"),
        alt.Tooltip("x:Q", title=PREDICTORS[predictor], format=".4g"),
        alt.Tooltip("crossing:Q", format=".4g"),
        alt.Tooltip("used:N", title="in the fit"),
        alt.Tooltip("censored:N"),
    ]
    layers = [
        *_line(points, predictor, fit, encode_x, encode_y, ink),
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(color=ink, opacity=0.55, clip=True)
        .encode(x=encode_x, y=alt.Y("low:Q", title=y_title), y2="high:Q"),
        base.transform_filter("isValid(datum.x_low) && isValid(datum.x_high)")
        .mark_rule(color=ink, opacity=0.55, clip=True)
        .encode(y=encode_y, x=alt.X("x_low:Q", title=_UNITS[predictor]), x2="x_high:Q"),
        base.transform_filter("datum.used")
        .mark_point(filled=True, color=ink, size=48, opacity=1)
        .encode(x=encode_x, y=encode_y, tooltip=hints),
        base.transform_filter("!datum.used")
        .mark_point(fill="white", stroke=ink, strokeWidth=1.4, size=44, opacity=1)
        .encode(x=encode_x, y=encode_y, tooltip=hints),
        base.mark_text(fontSize=10, color="#4b535b").encode(
            x=alt.X("text_x:Q", title=_UNITS[predictor]), y=alt.Y("text_y:Q", title=y_title), text="short:N"
        ),
    ]
    return alt.layer(*layers, width=PANEL_WIDTH, height=PANEL_HEIGHT, title=title)


def _linear(ends: list[float]) -> alt.Scale:
    """A linear scale with given ends."""
    return alt.Scale(domain=ends, nice=False, zero=False)


def _title(predictor: str, fit: Row | None, best: Number | None) -> alt.Title:
    """Name and R²; below it slope, interval and points."""
    name = PREDICTORS[predictor]
    if fit is None or not finite(fit["r2"]):
        return alt.Title(f"{name}: no fit", subtitle=["", ""])
    bounds = interval(fit["slope_interval"], 2)
    highest = " (the highest)" if best is not None and fit["r2"] >= best else ""
    lines = [f"slope {number(fit['slope'], 2)} {bounds}".rstrip(), f"{fit['points']} points{highest}"]
    return alt.Title(f"{name}: R² {fit['r2']:.2f}", subtitle=lines)


def _line(points: list[Row], predictor: str, fit: Row | None, x: alt.X, y: alt.Y, ink: str) -> list[alt.Chart]:
    """The fit's line over the range of the points it used."""
    inside = [point["x"] for point in points if point["used"]]
    if fit is None or not inside or not finite(fit["slope"]) or not finite(fit["intercept"]):
        return []
    ends = [
        {"x": at, "crossing": fit["intercept"] + fit["slope"] * (math.log2(at) if predictor == "log_step" else at)}
        for at in (min(inside), max(inside))
    ]
    return [alt.Chart(values(ends)).mark_line(color=ink, opacity=0.45, strokeWidth=2.2, clip=True).encode(x=x, y=y)]


def place_labels(points: list[tuple[float, float]], texts: list[str], x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Centres (pixels) of labels beside their points: the nearest places that cover least of points and each other."""
    boxes = [(px - 4.5, py - 4.5, px + 4.5, py + 4.5) for px, py in points]
    centres = []
    for (px, py), text in zip(points, texts, strict=True):
        half = 3.0 * len(text)
        sides = [
            (half + 7, 0),
            (-half - 7, 0),
            (0, 12),
            (0, -12),
            (half + 3, 9),
            (-half - 3, 9),
            (half + 3, -9),
            (-half - 3, -9),
        ]
        places = [(px + stretch * dx, py + stretch * dy, 14 * stretch) for stretch in (1.0, 1.7) for dx, dy in sides]
        scored = []
        for rank, (cx, cy, cost) in enumerate(places):
            box = (cx - half, cy - 5.5, cx + half, cy + 5.5)
            inside = box[0] >= 0 and box[2] <= x.size and box[1] >= 0 and box[3] <= y.size
            scored.append((sum(_overlap(box, other) for other in boxes) + cost + 0.2 * rank + 400 * (not inside), box))
        box = min(scored)[1]
        boxes.append(box)
        centres.append(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    return centres


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _place(row: Row, predictor: str) -> Number | None:
    """Where the row stands on the predictor's axis; None where it has no place."""
    value = row[_COLUMNS[predictor]]
    return value if finite(value) and (predictor != "log_step" or value > 0) else None


def _axis(found: list[Number], *, size: int, log: bool) -> Axis:
    """An axis that holds all values with a margin."""
    low, high = min(found), max(found)
    if log:
        margin = (high / low) ** 0.09 if high > low else 1.5
        return Axis(low / margin, high * margin, size, log)
    margin = 0.09 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(low - margin, high + margin, size, log)
