"""Symmetric quantization by hand: Δ = m/(n_q/2 − 1), values kΔ with |k| ≤ n_q/2 − 1."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bitsandnats as bn
from bitsandnats.compressors.quantize import quantize_weights
from bitsandnats.errors import InputError, ModelError
from bitsandnats.toys import quadratic


def quantized(values, intervals, max_abs):
    return quantize_weights({"w": torch.tensor(values, dtype=torch.float64)}, intervals=intervals, max_abs=max_abs)[
        "w"
    ].tolist()


@pytest.mark.parametrize(
    ("intervals", "max_abs", "values", "expected"),
    [
        # Δ = 2: {−2, 0, 2}
        (4, 2.0, [-9.0, -2.0, -1.1, -0.9, 0.0, 0.9, 1.1, 2.0, 9.0], [-2, -2, -2, 0, 0, 0, 2, 2, 2]),
        # Δ = 1: {−2, −1, 0, 1, 2}
        (6, 2.0, [-2.6, -1.6, -0.6, -0.4, 0.0, 0.4, 0.6, 1.4, 1.6, 2.6], [-2, -2, -1, 0, 0, 0, 1, 1, 2, 2]),
        # Δ = 1: {−3 … 3}
        (8, 3.0, [-3.5, -2.4, -1.6, 0.2, 1.2, 2.7, 3.5], [-3, -2, -2, 0, 1, 3, 3]),
        # Δ = 1: symmetric int8, {−127 … 127}
        (256, 127.0, [-200.0, -127.0, -126.6, -0.2, 0.0, 0.7, 63.4, 200.0], [-127, -127, -127, 0, 0, 1, 63, 127]),
    ],
)
def test_by_hand(intervals, max_abs, values, expected):
    assert quantized(values, intervals, max_abs) == expected


def test_ties_go_to_the_even_multiple():
    """IEEE rounding, half to even, on both sides alike: no bias away from or towards zero."""
    assert quantized([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], 8, 3.0) == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize("intervals", [4, 6, 8, 10, 64, 256])
def test_number_of_values(intervals):
    m = 1.7
    dense = np.linspace(-2 * m, 2 * m, 40001).tolist()
    values = sorted(set(quantized(dense, intervals, m)))
    assert len(values) == intervals - 1
    assert 0.0 in values
    assert values[-1] == pytest.approx(m, rel=1e-15)
    assert values == [-v for v in reversed(values)]
    assert np.allclose(np.diff(values), m / (intervals // 2 - 1), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("intervals", [4, 6, 8, 38, 256])
def test_zero_and_ends_are_kept(dtype, intervals):
    m = 0.3
    out = quantize_weights({"w": torch.tensor([0.0, m, -m], dtype=dtype)}, intervals=intervals, max_abs=m)["w"]
    assert out.dtype == dtype
    assert out[0] == 0
    assert torch.allclose(out, torch.tensor([0.0, m, -m], dtype=dtype), rtol=2e-7 if dtype == torch.float32 else 1e-15)


@pytest.mark.parametrize("intervals", [-4, 0, 2, 3, 5, 255])
def test_odd_or_small_is_refused(intervals):
    with pytest.raises(InputError, match=rf"expected n_q even and at least 4, got n_q = {intervals}; use 4, 6, 8"):
        quantized([1.0], intervals, 1.0)


@pytest.mark.parametrize("max_abs", [0.0, -1.0, float("nan")])
def test_empty_range_is_refused(max_abs):
    with pytest.raises(InputError, match=r"expected max_abs > 0, got .*; give a positive range"):
        quantized([1.0], 4, max_abs)


def test_unknown_options_are_refused():
    with pytest.raises(InputError, match=r"expected max_abs 'optimal' or 'largest', got 'best'"):
        bn.compressors.quantize("best")
    with pytest.raises(InputError, match=r"expected granularity 'model', 'tensor' or 'channel', got 'row'"):
        bn.compressors.quantize(granularity="row")


def test_weights_that_cannot_be_quantized(digit_task):
    name, w = next(iter(digit_task.center.items()))
    damaged = w.clone()
    damaged[0, 3] = float("nan")
    for weights, said in (
        ({**digit_task.center, name: damaged}, f"finite weights, got NaN or infinite values in {name}"),
        ({**digit_task.center, name: w.to(torch.int32)}, f"floating-point weights, got {name} in int32"),
        ({k: torch.zeros_like(v) for k, v in digit_task.center.items()}, "not all zero, got zeros only"),
    ):
        with pytest.raises(ModelError, match=said):
            bn.compressors.quantize().prepare(digit_task.at(weights))


numbers = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-10, 10, allow_subnormal=False))
levels = st.integers(2, 128).map(lambda k: 2 * k)


@settings(deadline=None, max_examples=150)
@given(numbers, levels, st.floats(0.01, 20))
def test_properties(values, intervals, m):
    w = torch.from_numpy(values)
    q = quantize_weights({"w": w}, intervals=intervals, max_abs=m)["w"]
    spacing = m / (intervals // 2 - 1)
    inside = w.abs() <= m
    assert bool(((q - w).abs()[inside] <= spacing / 2 * (1 + 1e-9)).all())
    assert torch.allclose(q[~inside], torch.sign(w[~inside]) * m)
    assert float(q.abs().max()) <= m * (1 + 1e-12)
    again = quantize_weights({"w": q}, intervals=intervals, max_abs=m)["w"]
    assert torch.equal(again, q)  # idempotent
    mirrored = quantize_weights({"w": -w}, intervals=intervals, max_abs=m)["w"]
    assert torch.equal(mirrored, -q)
    order = torch.argsort(w)
    assert bool((q[order].diff() >= 0).all())


def test_largest(digit_task):
    prepared = bn.compressors.quantize("largest").prepare(digit_task)
    largest = max(float(w.abs().max()) for w in digit_task.center.values())
    assert prepared.details(16)["max_abs"] == largest
    out = prepared.compress(256)
    for name, w in digit_task.center.items():
        assert float((out[name] - w).abs().max()) <= largest / 127 / 2 * (1 + 1e-3)


def test_bits(digit_task):
    """The source's count is log₂ n_q a parameter; the price counts the n_q − 1 values that there are, and the range."""
    d = digit_task.dimension
    prepared = bn.compressors.quantize().prepare(digit_task)
    for level in (4, 6, 256):
        assert prepared.bits(level) == pytest.approx(d * math.log2(level - 1) + 32)
        assert prepared.details(level)["bits_per_parameter"] == pytest.approx(math.log2(level))
    groups = {"tensor": 4, "channel": 24 + 1 + 10 + 1}  # a range a row of both matrices, one a bias
    for granularity, count in groups.items():
        grouped = bn.compressors.quantize("largest", granularity).prepare(digit_task)
        assert grouped.bits(6) == pytest.approx(d * math.log2(5) + 32 * count)


