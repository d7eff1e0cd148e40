"""A study of several schemes: real levels, no code, a scheme that could not be measured."""

import json
import math
import re

import numpy as np
import pytest
import xarray as xr

from bitsandnats.recipes.comparison import fewest_bits, tolerance_ranks
from bitsandnats.report import figures, tables
from bitsandnats.report.levels import level_axis, stretched
from bitsandnats.report.page import control_matrix, render, result_columns
from bitsandnats.report.style import spec
from bitsandnats.store import ContentKey, Run, open_run, write_json

SCHEMES = ["quantize", "noise-relative", "factorize(layers='all')", "prune-heads"]
TOLERANCES = [0.1, 0.3, 0.5, 1.0]
WHY = "expected a transformer whose attention heads can be told apart, got a model without them; use another scheme"


def noise_point(at, tolerance):
    """σ* falls along training; at the first checkpoints σ = 4 already meets the larger tolerances."""
    found = math.sqrt(tolerance) * 6 / (at + 1)
    censored = found > 4
    level = 4.0 if censored else 0.95 * found
    point = {"unit": "σ", "tolerance": tolerance, "level": level, "crossing": 4.0 if censored else found}
    point |= {"bits": None, "bits_per_parameter": None, "excess_loss": 0.9 * tolerance, "excess_loss_se": 0.01}
    interval = [None, None] if censored else [0.9 * found, 1.1 * found]
    point |= {"interval": interval, "censored": censored, "monotone": True, "bound": "≥ 4" if censored else ""}
    return point | {"remark": "already the most severe, σ = 4, has ΔL = 0.1 ± 0.01" if censored else ""}


def factor_point(at, tolerance):
    """Even the whole matrices cost more than the smallest tolerance at the last checkpoint."""
    none = at == 10 and tolerance == 0.1
    found = None if none else 0.1 + 0.05 * at - 0.05 * tolerance
    point = {"unit": "fraction of singular values", "tolerance": tolerance, "level": found, "crossing": found}
    point |= {"bits": None if none else 660480 * 32 * found, "bits_per_parameter": None if none else 32 * found}
    point |= {"excess_loss": 0.9 * tolerance, "excess_loss_se": 0.01, "censored": False, "monotone": at != 4}
    point |= {"interval": [None, None] if none else [found - 0.02, found + 0.02]}
    return point | {"bound": "> 1" if none else "", "remark": "even the mildest … above 0.1" if none else ""}


def curve(at, scheme):
    if scheme == "noise-relative":
        levels = 4 * 0.5 ** np.arange(12.0)
        excess = (levels * (at + 1) / 6) ** 2
        bits, unit = np.full(12, np.nan), "σ"
    else:
        levels = np.arange(1, 17) / 16
        excess = np.maximum(3 - 30 / (at + 3) * levels, 0.01)
        bits, unit = 660480 * 32 * levels, "fraction of singular values"
    data = {"excess_loss": excess, "excess_loss_se": 0.02 * excess, "bits": bits, "items": np.full(len(levels), 8.0)}
    attributes = {"unit": unit, "kind": "real", "parameters": 660480, "passes": 9.0}
    return xr.DataTree(xr.Dataset({k: ("level", v) for k, v in data.items()}, {"level": levels}, attributes))


@pytest.fixture(scope="module")
def several(stored, tmp_path_factory):
    """The study of the other tests with three more schemes."""
    run = Run(tmp_path_factory.mktemp("several") / "run")
    run.path.mkdir()
    (run.path / "run.toml").write_text("[settings]\nseed = 0\n", encoding="utf-8")
    summary = open_run(stored).summary()
    for at, row in enumerate(summary["checkpoints"]):
        label = row["label"]
        row["critical"]["noise-relative"] = [noise_point(at, t) for t in TOLERANCES]
        row["critical"][SCHEMES[2]] = [factor_point(at, t) for t in TOLERANCES]
        row["unmeasured"] = {"prune-heads": WHY}
        for scheme in SCHEMES[1:3]:
            run.finish(label, scheme, ContentKey("", ()), curve(at, scheme))
        quantize = open_run(stored).tree(label, "quantize").to_dataset()
        quantize["bits"] = ("level", 660480 * np.log2(quantize["level"].values - 1.0))
        tree = xr.DataTree(quantize.assign_attrs(unit="n_q", parameters=660480))
        run.finish(label, "quantize", ContentKey("", ()), tree)
    for scheme in SCHEMES[1:3]:
        summary["fits"] += [fit | {"scheme": scheme, "r2": fit["r2"] / 2} for fit in summary["fits"][:32]]
    rows = summary["checkpoints"]
    summary |= {
        "schemes": SCHEMES,
        "fewest_bits": fewest_bits(rows, SCHEMES, TOLERANCES, 660480),
        "tolerance_ranks": tolerance_ranks(rows, SCHEMES, TOLERANCES),
    }
    write_json(run.path / "summary.json", summary)
    return run.path


