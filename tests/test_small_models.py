"""Front doors on small networks, end to end: estimate, critical point, and a study that is stored and resumed."""

import copy
import json
import math

import pytest
import torch

import bitsandnats as bn
from bitsandnats.errors import StoreError

LOCAL = {
    "nbeta": 500.0, "gamma": 300.0, "step_size": 2e-5, "batch_size": 64, "chains": 2, "burn_in": 40, "draws": 160,
    "start": "noise", "mode": "vmap",
}  # fmt: skip
TOLERANCES = [0.05, 0.1, 0.5]


@pytest.fixture
def series(digit_snapshots, digits):
    return {
        label: bn.Task.from_module(copy.deepcopy(module), bn.losses.cross_entropy(), digits["train"])
        for label, module in digit_snapshots.items()
    }


def run_study(series, out, digits, **options):
    options = {"settings": LOCAL, "tolerances": TOLERANCES, "evaluation": digits["held_out"], **options}
    return bn.study(series, out=out, **options)


def forbid(monkeypatch):
    """Whatever samples, compresses or calibrates fails from here on."""

    def fail(*args, **kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr("bitsandnats.recipes.llc.sample", fail)
    monkeypatch.setattr("bitsandnats.recipes.checkpoint.critical_points", fail)
    monkeypatch.setattr("bitsandnats.recipes.resolved.calibrate", fail)


def comparable(summary):
    """A summary without what differs between runs of the same numbers."""
    text = copy.deepcopy({k: v for k, v in summary.items() if k != "provenance"})
    return text


# --- one model


def test_classifier_with_measured_settings(digit_task):
    found = bn.estimate_llc(digit_task, draws=150, burn_in=50, chains=2)
    assert math.isfinite(found.llc)
    assert 0 < found.llc < digit_task.dimension
    assert found.verdict.status in ("usable", "usable with caution", "not usable")
    assert str(found).startswith("λ̂ = ")
    assert " nats  " in str(found)
    assert found.figures["excess"] == pytest.approx(found.llc / found.tree.attrs["nbeta"])
    assert found.tree.attrs["nbeta"] == pytest.approx(1200 / math.log(1200))
    assert found.figures["acceptance"] > 0.5  # gradients over all data: accept/reject, no bias of the step


def test_regression_net(wave_task):
    found = bn.estimate_llc(wave_task, gamma=100.0, draws=150, burn_in=50, chains=2)
    assert math.isfinite(found.llc)
    point = bn.critical_point(bn.compressors.quantize(), wave_task, tolerance=0.5)
    assert point.level is not None
    assert point.excess_loss <= 0.5
    assert str(point).startswith("n_q* = ")


def test_critical_point_of_a_classifier(digit_task):
    points = [bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=t) for t in (0.02, 0.1, 0.5)]
    levels = [p.level or 0 for p in points]
    assert levels == sorted(levels, reverse=True)
    for p in points:
        assert p.level is not None
        assert p.excess_loss <= p.tolerance
        assert p.bits == pytest.approx(digit_task.dimension * math.log2(p.level - 1) + 32)


def test_settings_of_one_serve_another(series):
    first = bn.estimate_llc(series["step200"], **{k: v for k, v in LOCAL.items() if k != "mode"})
    again = bn.estimate_llc(series["step200"], settings=bn.Settings(**LOCAL))
    assert again.llc == pytest.approx(first.llc, rel=1e-3)
    overridden = bn.estimate_llc(series["step200"], settings=bn.Settings(**LOCAL), draws=50)
    assert overridden.tree["draws"].sizes["draw"] == 50


# --- studies


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digit_snapshots, digits):
    """One study that several tests look at."""
    tasks = {
        label: bn.Task.from_module(copy.deepcopy(module), bn.losses.cross_entropy(), digits["train"])
        for label, module in digit_snapshots.items()
    }
    out = tmp_path_factory.mktemp("study") / "run"
    run_study(tasks, out, digits, title="digits")
    return out


