"""The compressibility study on two tiny suites: measured, stored, resumed, tabulated, and drawn."""

import json
import math
import re

import pytest

pytest.importorskip("transformers")
pytest.importorskip("altair")

from bitsandnats.errors import InputError
from bitsandnats.experiments.compressibility import Plan, compressibility
from bitsandnats.experiments.compressibility.markdown import markdown
from bitsandnats.experiments.compressibility.plan import Pruning, Sampling, Suite
from bitsandnats.experiments.compressibility.works import prune
from bitsandnats.hf import TrainOptions, train_suite
from bitsandnats.recipes.checkpoint import compressor_of
from bitsandnats.recipes.series import checkpoint_series
from bitsandnats.report import write_report
from bitsandnats.report.compressibility_page import compressibility_page
from bitsandnats.report.style import spec
from bitsandnats.store import Run

STEPS = {"one": (8, 15, 22, 30), "three": (30,)}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    texts = [f"Line {i}: the cat sat on mat {i * 7 % 10} and saw {i % 5} birds in the tree.\n" * 6 for i in range(24)]
    suites = []
    for name, layers in (("one", 1), ("three", 3)):
        options = TrainOptions(
            layers=layers, width=8, heads=2, context=8, vocabulary=270, steps=30, batch_size=8,
            learning_rate=0.02, warmup=2, checkpoints=STEPS[name], evaluation_items=4,
        )  # fmt: skip
        suites.append(Suite(name, options, train_suite(folder / name, options, texts[:20], texts[20:])))
    return Plan(
        suites=tuple(suites),
        checkpoints=4,
        tolerances=(0.001, 0.01),
        local=Sampling(2, 6, 4, gamma=1e3, step_size=1e-5),
        published=Sampling(2, 6, 4),
        pruning=Pruning(1, (0.5, 1.0), 1, 3, 4),
        corpus_bytes=1000,
        seed=0,
    )


@pytest.fixture(scope="module")
def measured(plan, tmp_path_factory):
    events = []
    folder = tmp_path_factory.mktemp("measured") / "run"
    run = compressibility(folder, plan, command="made so", progress=lambda *event: events.append(event))
    return run, events


def test_every_part_is_measured_and_progress_only_grows(plan, measured):
    run, events = measured
    summary = run.summary()
    assert summary["kind"] == "compressibility"
    assert [suite["name"] for suite in summary["suites"]] == ["one", "three"]
    assert summary["suites"][0]["schemes"] == list(plan.suites[0].schemes)
    for suite in summary["suites"]:
        assert [row["step"] for row in suite["checkpoints"]] == list(STEPS[suite["name"]])
        for row in suite["checkpoints"]:
            assert row["failed"] is None
            assert row["unmeasured"] == {}
            assert set(row["critical"]) == set(suite["schemes"])
            assert row["local"]["llc"] != row["published"]["llc"]
            assert math.isfinite(row["local"]["noise_only"])
    done = [event[1] for event in events]
    assert done == sorted(done)
    assert done[-1] <= 1000
    assert json.dumps(summary, allow_nan=False)


def test_fits_stand_beside_their_controls_on_the_same_checkpoints(measured):
    fits = measured[0].summary()["fits"]
    assert fits
    assert {fit["settings"] for fit in fits} == {"local", "published"}
    assert {fit["response"] for fit in fits} == {"level", "log2_level"}
    assert {fit["range"] for fit in fits} == {"full", "late"}
    by_place = {}
    for fit in fits:
        assert 0 <= fit["r2"] <= 1
        assert fit["points"] == len(fit["labels"]) >= 4
        place = tuple(fit[k] for k in ("suite", "scheme", "tolerance", "response", "range", "settings"))
        by_place.setdefault(place, []).append(fit)
    assert all(len({tuple(fit["labels"]) for fit in own}) == 1 for own in by_place.values())
    assert any(
        {fit["predictor"] for fit in own} == {"llc", "noise_only", "loss", "log_step"} for own in by_place.values()
    )


def test_heads_are_pruned_on_the_smallest_suite_with_and_without_retraining(measured):
    rows = measured[0].summary()["pruning"]
    assert [(row["suite"], row["step"], row["fraction"]) for row in rows] == [("one", 30, 0.5), ("one", 30, 1.0)]
    half, whole = rows
    assert (half["heads_kept"], half["heads"]) == (1, 2)
    assert half["pruned"] != 0
    assert whole["pruned"] == 0
    assert whole["pruned_se"] == 0
    assert half["training_loss"] > 0


