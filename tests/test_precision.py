"""Precision of the loss's products, and passes of fewer items: what they change and what they do not."""

import copy
import gc
import math
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.curvature import center_gradient
from bitsandnats.precision import in_precision
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.target import micro_batch

SETTINGS = Settings(step_size=1e-6, gamma=10.0, nbeta=100.0, chains=1, draws=6, batch_size=12, baseline="batch")


def _digits32(digit_snapshots, digits):
    module = copy.deepcopy(digit_snapshots["step200"]).float()
    x, y = digits["train"]
    return bn.Task.from_module(module, bn.losses.cross_entropy(), (x.float(), y))


def test_bfloat16(digit_snapshots, digits):
    """Losses are rounded, draws and baseline alike; weights, steps and noise are not."""
    task = _digits32(digit_snapshots, digits)
    plain = sample(task, SETTINGS)
    rounded = sample(task, SETTINGS.model_copy(update={"precision": "bfloat16"}))
    assert rounded.attrs["precision"] == "bfloat16"
    for name in ("loss", "baseline"):
        a, b = (np.asarray(tree["draws"][name]) for tree in (plain, rounded))
        assert not (a == b).any()
        assert abs(a - b).max() < 0.05 * a.max()
    noise = np.asarray(plain["draws"]["distance_squared"])
    assert np.asarray(rounded["draws"]["distance_squared"]) == pytest.approx(noise, rel=0.02)


def test_parts_of_a_batch(digit_snapshots, digits):
    task = _digits32(digit_snapshots, digits)
    whole = sample(task, SETTINGS)
    parts = sample(task, SETTINGS.model_copy(update={"micro_batch": 5}))
    assert (whole.attrs["micro_batch"], parts.attrs["micro_batch"]) == (12, 5)
    assert np.asarray(parts["draws"]["loss"]) == pytest.approx(np.asarray(whole["draws"]["loss"]), rel=1e-4)


def test_fitting(monkeypatch, build_transformer):
    """As many items as the share of memory holds, in passes of about the same size."""
    tokens = torch.randint(40, (16, 16), generator=torch.Generator().manual_seed(0))
    task = bn.Task.from_module(build_transformer("neox"), bn.hf.CausalLMLoss(), tokens)
    item = micro_batch.kept_bytes(task, 1)
    assert micro_batch.kept_bytes(task, 4) == pytest.approx(4 * item, rel=0.1)
    target = bn.target.LocalPosterior(task, 1.0, 1.0)
    weights = 4 * task.dimension
    monkeypatch.setattr(micro_batch, "_SMALL", 0)
    for items, chosen in ((3.5, 3), (100, None), (8.5, 8), (12.5, 8), (0.1, 1)):
        room = (items * 2 * item + 3 * weights) / 0.4
        monkeypatch.setattr(micro_batch, "total_memory", lambda _, room=room: room)
        assert micro_batch.choose_micro_batch(target, 16, arrays=1) == chosen


def test_halved_until_it_fits():
    tried = []
    assert micro_batch.largest_fitting(13, lambda n: tried.append(n) or n <= 4) == 4
    assert tried == [13, 7, 4, 5]
    assert micro_batch.largest_fitting(32, lambda n: n <= 3) == 3
    assert micro_batch.largest_fitting(32, lambda n: n <= 7) == 6
    assert micro_batch.largest_fitting(8, lambda _: True) is None
    assert micro_batch.largest_fitting(8, lambda _: False) == 1


def test_refused(wave_task, digit_snapshots, digits):
    with pytest.raises(bn.errors.InputError, match="float32 weights"):
        in_precision(wave_task, "bfloat16")
    with pytest.raises(bn.errors.InputError, match="CUDA"):
        in_precision(_digits32(digit_snapshots, digits), "tf32")
    with pytest.raises(bn.errors.InputError, match="micro_batch"):
        bn.settings.changed(SETTINGS, {"micro_batch": 0})


def test_slope_in_eight_bits(digit_snapshots, digits, monkeypatch):
    """What large models keep of ∇L(w*) gives the same part in the estimate."""
    task = _digits32(digit_snapshots, digits)
    monkeypatch.setattr("bitsandnats.samplers.types._FLAT", {"cpu": 0})
    plain = sample(task, SETTINGS)
    monkeypatch.setattr("bitsandnats.run._LARGE", 0)
    short = sample(task, SETTINGS)
    assert "mala_acceptance" not in short.attrs
    slope = center_gradient(task, items=2048, batch_size=12)
    norm = math.sqrt(sum(float(g.square().sum()) for g in slope.values()) / task.dimension)
    usual = SETTINGS.nbeta * norm * np.sqrt(np.asarray(plain["draws"]["distance_squared"]))  # for any direction
    off = np.asarray(short["draws"]["slope_part"]) - np.asarray(plain["draws"]["slope_part"])
    assert (abs(off) <= 0.15 * usual).all()
    assert off.any()


def test_counting_what_a_pass_keeps_keeps_nothing():
    seen = []

    def loss(model, batch):
        found = model(batch[0]).exp()  # whose output is what its gradient needs
        seen.append(weakref.ref(found))
        return found.sum(1)

    task = bn.Task.from_module(nn.Linear(3, 2), loss, (torch.randn(5, 3), torch.zeros(5)))
    gc.disable()
    try:
        assert micro_batch.kept_bytes(task, 4) > 0
        assert seen[-1]() is None
    finally:
        gc.enable()
