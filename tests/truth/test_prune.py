"""Pruning by magnitude: by hand."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import bitsandnats as bn
from bitsandnats import compressors
from bitsandnats.compressors.price import mask_bits
from bitsandnats.compressors.prune_magnitude import prune_magnitude
from bitsandnats.errors import InputError, ModelError
from bitsandnats.toys import quadratic


def pruned(values, level, granularity="model"):
    tensors = {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()}
    task = dataclasses.replace(quadratic([1.0]), center=tensors)
    prepared = prune_magnitude(granularity).prepare(task)
    return {name: w.tolist() for name, w in prepared.compress(level).items()}, prepared


WEIGHTS = {"a": [[3.0, -0.1], [0.2, -5.0]], "b": [0.3, -4.0, 0.4, 1.0, -0.05, 0.6]}


@pytest.mark.parametrize(
    ("level", "a", "b"),
    [
        (1.0, WEIGHTS["a"], WEIGHTS["b"]),
        (0.4, [[3.0, 0.0], [0.0, -5.0]], [0.0, -4.0, 0.0, 1.0, 0.0, 0.0]),
        (0.25, [[3.0, 0.0], [0.0, -5.0]], [0.0, -4.0, 0.0, 0.0, 0.0, 0.0]),  # 2.5 weights: three
        (0.1, [[0.0, 0.0], [0.0, -5.0]], [0.0] * 6),
    ],
)
def test_over_the_whole_model(level, a, b):
    assert pruned(WEIGHTS, level)[0] == {"a": a, "b": b}


def test_tensor_by_tensor():
    out, _ = pruned(WEIGHTS, 0.5, "tensor")
    assert out == {"a": [[3.0, 0.0], [0.0, -5.0]], "b": [0.0, -4.0, 0.0, 1.0, 0.0, 0.6]}


def test_of_equal_magnitudes_the_first_are_kept():
    out, prepared = pruned({"a": [1.0, -1.0, 1.0, 2.0], "b": [1.0]}, 0.6)
    assert out == {"a": [1.0, -1.0, 0.0, 2.0], "b": [0.0]}
    assert prepared.details(0.6) == {"nonzero": 3.0}


def test_entropy_of_a_mask():
    assert mask_bits(8, 4) == 8
    assert mask_bits(4, 1) == pytest.approx(2 + 3 * math.log2(4 / 3))
    assert mask_bits(7, 0) == mask_bits(7, 7) == 0


def test_bits_by_hand():
    _, prepared = pruned(WEIGHTS, 1.0)
    assert prepared.bits(0.4) == pytest.approx(32 * (4 + 1) + 4 * math.log2(10 / 4) + 6 * math.log2(10 / 6))
    assert prepared.bits(1.0) == 32 * (10 + 1)
    _, prepared = pruned(WEIGHTS, 1.0, "tensor")
    assert prepared.bits(0.5) == pytest.approx(32 * (2 + 3 + 2) + 4 + 6)


def test_weights_that_are_zero_already_cost_nothing():
    _, prepared = pruned({"a": [0.0, 0.0, 0.0, 1.0]}, 1.0)
    assert prepared.bits(1.0) == pytest.approx(32 * 2 + 2 + 3 * math.log2(4 / 3))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-9, 9), min_size=5, max_size=40), st.floats(0.1, 1.0), st.integers(1, 30))
def test_the_largest_are_kept_exactly(values, level, cut):
    parts = {"a": values[:cut] or [1.0], "b": values[cut:] or [1.0]}
    out, prepared = pruned(parts, level)
    before, after = ([x for part in (p["a"], p["b"]) for x in part] for p in (parts, out))
    count = math.floor(level * len(before) + 0.5)
    assert all(y in (0.0, x) for x, y in zip(before, after, strict=True))
    assert sorted(map(abs, after), reverse=True)[:count] == sorted(map(abs, before), reverse=True)[:count]
    assert sum(y != 0 for y in after) == min(count, sum(x != 0 for x in before)) == prepared.details(level)["nonzero"]


def test_loss_on_a_quadratic():
    """L = ½ Σ w²: what is left out of it is lost of L."""
    task = quadratic([1.0] * 100).at({"w": torch.arange(1.0, 101.0, dtype=torch.float64)})
    out = prune_magnitude().prepare(task).compress(0.9)
    lost = task.mean_loss(task.all_item_losses(task.center)) - task.mean_loss(task.all_item_losses(out))
    assert float(lost) == pytest.approx(0.5 * sum(k * k for k in range(1, 11)))


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, math.nan])
def test_levels_out_of_range(level, digit_task):
    prepared = prune_magnitude().prepare(digit_task)
    for use in (prepared.compress, prepared.bits, prepared.details):
        with pytest.raises(InputError, match=r"expected fraction of weights between 0.01 and 1, got"):
            use(level)


def test_levels_keep_a_weight():
    prepared = pruned({"a": [1.0, 2.0, 3.0, 4.0]}, 1.0)[1]
    with pytest.raises(
        InputError, match=r"a fraction that keeps a weight, got 0.1 of at most 4 together; choose 0.125 or"
    ):
        prepared.compress(0.1)
    assert prepared.compress(0.125)["a"].tolist() == [0, 0, 0, 4]
    assert pruned({"a": [1.0, 2.0, 3.0, 4.0]}, 1.0)[1].levels.values == (0.35, 0.6, 0.85, 1.0)


def test_bad_options_and_weights():
    with pytest.raises(InputError, match="granularity 'model' or 'tensor', got 'row'"):
        prune_magnitude("row")
    with pytest.raises(ModelError, match="finite weights, got NaN or infinite values in a"):
        pruned({"a": [1.0, math.nan]}, 1.0)
    task = dataclasses.replace(quadratic([1.0]), center={"a": torch.ones(3, dtype=torch.int32)})
    with pytest.raises(ModelError, match="floating-point weights, got a in int32"):
        prune_magnitude().prepare(task)


def test_tied_weights_are_pruned_and_counted_once():
    inner = nn.Linear(6, 6, bias=False)
    data = (torch.ones(4, 6), torch.zeros(4, dtype=torch.long))
    task = bn.Task.from_module(nn.Sequential(inner, nn.Tanh(), inner), bn.losses.cross_entropy(), data)
    prepared = prune_magnitude().prepare(task)
    assert prepared.bits(0.5) == 32 * 19 + 36


def test_written_as_the_registry_reads_it():
    for made in (prune_magnitude(), prune_magnitude("tensor")):
        assert compressors.registry.build(made.scheme)() == made