@pytest.fixture(scope="module")
def read(several):
    found = tables.read(open_run(several))
    assert {name.split("/")[1] for name in found.missing} <= {"llc"}
    return found


@pytest.fixture(scope="module")
def found(read):
    return figures.figures(read)


def test_figures_of_all_schemes_are_valid(found):
    names = [figure.name for figure in found]
    assert names[:3] == ["llc", "loss", "bits"]
    for scheme in ("quantize", "noise-relative", "factorize_layers_all_"):
        assert {f"{kind}-{scheme}" for kind in ("curves", "critical", "fits", "tolerances", "controls")} <= set(names)
    sections = [figure.section for figure in found]
    assert sections == sorted(sections, key=["series", "controls", "traces"].index), "numbered as they are shown"
    assert {figure.group for figure in found if figure.section == "controls"} == {"", *SCHEMES[1:3]}
    for figure in found:
        assert len(figure.caption) > 80
        if "noise-relative" in figure.name or figure.name == "bits":
            assert spec(figure.chart, validate=True)["$schema"]


def test_only_schemes_with_a_length_are_compared_in_bits(found):
    chart = next(figure for figure in found if figure.name == "bits").chart
    rows = [row for text in spec(chart)["datasets"].values() for row in json.loads(text) if "bits" in row]
    assert {row["scheme"] for row in rows} == {"quantize", SCHEMES[2]}
    assert len({row["label"] for row in rows}) == 6
    assert all(row["bits"] <= 32 for row in rows)


def test_axes_follow_the_units(read):
    rows = [*read.critical, *read.curves]
    assert level_axis(rows, "quantize") == ("n_q", "n_q (log scale)", 2)
    assert level_axis(rows, "noise-relative") == ("σ", "σ (log scale)", 10)
    assert level_axis(rows, SCHEMES[2]).base == 0
    assert level_axis([], "quantize-largest").unit == "n_q"  # runs stored without units
    ticks = level_axis(rows, "noise-relative").axis([0.03, 4.5]).to_dict()["values"]
    assert ticks == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2])
    low, high = stretched([4, 16], log=True, within=[4, 256])
    assert low == 4
    assert 16 < high < 32


def test_several_schemes_have_a_table_of_their_own(read):
    heads = result_columns(read.critical, 0.5)
    assert [head["head"] for head in heads] == SCHEMES[:3]
    assert {head["tolerance"] for head in heads} == {0.5}
    alone = [row for row in read.critical if row["scheme"] == "quantize"]
    assert [head["tolerance"] for head in result_columns(alone, 0.5)] == TOLERANCES
    matrix = control_matrix(read.summary)
    assert [row["scheme"] for row in matrix] == SCHEMES[:3]


def test_the_page_says_it_in_words(read, found):
    page = render(read, found, {})
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("<footer")[0]))
    for said in (
        "Critical levels at ΔL = 0.5 nat",
        "Not measured",
        "prune-heads all expected a transformer whose attention heads",
        "scheme of the shortest description at ΔL =",
        "rank correlation of the critical levels at two tolerances",
        "The same figures for noise-relative",
        "≥ 4",
        "even the mildest … above 0.1",
        "Standard deviation of Gaussian noise on the weights",
    ):
        assert said in text, said


def test_fewest_bits_by_hand(read):
    by = {(row["label"], row["tolerance"]): row for row in read.summary["fewest_bits"]}
    row = by["step1536", 0.5]
    points = {s: read.summary["checkpoints"][10]["critical"][s][2] for s in ("quantize", SCHEMES[2])}
    lengths = {scheme: point["bits"] / 660480 for scheme, point in points.items()}
    assert row["of"] == pytest.approx(lengths)
    assert row["scheme"] == min(lengths, key=lengths.get)
    assert ("step1536", 0.1) not in by, "one length alone is no comparison"


def test_ranks_by_hand(read):
    ranks = {(r["scheme"], r["tolerance"], r["other"]): r for r in read.summary["tolerance_ranks"]}
    row = ranks["noise-relative", 0.1, 0.3]
    assert (row["spearman"], row["points"]) == (pytest.approx(1.0), 11)
    assert ranks["prune-heads", 0.1, 0.3]["spearman"] is None
    assert ranks[SCHEMES[2], 0.1, 1.0]["points"] == 10
