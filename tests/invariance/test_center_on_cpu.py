"""w* kept by the CPU: the same draws to the bit, fetched a block at a time, nothing left on the device.

There is no second device here: the copy is made all the same, and what would cross the link is counted.
"""

import gc
import json
import weakref

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats import _tree, paging
from bitsandnats.component import on_component
from bitsandnats.errors import InputError
from bitsandnats.recipes.llc import check_given
from bitsandnats.run import sample
from bitsandnats.samplers import types

SETTINGS = bn.Settings(
    step_size=1e-4, gamma=10.0, nbeta=20.0, batch_size=8, chains=2, burn_in=1, draws=6, mode="loop", micro_batch="whole"
)


@pytest.fixture
def copied(monkeypatch):
    """As on an accelerator: w* of a task that is kept is another array."""
    monkeypatch.setattr(paging, "_kept", lambda tensor, device: tensor.detach().clone())


@pytest.fixture(params=["packed", "in blocks"])
def walked(request, monkeypatch):
    """Small models are packed into one tensor, large ones walked over in blocks of so many weights."""
    if request.param == "in blocks":
        monkeypatch.setattr(types, "_FLAT", {"cpu": 0})
        monkeypatch.setattr(types, "_BLOCK", {"cpu": 64})
    return request.param


def same(one, other):
    for group in ("burn_in", "draws"):
        for name, values in one[group].dataset.items():
            assert np.array_equal(values, other[group].dataset[name], equal_nan=True), name
    return True


@pytest.mark.parametrize("sampler", ["sgld", "rmsprop_sgld", "sghmc", "sgnht", "adam_sgld"])
def test_the_same_draws(sampler, walked, copied, digit_task):
    settings = SETTINGS.model_copy(update={"sampler": sampler, "start": "noise"})
    before = {name: w.clone() for name, w in digit_task.center.items()}
    apart = sample(digit_task, settings.model_copy(update={"center": "cpu"}), observables={"distance": "trace"})
    assert same(sample(digit_task, settings, observables={"distance": "trace"}), apart)
    assert all(torch.equal(w, before[name]) for name, w in digit_task.center.items())


OTHERS = [{"statistics": "none", "baseline": "none"}, {"mode": "vmap"}, {"precision": "bfloat16"}]


@pytest.mark.parametrize("options", OTHERS)
def test_the_same_draws_with_other_options(options, copied, digit_task):
    settings = SETTINGS.model_copy(update=options)
    assert same(sample(digit_task, settings), sample(digit_task, settings.model_copy(update={"center": "cpu"})))


def test_chains_that_are_extended(copied, digit_task):
    """Their batches' L(w*) are computed ahead, with w* fetched once, and again for the further draws."""

    def extend(tree):
        return 3 if len(tree["draws"].dataset["draw"]) < 9 else 0

    settings = SETTINGS.model_copy(update={"baseline": "batch", "draws": 3})
    trees = [sample(digit_task, settings.model_copy(update={"center": p}), extend=extend) for p in ("device", "cpu")]
    assert same(*trees)
    assert trees[0]["draws"].dataset["baseline"].shape == (2, 9)
    assert trees[0]["draws"].dataset["baseline"].values.std() > 0


def test_a_step_fetches_w_once_and_never_more_than_a_block(copied, digit_task, monkeypatch):
    monkeypatch.setattr(types, "_FLAT", {"cpu": 0})
    monkeypatch.setattr(types, "_BLOCK", {"cpu": 64})
    task = paging.center_in(digit_task, "cpu")
    kept = {w.untyped_storage().data_ptr() for w in task.center.values()}
    steps: list[int] = []
    whole: list[int] = []

    def fetched(counts):
        def fetch(tensor, device):
            if tensor.untyped_storage().data_ptr() in kept:
                counts.append(tensor.numel())
            return tensor

        return fetch

    settings = SETTINGS.model_copy(update={"statistics": "none", "sampler": "rmsprop_sgld", "baseline": "none"})
    monkeypatch.setattr(_tree, "fetched", fetched(steps))
    monkeypatch.setattr(paging, "fetched", fetched(whole))
    sample(task, settings)
    assert max(steps) <= 64
    assert sum(steps) == settings.chains * settings.steps * task.dimension
    assert len(whole) == 8 * len(task.center)  # L(w*) of eight batches, when the chains are done


def test_nothing_is_left_on_the_device(copied, build_mlp):
    def made():
        task = bn.Task.from_module(
            build_mlp(4, 8, 3), bn.losses.cross_entropy(), (torch.rand(20, 4), torch.arange(20) % 3)
        )
        return paging.center_in(task, "cpu"), [weakref.ref(w.untyped_storage()) for w in task.center.values()]

    task, there = made()
    gc.collect()
    assert task.compute == torch.device("cpu")
    assert [ref() for ref in there] == [None] * len(there)
    assert paging.center_in(task, "cpu") is task
    assert paging.center_in(task, "device") is task


def test_front_doors(copied, digit_task, tmp_path):
    settings = SETTINGS.model_copy(update={"draws": 8})
    one, other = (bn.estimate_llc(digit_task, settings=settings, center=place) for place in ("device", "cpu"))
    assert one.llc == other.llc
    assert one.se == other.se
    given = {k: v for k, v in settings.values().items() if k != "seed"}

    def rows(place, folder):
        run = bn.study({"step1": digit_task}, settings={**given, "center": place}, tolerances=[0.5], out=folder)
        found = json.loads(json.dumps(run.summary()["checkpoints"]))
        found[0]["llc"].pop("seconds")
        return run, found

    run, apart = rows("cpu", tmp_path / "run")
    assert run.settings()["resolved"]["center"] == "cpu"
    stamps = {p: p.stat().st_mtime_ns for p in run.path.glob("units/*/*/unit.json")}
    assert rows("device", tmp_path / "run")[1] == apart  # the same numbers, so the same run
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert rows("device", tmp_path / "other")[1] == apart


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "mala"}, "sampler mala"),
        ({"gradient": "control"}, "gradient control"),
        ({"metric": "tensors"}, "metric tensors"),
    ],
)
def test_what_needs_all_of_w(options, said, digit_task):
    with pytest.raises(InputError, match=f"expected no {said} beside center cpu, got both; choose another"):
        sample(digit_task, SETTINGS.model_copy(update={"center": "cpu", **options}))


def test_no_component_of_it(digit_task):
    with pytest.raises(InputError, match="no component beside center cpu"):
        on_component(paging.center_in(digit_task, "cpu"), "layer.0")
    with pytest.raises(InputError, match="center: input should be 'device' or 'cpu'"):
        check_given({"center": "disk"})
