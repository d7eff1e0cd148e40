"""Measuring while a model trains: the table is that of a study, and the training does not notice."""

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.errors import InputError, ModelError, StoreError
from bitsandnats.recipes.trackers import track

SETTINGS = {
    "nbeta": 100.0, "gamma": 500.0, "step_size": 1e-5, "batch_size": 16, "chains": 2, "burn_in": 2, "draws": 12,
    "start": "center", "mode": "loop",
}  # fmt: skip
LOSS = bn.losses.gaussian(0.5)


@pytest.fixture(scope="module")
def curve():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(64, 2, generator=generator) * 4 - 2
    return x, x[:, :1].sin() * x[:, 1:]


def network():
    """Everything that a mode or a random state matters to."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))


def monitor(curve, out, **options):
    options = {"at": (2, 4), "settings": SETTINGS, "tolerances": (0.1, 0.5), **options}
    return bn.Monitor(curve, LOSS, out=out, **options)


def row_of(watch, step, model) -> dict[str, Any]:
    """The row of a step that is measured at."""
    row = watch(step, model)
    assert row is not None
    return row


def everything(model, optimizer):
    """All that a training depends on."""
    return {
        "weights": copy.deepcopy(model.state_dict()),
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "needs gradient": [p.requires_grad for p in model.parameters()],
        "modes": [part.training for part in model.modules()],
        "storages": [p.data_ptr() for p in model.parameters()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "threads": torch.get_num_threads(),
        "gradient mode": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "forward": ["forward" in part.__dict__ for part in model.modules()],
        "hooks": [len(part._forward_hooks) for part in model.modules()],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def train(curve, steps, look=None):
    """Training with everything on: dropout, batch norm, momentum, autocast, data in random order."""
    model = network().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = curve
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    for step in range(1, steps + 1):
        chosen = torch.randperm(len(x))[:16]
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = LOSS(model, (x[chosen], y[chosen])).mean()
            loss.backward()
            if look is not None:
                before = everything(model, optimizer)
                look(step, model)
                after = everything(model, optimizer)
                assert [name for name in before if not same(before[name], after[name])] == []
        optimizer.step()
    return everything(model, optimizer)


def test_training_does_not_notice_and_the_table_is_that_of_a_study(curve, tmp_path):
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        alone = train(curve, 5)
        watch = monitor(curve, tmp_path / "run")
        rows = []
        watched = train(curve, 5, lambda step, model: rows.append(watch(step, model)))
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.set_rng_state(state[2])
    assert [name for name in alone if name != "storages" and not same(alone[name], watched[name])] == []
    assert [row and row["label"] for row in rows] == [None, "step2", None, "step4", None]
    run = bn.open_run(tmp_path / "run")
    summary = run.summary()
    assert [row["step"] for row in summary["checkpoints"]] == [2, 4]
    assert [row["failed"] for row in summary["checkpoints"]] == [None, None]
    assert summary["checkpoints"][0]["llc"]["llc"] == rows[1]["llc"]["llc"]
    assert run.tree("step2", "llc").attrs["dimension"] == 2 * 8 + 8 + 8 + 8 + 8 + 1
    page = bn.write_report(run.path, images=False)
    assert "step4" in page.read_text()


def test_it_is_what_a_study_of_the_same_weights_finds(curve, tmp_path):
    model = network().train()
    row = row_of(monitor(curve, tmp_path / "a", at=lambda step: step == 3), 3, model)
    task = bn.Task.from_module(copy.deepcopy(model).eval(), LOSS, curve)
    run = bn.study({"step3": task}, settings=SETTINGS, tolerances=(0.1, 0.5), out=tmp_path / "b")
    other = run.summary()["checkpoints"][0]
    for found in (row, other):
        found["llc"].pop("seconds")
    assert row == other


def test_a_training_that_is_resumed_measures_on(curve, tmp_path, monkeypatch):
    model, watch = network(), monitor(curve, tmp_path / "run", at=range(9))
    first = watch(1, model)
    monkeypatch.setattr("bitsandnats.recipes.checkpoint.measure_llc", None)
    monkeypatch.setattr("bitsandnats.recipes.checkpoint.critical_points", None)
    assert monitor(curve, tmp_path / "run", at=range(9))(1, model) == first
    with torch.no_grad():
        next(model.parameters()).mul_(0.5)
    assert row_of(watch, 2, model)["failed"]  # other weights: nothing is there to be read, and nothing can be measured
    monkeypatch.undo()
    assert row_of(watch, 2, model)["failed"] is None
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(StoreError, match=r"given.draws = 9 where the folder has 12"):
        monitor(curve, tmp_path / "run", at=[3], settings={**SETTINGS, "draws": 9})(3, model)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch's own, where its compiler is loaded
@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, lambda m: m.bfloat16()], ids=["compiled", "parallel", "half"]
)
def test_wrapped_and_half_precision_models(wrap, curve, tmp_path):
    plain = network()
    expected = row_of(monitor(curve, tmp_path / "plain"), 2, copy.deepcopy(plain))
    wrapped = wrap(plain)
    dtype = next(wrapped.parameters()).dtype
    row = row_of(monitor(curve, tmp_path / "wrapped"), 2, wrapped)
    assert row["llc"]["llc"] == pytest.approx(expected["llc"]["llc"], rel=1e-6 if dtype == torch.float32 else 1)
    assert next(wrapped.parameters()).dtype == dtype


def test_one_kind_of_measurement_alone(curve, tmp_path):
    watch = monitor(curve, tmp_path / "bits", measurements=("quantize", "noise-absolute"), settings=None)
    bits = row_of(watch, 2, network())
    assert bits["llc"] is None
    assert set(bits["critical"]) == {"quantize", "noise-absolute"}
    nats = row_of(monitor(curve, tmp_path / "nats", measurements=("llc",)), 2, network())
    assert nats["critical"] == {}
    assert nats["llc"]["llc"] is not None
    for name in ("bits", "nats"):
        assert "step2" in bn.write_report(tmp_path / name, images=False).read_text()


def test_a_forward_that_accelerate_has_replaced(curve, tmp_path):
    model = network()
    expected = row_of(monitor(curve, tmp_path / "plain"), 2, model)
    forward = model.forward
    model.__dict__ |= {"_original_forward": forward, "forward": lambda *args: forward(*args).float()}
    row = row_of(monitor(curve, tmp_path / "replaced"), 2, model)
    assert row["llc"]["llc"] == expected["llc"]["llc"]
    assert "forward" in model.__dict__
    del model.__dict__["_original_forward"]
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match=r"got Sequential\.forward replaced by a function"):
        monitor(curve, tmp_path / "hidden")(2, model.train())
    assert same(before, model.state_dict())
    alone = network().eval()
    watch = bn.Monitor(curve, lambda m, batch: LOSS(alone, batch), at=[2], out=tmp_path / "other", settings=SETTINGS)
    with pytest.raises(ModelError, match="got a loss that does not depend on its weights; give the monitor the plain"):
        watch(2, network())


def test_a_disk_that_fills_does_not_end_the_training(curve, tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    watch, model = monitor(curve, tmp_path / "run"), network()
    with monkeypatch.context() as patch:
        patch.setattr("bitsandnats.store.files.os.fsync", full)
        with pytest.raises(StoreError, match="No space left on device"):
            watch(2, model)
    watch(2, model)
    with monkeypatch.context() as patch:
        patch.setattr("bitsandnats.store.files.os.fsync", full)
        with pytest.warns(UserWarning, match="step 4 was not measured: .*No space left on device"):
            assert watch(4, model) is None
    assert row_of(watch, 4, model)["failed"] is None


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_trackers_are_told(name, curve, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text(
        "told = []\nrun = True\n\n\ndef log(values):\n    assert run\n    told.append(values)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    row = row_of(monitor(curve, tmp_path / "run", trackers=(name,)), 2, network())
    module = __import__(name)
    try:
        values = module.told[0]
        assert values["bitsandnats/step"] == 2
        assert values["bitsandnats/llc"] == row["llc"]["llc"]
        assert values["bitsandnats/quantize at 0.5"] == row["critical"]["quantize"][1]["crossing"]
        module.run = False
        with pytest.raises(
            InputError, match=rf"expected a run of {name} to log to, got AssertionError.*call {name}.init"
        ):
            track((name,), row)
    finally:
        monkeypatch.delitem(__import__("sys").modules, name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trackers": ("wandbb",)}, "expected a tracker among wandb, trackio, got 'wandbb'"),
        ({"measurements": ()}, "expected something to measure, got nothing"),
        ({"measurements": ("llc", "quantise")}, "quantize"),
        ({"tolerances": (-1.0,)}, "tolerance"),
        ({"settings": {"draws": 0}}, "draws"),
    ],
)
def test_what_a_monitor_refuses_before_the_training(options, said, curve, tmp_path):
    with pytest.raises(InputError, match=said):
        monitor(curve, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
