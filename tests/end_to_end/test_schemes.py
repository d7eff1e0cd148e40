"""Several schemes in one study and one at a time: what is stored, shown and marked."""

import json
import math

import pytest
from rich.cells import cell_len

from bitsandnats.store import open_run

SCHEMES = ["quantize", "quantize-largest", "factorize", "noise-absolute(draws=2)", "noise-relative", "prune-magnitude"]


@pytest.fixture(scope="module")
def several(tmp_path_factory, suite):
    """One checkpoint of the tiny suite under every scheme; it has one layer, which `factorize` leaves alone."""
    import sys

    from bitsandnats.cli import main

    folder = tmp_path_factory.mktemp("several") / "run"
    short = ["--chains", "2", "--draws", "8", "--burn-in", "4", "--batch-size", "4", "--gamma", "1000"]
    asked = ["--schemes", ",".join(SCHEMES), "--tolerances", "0.01,0.1,0.5", "--at-most", "1", "--workers", "1"]
    command = ["bitsandnats", "--threads", "1", "study", suite, "--out", folder, "--step-size", "1e-5", *short, *asked]
    before, sys.argv = sys.argv, list(map(str, command))
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert not ended.value.code
    return folder


def test_a_scheme_that_cannot_be_applied_marks_its_cells(several):
    summary = json.loads((several / "summary.json").read_text())
    for row in summary["checkpoints"]:
        assert row["failed"] is None
        assert list(row["critical"]) == [scheme for scheme in SCHEMES if scheme != "factorize"]
        assert list(row["unmeasured"]) == ["factorize"]
        assert row["unmeasured"]["factorize"].startswith("expected at least three layers")
    assert any(said.startswith("factorize not measured at 1 of 1 checkpoints: ") for said in summary["findings"])


def test_results_are_stored_with_their_units(several):
    run = open_run(several)
    units = {"quantize": "n_q", "noise-relative": "σ", "prune-magnitude": "fraction of weights"}
    for scheme, unit in units.items():
        curve = run.tree("step24", scheme).dataset
        assert curve.attrs["unit"] == unit
        points = run.summary()["checkpoints"][-1]["critical"][scheme]
        assert {point["unit"] for point in points} == {unit}
        for point in points:
            ends = [v for v in point["interval"] if v is not None]
            assert (point["bound"] == "") == (len(ends) == 2)
            if scheme == "noise-relative":
                assert point["bits"] is None
            elif point["level"] is not None:
                assert point["bits"] == pytest.approx(float(curve["bits"].sel(level=point["level"])))
    levels = run.tree("step24", "noise-relative").dataset["level"].values
    assert list(levels) == sorted(levels, reverse=True), "from severe to mild"


def test_lengths_and_ranks_are_compared(several):
    summary = json.loads((several / "summary.json").read_text())
    assert {row["scheme"] for row in summary["fewest_bits"]} <= {"quantize", "quantize-largest", "prune-magnitude"}
    assert all(row["bits_per_parameter"] == min(row["of"].values()) for row in summary["fewest_bits"])
    assert len(summary["tolerance_ranks"]) == 3 * len(SCHEMES)
    assert all(row["spearman"] is None for row in summary["tolerance_ranks"]), "one checkpoint has no rank"


def test_a_rerun_measures_no_scheme_again(cli, several, suite, stamps):
    before = stamps(several)
    asked = ["--schemes", ",".join(SCHEMES), "--tolerances", "0.01,0.1,0.5", "--at-most", "1", "--workers", "1"]
    short = ["--chains", "2", "--draws", "8", "--burn-in", "4", "--batch-size", "4", "--gamma", "1000"]
    done = cli("study", suite, "--out", several, "--step-size", "1e-5", *short, *asked)
    assert done.code == 0, done.err
    assert stamps(several) == before
    table = done.out.split("checkpoint")[2]
    assert "noise-" in done.out
    assert "step24" in table
    page = (several / "report.html").read_text(encoding="utf-8")
    assert "Not measured" in page
    assert 'id="spec-bits"' in page


@pytest.mark.parametrize("method", ["noise-absolute(draws=2)", "prune-magnitude", "quantize(granularity='channel')"])
def test_compress_shows_any_scheme(cli, suite, tmp_path, monkeypatch, method):
    monkeypatch.setenv("COLUMNS", "80")
    asked = ["--method", method, "--tolerance", "0.01,0.5,30"]
    done = cli("compress", suite / "step24", *asked)
    assert done.code == 0, done.err
    assert f"step24: {method}" in done.out
    assert max(map(cell_len, done.out.splitlines())) <= 80
    assert "the scheme's floor" in " ".join(done.out.split())
    summary = cli("compress", suite / "step24", *asked, "--out", tmp_path / "run", "--json").json
    (points,) = summary["checkpoints"][0]["critical"].values()
    assert points[-1]["censored"]
    assert points[-1]["bound"]
    assert "already the most severe" in points[-1]["remark"]
    assert points[0]["crossing"] is None or math.isfinite(points[0]["crossing"])
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("noise-absolute(draws=1)", "at least 2 draws"),
        ("noise-relative(sigma=1)", "options of noise-relative among draws, got sigma"),
        ("quantize(granularity='row')", "granularity 'model', 'tensor' or 'channel'"),
        ("noise-absolut", "did you mean 'noise-absolute'?"),
        ("factorize", "at least three layers"),
    ],
)
def test_what_cannot_be_is_one_sentence(cli, suite, method, expected):
    assert expected in cli("compress", suite / "step24", "--method", method).sentence