def test_a_second_run_measures_nothing_again(plan, measured):
    run, _ = measured
    units = sorted(run.path.glob("**/unit.json"))
    before = {path: path.stat().st_mtime_ns for path in units}
    removed = run.path / "units" / "one-step30" / "prune-heads-1" / "unit.json"
    assert removed in before
    removed.unlink()
    old = run.summary()
    again = compressibility(run.path, plan, command="made so").summary()
    changed = {path for path in units if path.stat().st_mtime_ns != before[path]}
    assert changed == {removed}
    assert again["fits"] == old["fits"]
    assert again["pruning"] == old["pruning"]


def test_tables_name_every_suite_and_setting(measured):
    run, _ = measured
    text = (run.path / "tables.md").read_text(encoding="utf-8")
    assert text == markdown(run.summary())
    assert text.startswith("# Compressibility and the local learning coefficient")
    assert "made so" in text
    for part in (
        "## Suites and settings",
        "### n_q",
        "### log₂ n_q",
        "## Schemes in bits",
        "## Head pruning",
        "### three",
    ):
        assert part in text
    assert "None" not in text.replace("None.", "")
    assert "nan" not in text.split()


def test_the_page_holds_the_findings_and_loads_nothing(measured):
    run, _ = measured
    page = compressibility_page(run)
    names = [figure.name for figure in page.figures]
    assert {"llc-local", "llc-published", "critical", "fits-r2", "fits-partial", "pruning"} <= set(names)
    for figure in page.figures:
        assert spec(figure.chart, validate=figure.name in ("fits-r2", "pruning"))
        assert len(figure.caption) > 80
    text = write_report(run.path, images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    body = text[: text.index("<script type=")]
    assert 'href="studies/three/report.html"' in body
    plain = re.sub(r"<[^>]+>", " ", body)
    assert "None" not in plain
    assert "nan" not in plain.split()
    assert run.summary()["verdict"]["text"] in body


def test_one_suite_that_cannot_be_studied_is_named_and_the_rest_goes_on(plan, measured, tmp_path, monkeypatch):
    from bitsandnats.experiments.compressibility import study as module

    def sometimes(series, **options):
        if options["title"].startswith("three"):
            raise InputError("expected a, got b; do c")
        return Run(measured[0].path / "studies" / "one")

    monkeypatch.setattr(module, "study", sometimes)
    monkeypatch.setattr(
        module, "further", lambda work, progress: {"suite": "one", "label": "x", "step": 1, "llc": None}
    )
    summary = compressibility(tmp_path / "run", plan).summary()
    assert summary["failed"] == {"three": "expected a, got b; do c"}
    assert [suite["name"] for suite in summary["suites"]] == ["one"]
    assert all(row["published"] is None for row in summary["suites"][0]["checkpoints"])
    assert "three could not be studied: expected a, got b; do c" in summary["findings"]


def test_pruning_in_a_study_trains_at_the_suite_s_rate_on_its_own_text(plan):
    series = checkpoint_series(plan.suites[0].folder, fold=True)
    assert series.training_rate == 0.02
    assert series.only("step30").training_rate == 0.02
    task = series.load["step30"]()
    found = compressor_of("prune-heads(draws=1)", task, series.training_rate)
    assert (found.training_rate, found.data) == (0.02, task.data)
    assert compressor_of("prune-heads(training_rate=0.5)", task, None).training_rate == 0.5
    assert compressor_of("prune-heads(retrain_steps=0)", task, None).data is task.data
    assert compressor_of("quantize", task, None).scheme == "quantize"
    with pytest.raises(InputError, match=r"expected the learning rate of the training, .*, got a series that does not"):
        compressor_of("prune-heads", task, None)


def test_a_checkpoint_whose_heads_cannot_be_pruned_says_why(plan, tmp_path):
    from bitsandnats.experiments.compressibility.works import PruneWork

    series = checkpoint_series(plan.suites[0].folder, fold=True)

    def refused():
        raise InputError("expected a, got b; do c")

    series = type(series)({"step30": refused}, series.evaluation, {"step30": 30})
    work = PruneWork(tmp_path, series, "step30", "one", 0.5, plan.pruning, 0)
    assert prune(work, lambda *_: None)["failed"] == "expected a, got b; do c"