def test_summary(finished, series, digits):
    run = bn.open_run(finished)
    summary = run.summary()
    assert (summary["schema"], summary["kind"], summary["title"]) == (1, "study", "digits")
    rows = summary["checkpoints"]
    assert [row["label"] for row in rows] == list(series)
    assert [row["step"] for row in rows] == [10, 25, 50, 100, 200]
    assert [row["failed"] for row in rows] == [None] * 5
    losses = [row["loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    for row in rows:
        task = series[row["label"]].on(digits["held_out"])
        assert row["loss"] == pytest.approx(float(task.all_item_losses(task.center).mean()), rel=1e-5)
        assert abs(row["llc"]["llc"]) < 1810
        assert row["llc"]["verdict"]["status"] in ("usable", "usable with caution", "not usable")
        assert row["llc"]["llc"] > 0 or row["llc"]["verdict"]["status"] != "usable"
        points = row["critical"]["quantize"]
        assert [p["tolerance"] for p in points] == TOLERANCES
        assert all(p["excess_loss"] <= p["tolerance"] and p["level"] % 2 == 0 for p in points)
        for p in points:
            alone = bn.critical_point(
                bn.compressors.quantize(), series[row["label"]], tolerance=p["tolerance"], data=digits["held_out"]
            )
            assert (alone.level, alone.excess_loss) == (p["level"], pytest.approx(p["excess_loss"], abs=1e-6))
    assert summary["model"]["parameters"] == summary["model"]["moved"] == 64 * 24 + 24 + 240 + 10
    assert summary["data"]["sampling"]["items"] == 1200
    assert summary["data"]["evaluation"]["items"] == 400
    assert {k: summary["settings"][k] for k in LOCAL} == LOCAL
    assert summary["findings"]
    assert summary["verdict"]["text"].startswith(summary["verdict"]["status"])
    json.dumps(summary, allow_nan=False)


def test_fits_stand_beside_their_controls(finished):
    summary = bn.open_run(finished).summary()
    fits = [f for f in summary["fits"] if f["tolerance"] == 0.05 and f["response"] == "level"]
    if fits:
        assert {f["predictor"] for f in fits} == {"llc", "noise_only", "loss", "log_step"}
        assert len({tuple(f["labels"]) for f in fits}) == 1  # all on the same checkpoints
    for f in summary["fits"]:
        assert 0 <= f["r2"] <= 1
        assert f["points"] == len(f["labels"]) >= 4


def test_trees(finished, series):
    run = bn.open_run(finished)
    tree = run.tree("step100", "llc")
    assert dict(tree["draws"].sizes) == {"chain": 2, "draw": 160}
    assert dict(tree["burn_in"].sizes) == {"chain": 2, "draw": 40}
    assert tree.attrs["gamma"] == 300.0
    row = next(r for r in run.summary()["checkpoints"] if r["label"] == "step100")
    from bitsandnats.estimators.llc import estimate

    assert estimate(tree).llc == pytest.approx(row["llc"]["llc"], rel=1e-12)
    alone = bn.estimate_llc(series["step100"], settings=bn.Settings(**LOCAL))
    assert alone.llc == pytest.approx(row["llc"]["llc"], rel=1e-12)
    curve = run.tree("step100", "quantize")
    assert (curve.dataset["level"].values % 2 == 0).all()
    assert {"excess_loss", "excess_loss_se", "max_abs", "bits"} <= set(curve.dataset)


def test_rerun_measures_nothing(finished, series, digits, monkeypatch):
    before = bn.open_run(finished).summary()
    forbid(monkeypatch)
    run = run_study(series, finished, digits, title="digits")
    assert comparable(run.summary()) == comparable(before)


def small(series, labels=("step50", "step200")):
    return {label: series[label] for label in labels}


QUICK = {**LOCAL, "draws": 20, "burn_in": 5}


def llc_of(run):
    return {row["label"]: row["llc"]["llc"] for row in run.summary()["checkpoints"]}


def test_changed_weights_are_measured_again(series, digits, tmp_path):
    tasks = small(series)
    before = llc_of(run_study(tasks, tmp_path / "run", digits, settings=QUICK))
    with torch.no_grad():
        tasks["step50"].center["0.bias"].add_(0.3)  # trained on: the center moves with the module
    after = llc_of(run_study(tasks, tmp_path / "run", digits, settings=QUICK))
    assert after["step50"] != before["step50"]
    assert after["step200"] == before["step200"]


def test_changed_data_are_measured_again(series, digits, tmp_path, digit_snapshots):
    tasks = small(series)
    before = run_study(tasks, tmp_path / "run", digits, settings=QUICK).summary()
    x, y = digits["train"]
    other = {
        label: bn.Task.from_module(digit_snapshots[label], bn.losses.cross_entropy(), (x[:-1], y[:-1]))
        for label in tasks
    }
    after = run_study(other, tmp_path / "run", digits, settings=QUICK).summary()
    for a, b in zip(before["checkpoints"], after["checkpoints"], strict=True):
        assert a["llc"]["llc"] != b["llc"]["llc"]
        assert a["critical"] == b["critical"]  # the held-out data are the same
    moved = (digits["held_out"][0] + 0.01, digits["held_out"][1])
    last = run_study(other, tmp_path / "run", digits, settings=QUICK, evaluation=moved).summary()
    for a, b in zip(after["checkpoints"], last["checkpoints"], strict=True):
        assert a["loss"] != b["loss"]
        assert a["llc"]["llc"] == b["llc"]["llc"]


def test_changed_loss_is_measured_again(series, digits, tmp_path, digit_snapshots):
    tasks = small(series)
    before = llc_of(run_study(tasks, tmp_path / "run", digits, settings=QUICK))

    def smoothed(model, batch):
        return torch.nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none", label_smoothing=0.1)

    other = {label: bn.Task.from_module(digit_snapshots[label], smoothed, digits["train"]) for label in tasks}
    after = llc_of(run_study(other, tmp_path / "run", digits, settings=QUICK))
    assert all(after[label] != before[label] for label in tasks)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tolerances": [0.3]}, "tolerances"),
        ({"seed": 1}, "seed"),
        ({"settings": {**QUICK, "gamma": 200.0}}, "given.gamma"),
        ({"schemes": ["quantize-largest"]}, "schemes"),
        ({"recipe": "2510.12077"}, "recipe"),
    ],
)
def test_changed_options_are_refused_by_name(options, named, series, digits, tmp_path):
    tasks = small(series, ("step200",))
    run = run_study(tasks, tmp_path / "run", digits, settings=QUICK)
    before = (run.path / "summary.json").read_text()
    with pytest.raises(StoreError, match=f"expected the settings that .* was made with, got .*{named} = "):
        run_study(tasks, tmp_path / "run", digits, **{"settings": QUICK, **options})
    assert (run.path / "summary.json").read_text() == before


