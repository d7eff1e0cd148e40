import json
import math

import pytest

from bitsandnats.report import figures, fit_figures, tables
from bitsandnats.report.control_figures import cells
from bitsandnats.report.style import spec
from bitsandnats.store import open_run

NAMES = [
    *("llc", "loss", "curves-quantize", "critical-quantize", "fits-quantize", "tolerances-quantize"),
    *("controls-quantize", "traces"),
]


@pytest.fixture(scope="module")
def whole(stored):
    return tables.read(open_run(stored))


def data(chart):
    """All rows of a chart's inline data."""
    return [row for text in spec(chart)["datasets"].values() for row in json.loads(text)]


def test_a_study_has_all_figures_and_each_is_valid(whole):
    found = figures.figures(whole)
    assert [figure.name for figure in found] == NAMES
    assert whole.missing == []
    for figure in found:
        assert spec(figure.chart, validate=True)["$schema"]
        assert len(figure.caption) > 80


def test_fits_are_drawn_as_the_summary_has_them(whole):
    """The line's ends lie on intercept + slope·x, with log2 of the step for `log_step`."""
    fits = {
        fit["predictor"]: fit for fit in whole.summary["fits"] if fit["tolerance"] == 0.5 and fit["response"] == "level"
    }
    chart = next(figure for figure in figures.figures(whole) if figure.name == "fits-quantize").chart
    ends = [row for row in data(chart) if set(row) == {"x", "crossing"}]
    assert len(ends) == 8
    for predictor, at in (("llc", 73.3), ("loss", 2.50), ("log_step", math.log2(64)), ("noise_only", 139.0)):
        expected = fits[predictor]["intercept"] + fits[predictor]["slope"] * at
        assert any(row["crossing"] == pytest.approx(expected) for row in ends)


def test_censored_points_are_left_out_of_the_fit_and_say_so(whole):
    chart = next(figure for figure in figures.figures(whole) if figure.name == "fits-quantize").chart
    points = [row for row in data(chart) if "used" in row]
    assert {row["label"] for row in points if not row["used"]} == {"step0", "step32"}
    assert all(row["used"] != row["censored"] for row in points)


def test_labels_neither_cover_each_other_nor_leave_the_panel():
    points = [(20.0 * i, 10.0 * i) for i in range(1, 9)] + [(41.0, 21.0), (43.0, 23.0)]
    texts = [str(1000 + i) for i in range(len(points))]
    axis = fit_figures.Axis(0.0, 1.0, 200, log=False)
    centres = fit_figures.place_labels(points, texts, axis, axis)
    boxes = [(x - 12, y - 5.5, x + 12, y + 5.5) for x, y in centres]
    assert all(left >= 0 and right <= 200 for left, _, right, _ in boxes)
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert sum(min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1]) for a, b in pairs) <= 1


def test_an_axis_maps_back_and_forth():
    for axis in (fit_figures.Axis(2.0, 10.0, 200, log=False), fit_figures.Axis(2.0, 4096.0, 200, log=True)):
        assert axis.value(axis.pixel(7.0)) == pytest.approx(7.0)
        assert axis.pixel(axis.high) == pytest.approx(200)


def test_cells_print_a_dash_for_what_is_missing_and_a_star_for_the_wider_subset(summary):
    summary["fits"][0] |= {"r2": None}
    summary["fits"][1] |= {"subset": "all"}
    rows = cells(summary["fits"], "level", "r2", [0.1, 0.3])
    assert rows[0]["text"] == "—"
    assert sum(row["text"].endswith("*") for row in rows) == 1


def test_nulls_everywhere_leave_figures_out_but_break_none(whole, summary):
    for checkpoint in summary["checkpoints"]:
        checkpoint |= {"loss": None, "loss_se": None}
        checkpoint["llc"] = dict.fromkeys(checkpoint["llc"])
        checkpoint["critical"]["quantize"] = [
            dict.fromkeys(point) | {"tolerance": point["tolerance"]} for point in checkpoint["critical"]["quantize"]
        ]
    summary["fits"] = [dict.fromkeys(fit) | {key: fit[key] for key in _KEYS} for fit in summary["fits"]]
    empty = tables.Tables(summary, tables.checkpoint_rows(summary), tables.critical_rows(summary), [], [], [])
    found = figures.figures(empty)
    assert [figure.name for figure in found] == ["controls-quantize"]
    for figure in found:
        spec(figure.chart, validate=True)


def test_every_second_null(whole, summary):
    for at, checkpoint in enumerate(summary["checkpoints"]):
        if at % 2:
            checkpoint["llc"] = None
        else:
            checkpoint["critical"] = {"quantize": None}
    summary["checkpoints"][4]["step"] = None
    mixed = tables.Tables(
        summary, tables.checkpoint_rows(summary), tables.critical_rows(summary), whole.curves, whole.traces, []
    )
    for figure in figures.figures(mixed):
        spec(figure.chart, validate=True)


@pytest.mark.parametrize("kind", ["study", "llc", "compress"])
def test_one_checkpoint(whole, summary, kind):
    summary |= {"kind": kind, "fits": [], "checkpoints": summary["checkpoints"][5:6]}
    if kind == "llc":
        summary["checkpoints"][0] |= {"critical": {}, "step": None}
        summary |= {"schemes": [], "tolerances": []}
    if kind == "compress":
        summary["checkpoints"][0] |= {"llc": None}
    rows = tables.checkpoint_rows(summary)
    label = rows[0]["label"]
    curves = [row for row in whole.curves if row["label"] == label] if kind != "llc" else []
    traces = [row for row in whole.traces if row["label"] == label] if kind != "compress" else []
    found = figures.figures(tables.Tables(summary, rows, tables.critical_rows(summary), curves, traces, []))
    expected = {
        "study": ["llc", "curves-quantize", "traces"],
        "llc": ["llc", "traces"],
        "compress": ["curves-quantize"],
    }
    assert [figure.name for figure in found] == expected[kind]
    for figure in found:
        spec(figure.chart, validate=True)


def test_a_series_without_steps_goes_along_its_labels(whole, summary):
    for checkpoint in summary["checkpoints"]:
        checkpoint["step"] = None
    rows = tables.checkpoint_rows(summary)
    chart = next(f for f in figures.figures(tables.Tables(summary, rows, [], [], [], [])) if f.name == "llc").chart
    first = spec(chart)["layer"][-1]["encoding"]["x"]
    assert (first["field"], first["type"]) == ("short", "nominal")
    assert len([row for row in data(chart) if row.get("llc") is not None]) >= 11


_KEYS = ("scheme", "tolerance", "response", "predictor", "subset", "labels", "points")
