"""The benchmark on networks of some tens of weights: measured, stored, resumed; and the rules of its step sizes."""

import json
import pickle

import pytest
import torch

from bitsandnats import toys
from bitsandnats.curvature import top_curvature
from bitsandnats.errors import SettingsError
from bitsandnats.experiments.dln_benchmark import dln_benchmark, network
from bitsandnats.experiments.dln_benchmark.evaluations import counted
from bitsandnats.experiments.dln_benchmark.plan import OTHERS, Arm, Plan
from bitsandnats.experiments.dln_benchmark.rules import compared_settings
from bitsandnats.recipes import controls
from bitsandnats.run import sample
from bitsandnats.settings import settings_from
from bitsandnats.target import LocalPosterior

SHORT = {"sampler": "hmc(leapfrogs=4, adapt_steps=20)", "step_size": 0.02, "gamma": 100.0, "chains": 4, "burn_in": 20}


@pytest.fixture
def quick(monkeypatch, tiny_class):
    """Calibration that takes no time: settings that suit these networks."""

    def settle(task, *, given, target_se, progress):
        assert set(given) == {"nbeta", "seed"}  # nothing else is set
        progress("choosing gamma", 1, 1)
        return settings_from({**SHORT, **given, "draws": 40, "batch_size": len(task.data), "mode": "vmap"})

    monkeypatch.setattr(network, "calibrate", settle)
    monkeypatch.setattr(controls, "short_reach", lambda task, gamma: False)
    arms = [Arm(tiny_class, 2000, "calibrated", 3), Arm(tiny_class, 2000, "sgld", 2), Arm(tiny_class, 2000, "mala", 1)]
    return Plan(tuple(arms), 0)


def stamps(folder):
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.glob("units/*/*/unit.json"))}


def test_measured_stored_and_resumed(quick, tmp_path):
    seen = []
    run = dln_benchmark(tmp_path / "run", quick, command="made so", progress=lambda *event: seen.append(event))
    summary = run.summary()
    assert summary["kind"] == "dln-benchmark"
    assert [arm["nets"] for arm in summary["arms"]] == [3, 2, 1]
    assert [(r["net"], r["sampler"]) for r in summary["networks"]] == [
        *((0, "calibrated"), (0, "sgld"), (0, "mala")),
        *((1, "calibrated"), (1, "sgld")),
        (2, "calibrated"),
    ]
    for row in summary["networks"]:
        assert row["failed"] is None
        assert abs(row["error"]) < 0.5
        assert row["seconds"] > 0
        assert row["settings"]["nbeta"] == pytest.approx(2000 / 7.6009, rel=1e-4)
    first, langevin = summary["networks"][:2]
    # four chains of 60 trajectories of 4 leapfrogs, and the stronger pull's 40
    assert 960 <= first["evaluations"] <= 1800
    assert langevin["settings"]["gamma"] == first["settings"]["gamma"]
    steps = langevin["settings"]["burn_in"] + langevin["settings"]["draws"]
    assert steps == first["evaluations"] // 4
    assert (tmp_path / "run" / "tables.md").read_text().startswith("# Samplers on deep linear networks")
    trace = run.tree(first["label"], "calibrated").dataset
    assert trace.sizes == {"chain": 4, "point": 60}
    done = [event[1] for event in seen]
    assert done == sorted(done)
    assert seen[-1] == ("networks", 1000, 1000)

    before = stamps(tmp_path / "run")
    assert len(before) == 6
    (tmp_path / "run" / "units" / first["label"] / "sgld" / "unit.json").unlink()
    again = dln_benchmark(tmp_path / "run", quick, command="made so").summary()
    after = stamps(tmp_path / "run")
    assert {name for name in after if after[name] != before[name]} == {f"units/{first['label']}/sgld/unit.json"}
    for old, new in zip(summary["networks"], again["networks"], strict=True):
        assert (old["llc"], old["se"]) == (new["llc"], new["se"])


def test_a_network_that_cannot_be_measured_is_marked_and_the_rest_goes_on(quick, tmp_path, monkeypatch):
    usual = network.calibrate

    def sometimes(task, *, given, target_se, progress):
        if task.dimension == refused:
            raise SettingsError("expected a, got b; do c")
        return usual(task, given=given, target_se=target_se, progress=progress)

    refused = toys.size_class(quick.arms[0].size, 0, samples=2000).task.dimension
    monkeypatch.setattr(network, "calibrate", sometimes)
    summary = dln_benchmark(tmp_path / "run", quick).summary()
    rows = {(r["net"], r["sampler"]): r for r in summary["networks"]}
    assert rows[0, "calibrated"]["failed"] == "expected a, got b; do c"
    assert rows[0, "sgld"]["failed"] == "the calibrated sampler found no settings to compare at"
    assert rows[2, "calibrated"]["failed"] is None
    assert summary["arms"][0]["without_number"] >= 1
    assert json.dumps(summary)


def test_work_can_be_sent_to_other_processes(tmp_path):
    work = network.NetworkWork(tmp_path, "1k", 20_000, 7, ("sgld",), 0, None, 1.0)
    assert pickle.loads(pickle.dumps(work)) == work
    assert work.label == "1k-007-n20000"


@pytest.mark.parametrize(("mode", "calls"), [("loop", 15), ("vmap", 5)])
def test_gradients_are_counted_as_those_of_one_chain(mode, calls):
    task, loss = counted(toys.size_class("1k", 0, samples=2000).task)
    target = LocalPosterior(task, 10.0, 1.0, mode)
    position = {name: w.repeat(3, 1, 1) for name, w in task.center.items()}
    with torch.no_grad():
        task.item_losses(task.center, task.batch(torch.arange(4)))  # no gradient
    for _ in range(5):
        target.evaluate(position, None)
    assert loss.calls[0] == calls
    assert loss.gradients(3, mode) == 15


@pytest.mark.parametrize("name", OTHERS)
def test_every_rule_gives_a_stable_step_and_the_same_number_of_gradients(name, tiny_class):
    toy = toys.size_class(tiny_class, 1, samples=2000)
    reference = settings_from({**SHORT, "nbeta": toy.nbeta, "draws": 60, "mode": "vmap"})
    curvature = top_curvature(toy.task, items=len(toy.task.data), tolerance=0.005, iterations=100).value
    own = compared_settings(name, toy.task, reference, curvature=curvature, evaluations=4 * 200)
    assert own.sampler.startswith(name)
    assert (own.nbeta, own.gamma, own.chains, own.seed) == (reference.nbeta, 100.0, 4, 0)
    assert own.steps == (100 if name == "mclmc" else 200)
    assert own.burn_in == own.steps // 4
    tree = sample(toy.task, own)
    assert (tree["draws"].dataset["diverged_at"].values < 0).all()
    assert own.reasons["step_size"]


def test_sgld_s_rule_is_a_tenth_of_the_curvature_s_scale(tiny_class):
    toy = toys.size_class(tiny_class, 1, samples=2000)
    reference = settings_from({**SHORT, "nbeta": 50.0, "draws": 60, "mode": "vmap"})
    own = compared_settings("sgld", toy.task, reference, curvature=7.0, evaluations=800)
    assert own.step_size == pytest.approx(0.1 / (50.0 * 7.0 + 100.0), rel=0.01)