def test_fixed_parameters_are_charged(build_mlp, digits):
    module = build_mlp(64, 10)
    module[0].bias.requires_grad_(False)
    task = bn.Task.from_module(module, bn.losses.cross_entropy(), digits["train"])
    assert bn.compressors.quantize().prepare(task).bits(4) == pytest.approx(math.log2(3) * 640 + 32 + 32 * 10)


# --- one range a group


def test_groups_by_hand():
    """A range of its own for each row of the matrix: 1 and 10; for the vector: 4; zeros stay zero."""
    w = {"a": torch.tensor([[1.0, -0.6, 0.2], [10.0, 4.0, -6.0]]), "b": torch.tensor([4.0, -1.0]), "c": torch.zeros(2)}
    task = quadratic([1.0]).at(w)
    out = bn.compressors.quantize("largest", "channel").prepare(task).compress(6)
    assert torch.allclose(out["a"], torch.tensor([[1.0, -0.5, 0.0], [10.0, 5.0, -5.0]]))
    assert out["b"].tolist() == [4.0, 0.0]  # −1 is half a step: ties go to the even multiple
    assert out["c"].tolist() == [0.0, 0.0]
    out = bn.compressors.quantize("largest", "tensor").prepare(task).compress(6)
    assert out["a"].tolist() == [[0.0, 0.0, 0.0], [10.0, 5.0, -5.0]]
    assert out["b"].tolist() == [4.0, 0.0]


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("level", [6, 10, 16])
def test_a_searched_range_costs_no_more_than_the_largest(granularity, level, digit_task):
    losses = []
    for rule in ("optimal", "largest"):
        out = bn.compressors.quantize(rule, granularity).prepare(digit_task).compress(level)
        losses.append(float(digit_task.mean_loss(digit_task.all_item_losses(out))))
        values = {name: [len(row.unique()) for row in w.flatten(1)] for name, w in out.items() if w.ndim > 1}
        assert max(max(counts) for counts in values.values()) <= level - 1
    assert losses[0] <= losses[1] + 0.01


