"""What a user can get wrong: the right exception, with what was expected, what was got, and what to do."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import bitsandnats as bn
from bitsandnats.errors import BitsAndNatsError, DataError, InputError, ModelError, StoreError

SMALL = {"nbeta": 100.0, "gamma": 100.0, "step_size": 1e-4, "batch_size": 16, "chains": 2, "draws": 12, "burn_in": 3}


@pytest.fixture
def net(digit_snapshots):
    return copy.deepcopy(digit_snapshots["step50"])


@pytest.fixture
def data(digits):
    return digits["held_out"]


def refused(kind, expected, got, do, call):
    """The exception `kind`, in the house form."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert re.search(f"expected .*{expected}.*got .*{got}.*; .*{do}", text), text
    assert "\n" not in text


def task(module, data, loss=None, **options):
    return bn.Task.from_module(module, loss or bn.losses.cross_entropy(), data, **options)


# --- the model


def test_nan_weights(net, data):
    with torch.no_grad():
        net[0].weight[3, 5] = float("nan")
        net[0].weight[3, 6] = float("inf")
    refused(ModelError, "finite weights", "2 NaN or infinite values in 0.weight", "undamaged", lambda: task(net, data))


def test_nan_in_a_frozen_weight(net, data):
    with torch.no_grad():
        net[0].bias[0] = float("nan")
    net[0].bias.requires_grad_(False)
    refused(ModelError, "finite weights", "1 NaN or infinite values in 0.bias", "undamaged", lambda: task(net, data))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype, net, data):
    refused(ModelError, "float32 or float64", f"0.weight in {str(dtype)[6:]}", r"\.float\(\)",
            lambda: task(net.to(dtype), data))  # fmt: skip


def test_no_trainable_parameters(net, data):
    net.requires_grad_(False)
    refused(ModelError, "trainable", "none with requires_grad=True", "requires_grad_", lambda: task(net, data))
    refused(ModelError, "trainable", "no parameters at all", "requires_grad_", lambda: task(nn.Identity(), data))


def test_dropout_left_on(net, data):
    noisy = nn.Sequential(net, nn.Dropout(0.5)).train()
    refused(ModelError, "the same losses", "a difference of", r"module.eval\(\)", lambda: task(noisy, data))
    task(noisy.eval(), data)


def test_batch_norm_in_training_mode(net, data):
    norm = nn.Sequential(nn.BatchNorm1d(64), net).train()
    before = copy.deepcopy(norm.state_dict())
    refused(ModelError, "does not depend on its batch", "", r"module.eval\(\)", lambda: task(norm, data))
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    task(norm.eval(), data)


def test_a_model_that_calls_itself_random(net, data):
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x) + 0.1 * torch.randn(10)

    refused(ModelError, "the same losses", "a difference of", "eval", lambda: task(Random(), data))


# --- the loss


@pytest.mark.parametrize(
    ("loss", "got"),
    [
        (lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]), r"shape \(\)"),
        (lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1], reduction="none")[:1], r"shape \(1,\)"),
        (lambda m, b: m(b[0])[:, :, None], r"shape \(4, 10, 1\)"),
    ],
)
def test_reduced_loss(loss, got, net, data):
    refused(InputError, "one loss per sample", got, "reduction='none'", lambda: task(net, data, loss))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite(value, net, data):
    refused(InputError, "a finite loss", "NaN or infinity", "check data and model",
            lambda: task(net, data, lambda m, b: m(b[0]).sum(1) * 0 + value))  # fmt: skip


def test_unit_token_without_tokens(net, data):
    refused(InputError, "for unit token", "losses with 1 axes", "choose", lambda: task(net, data, unit="token"))


def test_masked_out_data(net, data):
    def loss(m, b):
        return m(b[0])

    refused(DataError, "at least one token of weight 1", "all 0", "mask",
            lambda: task(net, data, loss, weight=lambda b: torch.zeros(len(b[0]), 10)))  # fmt: skip


def test_labels_missing(net, data):
    refused(DataError, r"batches of \(inputs, targets\)", "Tensor", "your own loss", lambda: task(net, data[0]))
    refused(DataError, r"batches of \(inputs, targets\)", "3 tensors", "your own loss",
            lambda: task(net, (*data, data[1])))  # fmt: skip


# --- the data


