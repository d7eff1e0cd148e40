"""Refined λ̂ of heads over training: the tables from a tiny plan, the trace and the index against known answers."""

import json
import re

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from bitsandnats import toys
from bitsandnats.errors import InputError
from bitsandnats.experiments.heads.chains import Sampling, noise_rise
from bitsandnats.experiments.heads.training import Recipe
from bitsandnats.experiments.refined_llc import Plan, refined_llc, refined_llc_plan
from bitsandnats.experiments.refined_llc.plan import OWN
from bitsandnats.experiments.refined_llc.tables import NOISE, TRACE, adjusted_rand, agreement_rows, chance
from bitsandnats.experiments.refined_llc.works import head_trace
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.report import write_report
from bitsandnats.report.attribution_study_page import refined_page

TINY = Recipe(2, 16, 2, ("mixed", "induction", "bracket"), 20, 0.02, 8, 30)


def test_trace_of_a_part_is_that_of_its_hessian():
    random = np.random.default_rng(2)
    factors = random.standard_normal((5, 6, 6))
    hessians = factors @ np.swapaxes(factors, 1, 2)
    task = toys.item_quadratics(hessians, np.zeros((5, 6)))
    truth = float(np.trace(hessians.mean(0)))
    value, se = head_trace(task, "w", probes=200, seed=0)
    assert abs(value - truth) < 4 * se
    assert se < 0.05 * truth


def test_noise_raises_a_quadratic_by_half_its_trace_over_the_pull():
    random = np.random.default_rng(3)
    factors = random.standard_normal((5, 6, 6))
    hessians = factors @ np.swapaxes(factors, 1, 2)
    task = toys.item_quadratics(hessians, random.standard_normal((5, 6)))
    value, se = noise_rise(task, 50.0, draws=600, seed=0)
    truth = float(np.trace(hessians.mean(0))) / 2 / 50
    assert abs(value - truth) < 4 * se
    assert se < 0.05 * truth


def test_adjusted_rand_index():
    random = np.random.default_rng(0)
    for _ in range(5):
        a, b = random.integers(0, 3, 12).tolist(), random.integers(0, 4, 12).tolist()
        assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b))
    assert adjusted_rand([0, 0, 1], ["x", "x", "y"]) == 1
    assert chance([0, 0, 1, 1, 2, 2], ["x", "x", "y", "y", "z", "z"]) < 0.15  # exactly 1 of 15
    assert chance([0, 0, 0], ["x", "y", "x"]) == 1


def test_heads_of_all_networks_are_pooled():
    plan = Plan(TINY, 2, 2, (OWN,), 1, Sampling(2, 4, 4, 1.0), 2, 2, "cpu", 0)
    rising, falling = [0.0, 1.0], [1.0, 0.0]
    curves = [
        {"seed": seed, "head": head, "role": role, "steps": list(plan.steps), "quantity": name, "values": values}
        for seed in (0, 1)
        for head, role, values in zip(TINY.components, "aabb", [rising] * 2 + [falling] * 2, strict=True)
        for name in (OWN, NOISE, TRACE)
    ]
    rows = agreement_rows(plan, curves)
    assert [a["seed"] for a in rows] == [0] * 3 + [1] * 3 + ["all"] * 3
    assert all(a["kmeans"] == a["hierarchical"] == 1 for a in rows)
    assert rows[-1]["p"]["kmeans"] < 0.1


def test_study_measures_every_checkpoint_once_and_shows_it(tmp_path):
    plan = Plan(TINY, 1, 2, (OWN, "induction"), 1, Sampling(2, 0, 4, 3.0), 2, 2, "cpu", 0)
    run = refined_llc(tmp_path / "run", plan, command="made so")
    summary = run.summary()
    assert summary["failed"] == []
    assert len(summary["curves"]) == 4 * 4
    assert all(len(c["values"]) == 2 for c in summary["curves"])
    assert {a["quantity"] for a in summary["agreement"]} == {OWN, "induction", NOISE, TRACE, "λ̂, all data"}
    assert json.dumps(summary, allow_nan=False)
    units = {path: path.stat().st_mtime_ns for path in run.path.glob("**/unit.json")}
    assert len(units) == 1 + 2
    gone = run.path / "units" / "s0-30" / "heads" / "unit.json"
    gone.unlink()
    again = refined_llc(run.path, plan, command="made so").summary()
    assert {path for path in units if path.stat().st_mtime_ns != units[path]} == {gone}
    assert {**again, "provenance": 0} == {**summary, "provenance": 0}
    text = (run.path / "tables.md").read_text(encoding="utf-8")
    assert text == sheets_as_markdown(again)
    assert "## Groups of curves against labels" in text
    assert [figure.name for figure in refined_page(run).figures] == ["curves", "agreement", "special"]
    html = write_report(run.path, images=False).read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", " ", html[: html.index("<script type=")])
    assert "None" not in plain
    assert "nan" not in plain.split()


def test_wrong_plans():
    with pytest.raises(InputError, match="at least one of seeds"):
        refined_llc_plan(seeds=0)
    assert len(refined_llc_plan().steps) == 5
    assert refined_llc_plan(refinements=("skip", "skip")).data == (OWN, "skip")
    with pytest.raises(InputError, match=re.escape("refinements among bigram")):
        refined_llc_plan(refinements=("verbs",))
