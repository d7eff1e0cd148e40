"""Symmetric quantization by hand: Δ = m/(n_q/2 − 1), values kΔ with |k| ≤ n_q/2 − 1."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bitsandnats as bn
from bitsandnats.compressors.quantize import quantize_weights
from bitsandnats.errors import InputError


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


def test_unknown_rule_is_refused():
    with pytest.raises(InputError, match=r"expected max_abs 'optimal' or 'largest', got 'best'"):
        bn.compressors.quantize("best")


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
    d = digit_task.dimension
    prepared = bn.compressors.quantize().prepare(digit_task)
    assert prepared.bits(4) == 2 * d + 32
    assert prepared.bits(256) == 8 * d + 32
    assert prepared.bits(6) == pytest.approx(d * math.log2(6) + 32)


def test_fixed_parameters_are_charged(build_mlp, digits):
    module = build_mlp(64, 10)
    module[0].bias.requires_grad_(False)
    task = bn.Task.from_module(module, bn.losses.cross_entropy(), digits["train"])
    assert bn.compressors.quantize().prepare(task).bits(4) == 2 * 640 + 32 + 32 * 10


@pytest.mark.parametrize("level", [4, 6, 8, 10, 12, 16, 24, 48])
@pytest.mark.parametrize("step", ["step50", "step200"])
def test_search_for_the_range(level, step, digit_snapshots, digits):
    """The m found costs at most 0.01 nat more than the best of a dense scan, on the data it is judged by."""
    task = bn.Task.from_module(digit_snapshots[step], bn.losses.cross_entropy(), digits["held_out"])
    prepared = bn.compressors.quantize().prepare(task)
    batch = task.batch(torch.arange(400))
    largest = max(float(w.abs().max()) for w in task.center.values())

    def loss(params):
        with torch.no_grad():
            return float(task.mean_loss(task.item_losses(params, batch)))

    scan = np.geomspace(largest / 60, largest, 200)
    best = min(loss(quantize_weights(task.center, intervals=level, max_abs=float(m))) for m in scan)
    assert loss(prepared.compress(level)) <= best + 0.01


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