class Augmented(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + 0.1 * torch.randn(self.x.shape[1:]), self.y[i]


def test_augmentation(net, data):
    refused(DataError, "the same item each time", "two different values of item", "augmentation",
            lambda: task(net, Augmented(*data)))  # fmt: skip


@pytest.mark.parametrize("empty", [[], (torch.zeros(0, 64), torch.zeros(0).long()), torch.zeros(0, 64), {}, ()])
def test_empty(empty, net):
    with pytest.raises(DataError, match=r"expected .*, got .*; "):
        task(net, empty)


def test_lengths_that_differ(net, data):
    refused(
        DataError, "same number of items", r"lengths \[399, 400\]", "equal", lambda: task(net, (data[0], data[1][1:]))
    )


def test_an_iterator(net, data):
    refused(
        DataError, "map-style", "generator", r"list\(", lambda: task(net, (pair for pair in zip(*data, strict=True)))
    )
    with pytest.raises(DataError, match=r"expected"):
        task(net, 5)
    with pytest.raises(DataError, match=r"expected"):
        task(net, None)


# --- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [("step_size", -1e-4), ("step_size", 0.0), ("gamma", -1.0), ("nbeta", -5.0), ("nbeta", 0.0), ("chains", 0),
     ("draws", 0), ("burn_in", -1), ("batch_size", 0), ("step_size", float("nan"))],
)  # fmt: skip
@pytest.mark.parametrize("how", ["alone", "with settings", "study"])
def test_settings_out_of_range(field, value, how, digit_task, tmp_path):
    def call():
        if how == "alone":
            return bn.estimate_llc(digit_task, **{field: value})
        if how == "with settings":
            return bn.estimate_llc(digit_task, settings=bn.Settings(**SMALL), **{field: value})
        return bn.study({"a": digit_task}, settings={**SMALL, field: value}, out=tmp_path / "run")

    refused(InputError, field, f"{field} = ", f"change {field}", call)
    assert not list(tmp_path.iterdir())  # refused before anything is written


def test_noisy_start_without_a_pull(digit_task):
    settings = bn.Settings(**{**SMALL, "gamma": 0.0}, start="noise")
    refused(InputError, "gamma > 0 for start 'noise'", "gamma = 0", "center",
            lambda: bn.estimate_llc(digit_task, settings=settings))  # fmt: skip


def test_unknown_sampler(digit_task, tmp_path):
    options = dict(SMALL.items())
    refused(InputError, "one of the samplers sgld", "'sgdl'", "did you mean 'sgld'",
            lambda: bn.estimate_llc(digit_task, sampler="sgdl", **options))  # fmt: skip
    refused(InputError, "one of the samplers sgld", "'sgdl'", "did you mean 'sgld'",
            lambda: bn.study({"a": digit_task}, settings={**SMALL, "sampler": "sgdl"}, out=tmp_path / "r"))  # fmt: skip


def test_sampler_option_out_of_range(digit_task):
    refused(InputError, "delta > 0", "delta=-1.0", "rmsprop_sgld",
            lambda: bn.estimate_llc(digit_task, sampler="rmsprop_sgld(delta=-1.0)", **SMALL))  # fmt: skip


def test_a_sampler_without_its_step_size(digit_task):
    refused(InputError, "a step size", "rmsprop_sgld without one", "give step_size",
            lambda: bn.estimate_llc(digit_task, sampler="rmsprop_sgld"))  # fmt: skip


def test_a_seed_given_beside_settings_is_not_ignored(digit_task):
    settings = bn.Settings(**SMALL)
    first = bn.estimate_llc(digit_task, settings=settings, seed=0)
    other = bn.estimate_llc(digit_task, settings=settings, seed=7)
    assert other.tree.attrs["seed"] == 7
    assert first.llc != other.llc


# --- studies


def test_unknown_schemes(digit_task, tmp_path):
    refused(InputError, "one of the compressors", "'quantise'", "did you mean 'quantize'",
            lambda: bn.study({"a": digit_task}, schemes=["quantise"], settings=SMALL, out=tmp_path / "r"))  # fmt: skip
    with pytest.raises(InputError, match=r"expected at least one scheme, got none"):
        bn.study({"a": digit_task}, schemes=[], settings=SMALL, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_empty_series(tmp_path):
    with pytest.raises(InputError, match=r"expected a series of at least one task, got none"):
        bn.study({}, settings=SMALL, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_bad_tolerances(digit_task, tmp_path):
    for bad in ([], [0.5, -0.1], [float("nan")]):
        with pytest.raises(InputError, match=r"expected tolerances > 0"):
            bn.study({"a": digit_task}, tolerances=bad, settings=SMALL, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_no_such_folder(tmp_path):
    with pytest.raises(BitsAndNatsError, match=r"expected .*, got .*; "):
        bn.study(tmp_path / "nowhere", settings=SMALL, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_run_folder_below_a_file(digit_task, tmp_path):
    (tmp_path / "file").write_text("keep me")
    refused(StoreError, "a folder that can be written at", "", "choose another --out",
            lambda: bn.study({"a": digit_task}, settings=SMALL, out=tmp_path / "file" / "run"))  # fmt: skip
    assert (tmp_path / "file").read_text() == "keep me"


def test_run_folder_with_other_things(digit_task, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("{}")
    refused(StoreError, "run.toml in the run folder", "results without it", "choose another --out",
            lambda: bn.study({"a": digit_task}, settings=SMALL, out=tmp_path / "run"))  # fmt: skip
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["summary.json"]


def test_half_written_run_folder(digit_task, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.toml").write_text('[settings]\nrecipe = "lo')
    refused(StoreError, "a readable .*run.toml", "TOMLDecodeError", "remove it and run again",
            lambda: bn.study({"a": digit_task}, settings=SMALL, out=tmp_path / "run"))  # fmt: skip


def test_settings_of_numpy_numbers(digit_task, tmp_path):
    """Users compute their settings."""
    settings = {**SMALL, "gamma": np.float64(100.0), "nbeta": np.float64(100.0)}
    run = bn.study({"a1": digit_task}, settings=settings, tolerances=[np.float64(0.5)], out=tmp_path / "run")
    assert run.summary()["settings"]["gamma"] == 100.0
