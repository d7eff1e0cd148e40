"""The grokking study on tiny networks: trained, measured, stored, resumed, tabulated, and drawn."""

import json
import re
from typing import Any

import pytest

pytest.importorskip("altair")

from bitsandnats.errors import InputError, StoreError
from bitsandnats.experiments.grokking import Plan, grokking, grokking_plan, measured_plan
from bitsandnats.experiments.grokking.markdown import markdown
from bitsandnats.experiments.grokking.networks import Network
from bitsandnats.experiments.grokking.plan import REGIMES, Arm, Sampling, regime
from bitsandnats.experiments.grokking.training import Recipe
from bitsandnats.report import write_report
from bitsandnats.report.grokking_page import grokking_page
from bitsandnats.report.style import spec

RECIPE = Recipe("addition", 7, 0.6, Network("transformer", 1, 8, 2, 16), 0.03, batch_size=None, epochs=30)


@pytest.fixture(scope="module")
def plan():
    return Plan(
        arms=tuple(Arm(RECIPE, regime(name, "addition")) for name in ("entropy",)),
        seeds=2,
        checkpoints=2,
        tolerances=(1.0, 0.25),
        grade="global",
        published=False,
        sampling=Sampling(2, 4, 8, 1000.0, 0.2),
        device="cpu",
        seed=0,
    )


@pytest.fixture(scope="module")
def measured(plan, tmp_path_factory):
    events = []
    folder = tmp_path_factory.mktemp("measured") / "run"
    run = grokking(folder, plan, command="made so", progress=lambda stage, done, total: events.append((stage, done)))
    return run, events


def test_every_checkpoint_has_its_sizes_and_its_llc(plan, measured):
    run, events = measured
    summary = run.summary()
    assert summary["kind"] == "grokking"
    assert [(r["arm"], r["seed"]) for r in summary["runs"]] == [(a.name, s) for a in plan.arms for s in (0, 1)]
    for row in summary["runs"]:
        assert [c["epoch"] for c in row["checkpoints"]] == list(plan.epochs(RECIPE))
        for c in row["checkpoints"]:
            assert c["failed"] == []
            assert [p["tolerance"] for p in c["points"]] == [1.0, 0.25]
            assert c["points"][0]["bytes"] <= c["points"][1]["bytes"]
            assert all(abs(p["excess"]) < p["tolerance"] for p in c["points"])
            assert c["bytes"] == c["points"][0]["sizes"]["bitsandnats"]
            assert c["llc"] is not None
        assert set(row["falls"]) == {"bytes", "llc"}
    assert [arm["seeds"] for arm in summary["arms"]] == [2]
    assert json.dumps(summary, allow_nan=False)
    for stage in ("training", "checkpoints"):
        done = [event[1] for event in events if event[0] == stage]
        assert done == sorted(done)
        assert done[-1] == 1000


def test_a_second_run_makes_only_what_is_missing(plan, measured):
    run, _ = measured
    units = sorted(run.path.glob("**/unit.json"))
    assert len(units) == 2 * (1 + 2 * 2)
    before = {path: path.stat().st_mtime_ns for path in units}
    label = f"{plan.arms[0].label(1)}"
    gone = {run.path / "units" / label / "training" / "unit.json"}
    gone |= {run.path / "units" / f"{label}-e{plan.epochs(RECIPE)[-1]}" / "complexity-global" / "unit.json"}
    assert gone <= set(before)
    for path in gone:
        path.unlink()
    old = run.summary()
    again = grokking(run.path, plan, command="made so").summary()
    assert {path for path in units if path.stat().st_mtime_ns != before[path]} == gone
    assert {**again, "provenance": 0} == {**old, "provenance": 0}
    with pytest.raises(StoreError, match="seeds = 3 where the folder has 2"):
        grokking(run.path, Plan(**{**{k: getattr(plan, k) for k in plan.__dataclass_fields__}, "seeds": 3}))


def test_tables_and_page_hold_every_run_and_load_nothing(plan, measured):
    run, _ = measured
    text = (run.path / "tables.md").read_text(encoding="utf-8")
    assert text == markdown(run.summary())
    for part in ("made so", "## Rise and fall", "## Rate and distortion", "### addition-transformer-entropy, seed 1"):
        assert part in text
    assert "None" not in text.replace("None yet.", "")
    assert "nan" not in text.split()
    page = grokking_page(run)
    names = [figure.name for figure in page.figures]
    figures = [f"figure-{n}" for n in (1, 2, 4, 5, 6, 10, 11)]  # 3 is of runs without regularisation
    assert set(names) == {*figures, "llc", "loss"}
    for figure in page.figures:
        assert spec(figure.chart, validate=figure.name in ("figure-2", "figure-4"))
        assert len(figure.caption) > 80
    html = write_report(run.path, images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    body = html[: html.index("<script type=")]
    assert run.summary()["verdict"]["text"] in body
    plain = re.sub(r"<[^>]+>", " ", body)
    assert "None" not in plain
    assert "nan" not in plain.split()


def test_costs_are_predicted_for_every_arm(plan):
    rows = measured_plan(plan)
    assert [row.arm for row in rows] == [arm.name for arm in plan.arms]
    assert all(row.seconds > row.training > 0 for row in rows)
    assert rows[0].parameters == 8 * 9 * 2 + 4 * 8 + 4 * 64 + 2 * 128 + 16 + 8 + 32


def test_plans_name_what_they_do_not_know():
    whole = grokking_plan()
    assert len(whole.arms) == 4 * 2 * len(REGIMES)
    assert {arm.recipe.modulus for arm in whole.arms} == {113}
    small = grokking_plan(small=True)
    assert len(small.arms) == 2
    assert all(len(small.epochs(arm.recipe)) == 12 for arm in small.arms)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"operations": ["modulo"]}, "operations among"),
        ({"networks": ["rnn"]}, "networks among"),
        ({"regimes": ["dropout"]}, "regimes among"),
        ({"grade": "fine"}, "grades among"),
        ({"seeds": 0}, "at least one of seeds"),
    )
    for given, said in wrong:
        with pytest.raises(InputError, match=said):
            grokking_plan(**given)