def test_the_name_says_what_differs():
    quantize = bn.compressors.quantize
    assert quantize().scheme == "quantize"
    assert quantize("largest").scheme == "quantize-largest"
    assert quantize("largest", "channel").scheme == "quantize-largest(granularity='channel')"


# --- the search for the range


def searched(task, levels):
    """Gap to the best of 200 ranges at each level, on the data that the range is judged by; evaluations a level."""
    batch = task.batch(torch.linspace(0, len(task.data) - 1, min(512, len(task.data))).round().long())
    largest = max(float(w.abs().max()) for w in task.center.values())
    evaluated = [0]

    def counted(params, batch):
        evaluated[0] += 1
        return task.loss(params, batch)

    prepared = bn.compressors.quantize().prepare(dataclasses.replace(task, loss=counted))

    def loss(params):
        with torch.no_grad():
            return float(task.mean_loss(task.item_losses(params, batch)))

    gaps, counts = [], []
    for level in levels:
        before = evaluated[0]
        found = loss(prepared.compress(level))
        counts.append(evaluated[0] - before)
        scan = np.geomspace(largest / 60, largest, 200)
        best = min(loss(quantize_weights(task.center, intervals=level, max_abs=float(m))) for m in scan)
        gaps.append(found - best)
        assert prepared.details(level)["range_losses"] <= 11
    return np.array(gaps), counts


@pytest.mark.parametrize("step", ["step25", "step50", "step200"])
def test_search_for_the_range(step, digit_snapshots, digits):
    """The range found costs at most 0.01 nat more than the best of a dense scan, from at most 16 losses a level.

    Five of them serve all levels. At n_q = 4, where the loss jumps by tenths of a nat between neighbours among the 200,
    the best one of them is a matter of luck: 0.03 is allowed there.
    """
    task = bn.Task.from_module(digit_snapshots[step], bn.losses.cross_entropy(), digits["held_out"])
    levels = [4, 6, 8, 12, 16, 48, 128]
    gaps, counts = searched(task, levels)
    assert (gaps[1:] <= 0.01).all(), gaps
    assert gaps[0] <= 0.03
    assert counts[0] <= 16
    assert max(counts[1:]) <= 11


def test_one_level_alone_takes_sixteen_losses(digit_task):
    assert searched(digit_task, [12])[1][0] <= 16


def test_at_mild_levels_the_search_reaches_the_largest_weight():
    """One outlier far beyond 8 times the root mean square, which the loss depends on, is not clipped at n_q = 256."""
    weights = torch.full((400,), 0.01)
    weights[0] = 4.0
    net = torch.nn.Linear(400, 1, bias=False)
    net.weight.data = weights[None].clone()
    x = torch.eye(400)
    task = bn.Task.from_module(net, bn.losses.gaussian(0.1), (x, x @ weights[:, None]))
    assert 8 * float(weights.square().mean().sqrt()) < 4.0
    found = bn.compressors.quantize("optimal").prepare(task)
    assert found.details(256)["max_abs"] == pytest.approx(4.0, rel=0.02)