@pytest.mark.parametrize("when", [0.3, 0.5, 0.9])
def test_interrupted_and_continued(when, series, digits, tmp_path, monkeypatch):
    tasks = small(series, ("step50", "step100", "step200"))
    whole = run_study(tasks, tmp_path / "whole", digits, settings=QUICK).summary()

    def interrupt(stage, done, total):
        if stage == "checkpoints" and done >= when * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(tasks, tmp_path / "run", digits, settings=QUICK, progress=interrupt)
    run = bn.open_run(tmp_path / "run")
    stored = [label for label in tasks if run.has(label, "llc")]
    assert stored == list(tasks)[: len(stored)]
    assert len(stored) >= math.floor(when * 3)
    assert len(stored) < 3 or when == 0.9
    assert not [p for p in run.path.glob("units/*/*") if p.name.startswith(".")]  # nothing half-written is left
    from bitsandnats.recipes import llc as recipe

    measured = []
    sample = recipe.sample

    def counted(task, *args, **kwargs):
        measured.append(next(label for label, own in tasks.items() if own is task))
        return sample(task, *args, **kwargs)

    monkeypatch.setattr(recipe, "sample", counted)
    again = run_study(tasks, tmp_path / "run", digits, settings=QUICK).summary()
    assert measured == [label for label in tasks if label not in stored]
    for a, b in zip(whole["checkpoints"], again["checkpoints"], strict=True):
        assert a["llc"]["llc"] == b["llc"]["llc"]
        assert a["critical"] == b["critical"]


def test_a_damaged_unit_is_made_again(series, digits, tmp_path):
    tasks = small(series, ("step200",))
    run = run_study(tasks, tmp_path / "run", digits, settings=QUICK)
    before = llc_of(run)
    (run.unit_folder("step200", "llc") / "unit.json").write_text('{"digest": "')
    assert llc_of(run_study(tasks, tmp_path / "run", digits, settings=QUICK)) == before


def test_a_checkpoint_that_fails_is_marked(series, digits, tmp_path):
    tasks = small(series)
    _x, _y = digits["held_out"]
    with torch.no_grad():
        tasks["step50"].center["2.weight"].mul_(1e30)  # its chains die at once
    run = run_study(tasks, tmp_path / "run", digits, settings=QUICK)
    rows = {row["label"]: row for row in run.summary()["checkpoints"]}
    assert rows["step200"]["failed"] is None
    assert rows["step200"]["llc"]["llc"] is not None
    bad = rows["step50"]
    assert bad["failed"] or bad["llc"]["llc"] is None or bad["llc"]["verdict"]["status"] == "not usable"


def test_settings_follow_every_checkpoint_they_were_measured_on(series, digits, tmp_path):
    """Calibrated settings are not reused when any checkpoint they came from has changed."""
    given = {k: v for k, v in QUICK.items() if k != "step_size"}
    tasks = small(series)
    run_study(tasks, tmp_path / "run", digits, settings=given)
    with torch.no_grad():
        tasks["step50"].center["0.weight"].mul_(4.0)
        tasks["step50"].center["2.weight"].mul_(3.0)
    resumed = run_study(tasks, tmp_path / "run", digits, settings=given).summary()["settings"]
    fresh = run_study(tasks, tmp_path / "fresh", digits, settings=given).summary()["settings"]
    assert resumed == fresh


def test_settings_object_keeps_its_seed(series, digits, tmp_path):
    """A Settings given whole is used whole."""
    run = run_study(small(series, ("step200",)), tmp_path / "run", digits, settings=bn.Settings(**QUICK, seed=5))
    assert run.summary()["settings"]["seed"] == 5


def test_published_recipe(series, digits, tmp_path):
    run = run_study(small(series, ("step200",)), tmp_path / "run", digits, recipe="2510.12077", settings={"draws": 20})
    settings = run.summary()["settings"]
    assert (settings["sampler"], settings["gamma"], settings["nbeta"]) == ("rmsprop_sgld", 300.0, 30.0)
    assert settings["draws"] == 20
    assert run.summary()["checkpoints"][0]["llc"]["llc"] is not None
