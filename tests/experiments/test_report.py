"""The benchmark's page: everything of the summary is on it, nothing is fetched, and every chart draws."""

import os
import re
import shutil
import subprocess

import pytest

pytest.importorskip("altair")

from bitsandnats.experiments.dln_benchmark.plan import benchmark_plan
from bitsandnats.report import write_report
from bitsandnats.report.experiment_figures import arm_name, benchmark_figures, network_rows
from bitsandnats.report.experiment_page import benchmark_page
from bitsandnats.report.style import spec
from bitsandnats.store import write_json

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--window-size=1400,1000"),
)


def test_the_page_holds_the_summary_and_loads_nothing(whole_run):
    text = write_report(whole_run.path, images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    summary = whole_run.summary()
    body = text[: text.index("<script type=")]
    for row in summary["networks"]:
        assert row["label"] in body
    for arm in summary["arms"]:
        assert f'<th scope="row">{arm["sampler"]}</th>' in body
    for said in (summary["verdict"]["text"], *summary["findings"], *summary["rules"].values()):
        assert said.replace("'", "&#39;") in body
    assert "None" not in re.sub(r"<[^>]+>", " ", body).replace("None of the calibrated sampler", "")
    assert "nan" not in re.sub(r"<[^>]+>", " ", body).split()


def test_figures_are_valid_and_cover_every_arm(whole_run):
    page = benchmark_page(whole_run)
    assert [figure.name for figure in page.figures] == ["estimates", "errors", "times", "chains"]
    for figure in page.figures:
        assert spec(figure.chart, validate=True)
        assert len(figure.caption) > 80


def test_arms_have_names_of_their_own(whole_run):
    arms = whole_run.summary()["arms"]
    names = [arm_name(arm) for arm in arms]
    assert len(set(names)) == len(names)
    assert names[3] == "calibrated, 1k, n = 1M"


def test_results_without_numbers_have_a_page(tmp_path, invented):
    run = invented(tmp_path / "run", benchmark_plan(small=True))
    summary = run.summary()
    for row in summary["networks"]:
        row |= dict.fromkeys(("llc", "se", "interval", "error", "relative_se", "settings", "evaluations", "seconds"))
        row |= {"failed": "expected a, got b; do c", "verdict": {"status": "not usable", "reasons": ["because"]}}
    assert benchmark_figures(network_rows(summary), summary["arms"], []) == []
    write_json(run.path / "summary.json", summary)
    text = write_report(run.path).read_text(encoding="utf-8")
    assert text.count("failed: expected a, got b; do c") == len(summary["networks"])


@pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason="needs Chromium to look at the page")
def test_every_chart_is_drawn_without_an_error(whole_run, tmp_path):
    assert CHROMIUM is not None, "CI must have Chromium: install the package `chromium`"
    report = write_report(whole_run.path, images=False)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", report.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root is not None
    assert 'data-rendered="true"' in root[0]
    assert 'data-errors="0"' in root[0]
    assert len(re.findall(r'<svg[^>]*aria-label="[^"]{40,}"', done.stdout)) == 4
    assert "NaN" not in "".join(re.findall(r' d="[^"]*"', done.stdout))
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
