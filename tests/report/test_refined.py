"""Refined λ̂ on the page: clusters of curves, a panel for each data set, a dot a component where there is no series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("altair")

from bitsandnats.report import write_report
from bitsandnats.report.refined_figures import cluster_rows, refined_figures
from bitsandnats.report.style import spec
from bitsandnats.store import create_run, write_json

STEPS = (10, 30, 60, 120, 250, 500)
CURVES = ((1, 2, 4, 6, 7, 7.5), (1, 3, 7, 5, 3, 2.5), (1, 1, 1.2, 1.5, 5, 9))
COMPONENTS = tuple(f"layer.{i // 4}.head.{i % 4}" for i in range(8))


def summary(steps: tuple[int, ...] = STEPS) -> dict[str, Any]:
    random, rows = np.random.default_rng(0), []
    for data in ("all", "code"):
        for k, component in enumerate(COMPONENTS):
            for at, step in enumerate(STEPS):
                value = CURVES[k % 3][at] * (1 + 0.1 * k) + 0.1 * random.standard_normal()
                status = "not usable" if (k, step) == (0, 10) else "usable"
                place = {"checkpoint": f"step{step}", "step": step, "component": component, "data": data}
                figures = {"llc": value, "se": 0.2, "interval": [value - 0.4, value + 0.4], "rhat": 1.01, "ess": 200.0}
                verdict = {"status": status, "reasons": ["because"] if status == "not usable" else []}
                rows.append(
                    {**place, **figures, "dimension": 12, "unit": "llc.0", "noise_only": 30.0, "verdict": verdict}
                )
    rows = [row for row in rows if row["step"] in steps]
    verdict = {"status": "usable with caution", "text": "usable with caution: of 96 estimates 94 usable"}
    head = {"schema": 1, "kind": "refined", "title": "heads", "verdict": verdict, "findings": [], "checkpoints": []}
    return {**head, "provenance": {}, "model": {"unit": "token"}, "data": {}, "settings": {}, "refined": rows}


def test_curves_of_three_shapes_are_three_clusters_by_every_method():
    rows = cluster_rows(summary())
    assert len(rows) == 16
    for row in rows:
        kind = "ABC"[COMPONENTS.index(row["component"]) % 3]
        assert (row["kmeans"], row["hierarchical"], row["dtw"]) == (kind, kind, kind)
    assert cluster_rows(summary((10, 30))) == []  # two points have no shape


def test_figures_are_valid():
    found = refined_figures(summary())
    assert [figure.name for figure in found] == ["refined", "clusters"]
    alone = refined_figures(summary((500,)))
    assert [figure.title for figure in alone] == ["Refined λ̂"]
    for figure in (*found, *alone):
        assert spec(figure.chart, validate=True)
        assert len(figure.caption) > 80
    assert refined_figures({"refined": []}) == []


@pytest.mark.parametrize("steps", [STEPS, (500,)])
def test_the_page_says_every_estimate(tmp_path: Path, steps: tuple[int, ...]):
    run = create_run(tmp_path / "run", {"kind": "refined"}, provenance={})
    write_json(run.path / "summary.json", summary(steps))
    text = write_report(run.path, images=False).read_text(encoding="utf-8")
    assert text.count('title="because"') == (2 if len(steps) > 1 else 0)
    for component in COMPONENTS:
        assert f'<th scope="row">{component}</th>' in text
    assert ("time warping" in text) == (len(steps) > 1)
    assert "No checkpoint" not in text
