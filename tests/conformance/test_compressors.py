"""What every compressor in the registry must do, a third party's included."""

import itertools
import math

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import compressors
from bitsandnats.compressors.types import Compressor, Prepared

NAMES = list(compressors.registry.entries())


class Tied(nn.Module):
    """Two layers share their weights; a frozen scale beside them."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(64, 12, bias=False)
        self.inner = nn.Linear(12, 12)
        self.twin = self.inner
        self.scale = nn.Parameter(torch.full((10,), 1.5), requires_grad=False)
        self.out = nn.Linear(12, 10)

    def forward(self, x):
        return self.out(torch.tanh(self.twin(torch.tanh(self.inner(self.encode(x)))))) * self.scale


@pytest.fixture(scope="module")
def task(digits):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Tied()
    x, y = digits["train"]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return bn.Task.from_module(model.eval(), bn.losses.cross_entropy(), digits["train"])


@pytest.fixture(params=NAMES)
def prepared(request, task):
    compressor = compressors.registry.build(request.param)()
    assert isinstance(compressor, Compressor)
    assert compressor.scheme == request.param
    made = compressor.prepare(task, 0)
    assert isinstance(made, Prepared)
    return made


def some(levels):
    return sorted({levels[0], levels[1], levels[len(levels) // 2], levels[-1]})


def test_levels_ascend(prepared):
    assert list(prepared.levels) == sorted(set(prepared.levels))
    assert prepared.draws >= 1


def test_keys_shapes_and_dtypes(prepared, task):
    for level in some(prepared.levels):
        out = prepared.compress(level)
        assert list(out) == list(task.center)
        for name, w in task.center.items():
            assert (out[name].shape, out[name].dtype, out[name].device) == (w.shape, w.dtype, w.device)
            assert bool(torch.isfinite(out[name]).all())


def test_center_and_fixed_are_not_written(prepared, task):
    center, fixed = ({k: p.clone() for k, p in group.items()} for group in (task.center, task.fixed))
    for level in some(prepared.levels):
        out = prepared.compress(level)
        assert not {p.data_ptr() for p in out.values()} & {p.data_ptr() for p in task.center.values()}
        assert not set(out) & set(task.fixed)
    assert all(torch.equal(p, center[k]) for k, p in task.center.items())
    assert all(torch.equal(p, fixed[k]) for k, p in task.fixed.items())


def test_ties_are_kept(prepared, task):
    """A tied weight is compressed once, and both its uses see it."""
    assert "twin.weight" not in task.center
    out = prepared.compress(prepared.levels[0])
    x = task.data.batch(torch.arange(5))[0]
    first = torch.tanh((x @ out["encode.weight"].T) @ out["inner.weight"].T + out["inner.bias"])
    second = torch.tanh(first @ out["inner.weight"].T + out["inner.bias"])
    logits = (second @ out["out.weight"].T + out["out.bias"]) * 1.5
    expected = nn.functional.cross_entropy(logits, task.data.batch(torch.arange(5))[1], reduction="none")
    assert torch.allclose(task.item_losses(out, task.batch(torch.arange(5))), expected, atol=1e-5)


def test_same_level_same_bits(prepared):
    for level in some(prepared.levels):
        first, again = prepared.compress(level), prepared.compress(level)
        assert all(torch.equal(p, again[k]) for k, p in first.items())


def test_a_fresh_preparation_gives_the_same(prepared, task, request):
    name = request.node.callspec.params["prepared"]
    other = compressors.registry.build(name)().prepare(task, 0)
    for level in reversed(some(prepared.levels)):  # in another order
        first, again = prepared.compress(level), other.compress(level)
        assert all(torch.equal(p, again[k]) for k, p in first.items())


def test_bits_rise_with_the_level(prepared, task):
    bits = [prepared.bits(level) for level in prepared.levels]
    if None in bits:
        assert set(bits) == {None}
        return
    assert all(a < b for a, b in itertools.pairwise(bits))
    assert all(math.isfinite(b) and b > 32 * 10 for b in bits)  # the fixed scale is charged at full precision


def test_mildest_level(prepared, task, request):
    """ΔL at the mildest level is small, and in the curve rather than taken for zero."""
    center = float(task.mean_loss(task.all_item_losses(task.center)))
    mild = float(task.mean_loss(task.all_item_losses(prepared.compress(prepared.levels[-1]))))
    assert abs(mild - center) < 0.05
    name = request.node.callspec.params["prepared"]
    found = bn.critical_point(compressors.registry.build(name)(), task, tolerance=1e-12)
    curve = found.curve.sel(level=prepared.levels[-1])
    assert float(curve["excess_loss"]) == pytest.approx(mild - center, abs=1e-5)
    assert "excess_loss_se" in curve


def test_details_are_numbers(prepared):
    for level in some(prepared.levels):
        assert all(isinstance(v, float) for v in prepared.details(level).values())


def test_severe_levels_cost_more(prepared, task):
    severe, mild = (float(task.mean_loss(task.all_item_losses(prepared.compress(prepared.levels[i])))) for i in (0, -1))
    assert severe > mild + 0.05
