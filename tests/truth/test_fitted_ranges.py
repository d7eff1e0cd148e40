"""Ranges of least squared error against dense scans, group by group."""

import pytest
import torch

from bitsandnats.compressors.fitted_ranges import fitted_ranges
from bitsandnats.compressors.quantize import quantize_weights


def error(w, m, half):
    rounded = torch.round(torch.clamp(w, -m, m) * (half / m)) * (m / half)
    return float((rounded - w).square().sum())


@pytest.mark.parametrize("half", [1, 3, 7, 31])
def test_each_group_has_the_least_error_of_a_dense_scan(half):
    generator = torch.Generator().manual_seed(half)
    w = torch.randn(4, 200, generator=generator) * torch.tensor([[0.1], [1.0], [5.0], [1.0]])
    w[3] = w[3] ** 3
    largest = w.abs().amax(1, keepdim=True)
    found = fitted_ranges({"w": w}, {"w": largest}, half)["w"]
    assert found.shape == largest.shape
    for row, m, most in zip(w, found.flatten(), largest.flatten(), strict=True):
        scan = min(error(row, most * k / 2000, half) for k in range(20, 2001))
        assert error(row, float(m), half) <= 1.03 * scan
        assert m <= most


def test_one_group_a_tensor_and_groups_of_zeros():
    w = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    params = {"w": w, "b": torch.zeros(4), "one": torch.tensor([2.0])}
    largest = {name: p.abs().amax(tuple(range(p.ndim)), keepdim=True) for name, p in params.items()}
    found = fitted_ranges(params, largest, 3)
    assert {name: m.shape for name, m in found.items()} == {name: m.shape for name, m in largest.items()}
    assert found["b"] == 0
    assert found["one"] == 2.0
    quantized = quantize_weights(params, intervals=8, max_abs=found)
    assert torch.equal(quantized["b"], params["b"])
    assert torch.equal(quantized["one"], params["one"])
    flat = error(w.flatten(), float(found["w"]), 3)
    assert flat <= 1.03 * min(error(w.flatten(), float(largest["w"]) * k / 1000, 3) for k in range(20, 1001))
