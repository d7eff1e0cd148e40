"""The page in a real browser."""

import os
import re
import shutil
import subprocess

import pytest

from bitsandnats.report import write_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--window-size=1400,1000"),
)


@pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason="needs Chromium to look at the page")
def test_every_chart_is_drawn_without_an_error(stored, tmp_path):
    assert CHROMIUM is not None, "CI must have Chromium: install the package `chromium`"
    report = write_report(stored, images=False)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", report.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root is not None
    assert 'data-rendered="true"' in root[0]
    assert 'data-errors="0"' in root[0]
    names = re.findall(r'<div class="chart[^>]*data-name="([^"]+)"', done.stdout)
    assert len(names) == 8
    drawn = re.findall(r'<svg[^>]*aria-label="[^"]{40,}"', done.stdout)
    assert len(drawn) == len(names)
    assert "NaN" not in "".join(re.findall(r' d="[^"]*"', done.stdout))
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
