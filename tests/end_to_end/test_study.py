"""`bitsandnats study` from a folder of checkpoints to a page in a browser."""

import json
import math
import os
import re
import shutil
import subprocess
import time
from itertools import chain

import numpy as np
import pytest
from rich.cells import cell_len

from bitsandnats.hf import TrainOptions
from bitsandnats.recipes.demo import DemoPlan, demo
from bitsandnats.report import write_report
from bitsandnats.store import open_run

LABELS = ["step0", "step4", "step8", "step16", "step24"]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--window-size=1400,1000"),
)


def without_clocks(summary):
    """A summary without what differs between two runs of the same command."""
    kept = {name: value for name, value in summary.items() if name not in ("provenance", "title")}
    return json.loads(json.dumps(kept), object_hook=lambda d: {k: v for k, v in d.items() if k != "seconds"})


def test_the_summary_holds_every_checkpoint(studied):
    summary = json.loads((studied / "summary.json").read_text())
    assert summary["kind"] == "study"
    assert summary["settings"]["draws"] == 8
    assert summary["reasons"]["gamma"] == "given"
    assert [row["label"] for row in summary["checkpoints"]] == LABELS
    for row in summary["checkpoints"]:
        assert row["failed"] is None
        assert 0 < row["loss"] < math.log(300) + 0.5
        assert math.isfinite(row["llc"]["llc"])
        assert row["llc"]["verdict"]["status"] in ("usable", "usable with caution", "not usable")
        assert [point["tolerance"] for point in row["critical"]["quantize"]] == [0.1, 0.5]
        assert all(point["level"] >= 4 for point in row["critical"]["quantize"])
    losses = [row["loss"] for row in summary["checkpoints"]]
    assert losses[-1] < losses[0]


@pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason="needs Chromium to look at the page")
def test_the_page_renders_in_a_browser_without_an_error(studied, tmp_path):
    assert CHROMIUM is not None, "CI must have Chromium: install the package `chromium`"
    page = studied / "report.html"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root is not None
    assert 'data-rendered="true"' in root[0]
    assert 'data-errors="0"' in root[0]
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_a_rerun_measures_nothing_and_gives_the_same_numbers(cli, studied, suite, stamps, study_options):
    before, first = stamps(studied), json.loads((studied / "summary.json").read_text())
    assert len(before) == 3 * len(LABELS) + 1
    began = time.monotonic()
    again = cli("study", suite, "--out", studied, "--workers", "1", "--json", *study_options).json
    assert time.monotonic() - began < 30
    assert stamps(studied) == before
    assert without_clocks(again) == without_clocks(first)


def test_two_workers_draw_what_one_draws(process, studied, suite, tmp_path, study_options):
    asked = ["--workers", "2", "--at-most", "2", *study_options]
    done = process("study", suite, "--out", tmp_path / "two", *asked)
    assert done.code == 0, done.err
    assert done.err == ""
    one, two = open_run(studied), open_run(tmp_path / "two")
    rows = {row["label"]: row for row in without_clocks(one.summary())["checkpoints"]}
    assert [row["label"] for row in two.summary()["checkpoints"]] == ["step0", "step24"]
    for row in without_clocks(two.summary())["checkpoints"]:
        trees = [run.tree(row["label"], "llc") for run in (one, two)]
        if trees[0].attrs["mode"] != trees[1].attrs["mode"]:  # chosen by a measurement of time
            np.testing.assert_allclose(*(tree["draws"].dataset["loss"].values for tree in trees), rtol=1e-4)
            continue
        first, second = (tree["draws"].dataset for tree in trees)
        assert set(first) == set(second)
        for name in first:
            np.testing.assert_array_equal(first[name].values, second[name].values)
        assert row == rows[row["label"]]


def test_the_table_fits_eighty_columns(cli, studied, suite, monkeypatch, study_options):
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("study", suite, "--out", studied, "--workers", "1", *study_options)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(map(cell_len, lines[:-1])) <= 80
    rows = [line for line in lines if re.match(r" ?step\d+ ", line) and "±" in line]
    assert len(rows) == len(LABELS)
    assert not any("…" in line for line in rows)
    assert lines[-1].startswith("report: ")


def test_report_writes_the_page_anew(cli, studied):
    (studied / "report.html").unlink()
    done = cli("report", studied)
    assert done.code == 0, done.err
    assert done.out.strip() == f"report: {studied / 'report.html'}"
    assert (studied / "report.html").stat().st_size > 100_000


def test_published_settings_run_and_are_judged(cli, suite, tmp_path):
    asked = ["--recipe", "2510.12077", "--draws", "12", "--tolerances", "0.5", "--at-most", "1", "--workers", "1"]
    summary = cli("study", suite, "--out", tmp_path / "run", "--json", *asked).json
    settings = summary["settings"]
    assert (settings["sampler"], settings["gamma"], settings["nbeta"]) == ("rmsprop_sgld", 300.0, 30.0)
    assert (settings["step_size"], settings["chains"], settings["draws"]) == (1e-3, 4, 12)
    verdict = summary["checkpoints"][0]["llc"]["verdict"]
    assert verdict["status"] == "not usable"
    said = "; ".join(verdict["reasons"])
    assert re.search(r"inflates the variance by [\d,]+%|\d+% of the way from L\(w\*\) to chance|step is unstable", said)


def test_the_demo_trains_measures_and_reports(tmp_path):
    options = TrainOptions(
        layers=1, width=16, heads=2, context=16, vocabulary=300, steps=12, batch_size=8, warmup=4, evaluation_items=8
    )
    short = {"chains": 2, "draws": 8, "burn_in": 4, "batch_size": 4, "gamma": 1000.0}
    plan = DemoPlan(options, corpus_bytes=40_000, labels=("step12",), settings=short)
    told: list[tuple[str, int, int]] = []
    run = demo(
        tmp_path / "demo",
        plan,
        command="bitsandnats demo",
        training=lambda *event: told.append(event),
        studying=lambda *event: told.append(event),
    )
    assert write_report(run.path, images=False).is_file()
    assert [row["label"] for row in run.summary()["checkpoints"]] == ["step12"]
    assert {"train", "checkpoints"} <= {stage for stage, _, _ in told}
    counts = [done for stage, done, _ in told if stage == "checkpoints"]
    assert counts == sorted(counts)
    assert list(chain.from_iterable(run.path.glob("units/*/.*"))) == []
