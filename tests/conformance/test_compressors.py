"""What every compressor in the registry must do, a third party's included."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import compressors
from bitsandnats.compressors.types import Compressor, Levels, Prepared

NAMES = list(compressors.registry.entries())
TEXTS = {"prune-heads": "prune-heads(retrain_steps=2, draws=2)"}  # as little training as shows that it is there


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
def classifier(digits):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Tied()
    x, y = digits["train"]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval(), bn.Task.from_module(model, bn.losses.cross_entropy(), digits["train"])


@pytest.fixture(scope="module")
def language_model(build_transformer):
    """Trained to repeat what it saw three tokens before; tied embeddings, so that its final norm is fixed."""
    from bitsandnats.hf import CausalLMLoss

    model = build_transformer("neox-tied")
    tokens = torch.randint(2, 12, (32, 3), generator=torch.Generator().manual_seed(0)).repeat(1, 4)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        CausalLMLoss()(model, tokens).mean().backward()
        optimiser.step()
    model = bn.fold_layer_norm(model).module
    return model, bn.Task.from_module(model, CausalLMLoss(), tokens)


@pytest.fixture(params=NAMES)
def text(request):
    return TEXTS.get(request.param, request.param)


@pytest.fixture
def model(text, request):
    return request.getfixturevalue("language_model" if text.startswith("prune-heads") else "classifier")[0]


@pytest.fixture
def task(text, request):
    return request.getfixturevalue("language_model" if text.startswith("prune-heads") else "classifier")[1]


@pytest.fixture
def prepared(text, task):
    compressor = compressors.registry.build(text)()
    assert isinstance(compressor, Compressor)
    assert compressor.scheme == text
    made = compressor.prepare(task, 0)
    assert isinstance(made, Prepared)
    return made


def some(levels):
    values = levels.values
    return [values[i] for i in sorted({0, min(1, len(values) - 1), len(values) // 2, len(values) - 1})]


def test_levels_and_draws(prepared):
    assert isinstance(prepared.levels, Levels)  # whose values are in order
    assert prepared.draws >= 1


def test_the_name_is_what_the_registry_reads(text):
    made = compressors.registry.build(text)()
    assert compressors.registry.build(made.scheme)() == made


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


def test_ties_are_kept(prepared, task, model):
    """A tied weight is compressed once, and all its uses see it."""
    assert not {"twin.weight", "lm_head.weight"} & set(task.center)
    out = prepared.compress(prepared.levels.values[0])
    other = copy.deepcopy(model)
    other.load_state_dict(out, strict=False)
    again = bn.Task.from_module(other, task.loss.loss, task.data)
    assert torch.allclose(task.all_item_losses(out), again.all_item_losses(again.center), rtol=1e-5)


def test_same_level_same_bits(prepared):
    for level in some(prepared.levels):
        first, again = prepared.compress(level), prepared.compress(level)
        assert all(torch.equal(p, again[k]) for k, p in first.items())


def test_draws_differ(prepared):
    level = prepared.levels.values[len(prepared.levels.values) // 2]
    first, second = prepared.compress(level), prepared.compress(level, prepared.draws - 1)
    assert any(not torch.equal(p, second[k]) for k, p in first.items()) == (prepared.draws > 1)


def test_a_fresh_preparation_gives_the_same(prepared, task, text):
    other = compressors.registry.build(text)().prepare(task, 0)
    for level in reversed(some(prepared.levels)):  # in another order
        first, again = prepared.compress(level), other.compress(level)
        assert all(torch.equal(p, again[k]) for k, p in first.items())


def test_bits_rise_with_the_level(prepared, task):
    bits = [prepared.bits(level) for level in prepared.levels.values]
    if None in bits:
        assert set(bits) == {None}
        return
    assert all(a < b for a, b in itertools.pairwise(bits))
    assert all(math.isfinite(b) and b > 32 * 10 for b in bits)  # the fixed scale is charged at full precision


def test_mildest_level(prepared, task, text):
    """ΔL at the mildest level is small, and in the curve rather than taken for zero."""
    center = float(task.mean_loss(task.all_item_losses(task.center)))
    weights = [prepared.compress(prepared.levels.values[-1], draw) for draw in range(prepared.draws)]
    mild = sum(float(task.mean_loss(task.all_item_losses(w))) for w in weights) / prepared.draws
    assert abs(mild - center) < 0.05
    found = bn.critical_point(compressors.registry.build(text)(), task, tolerance=1e-12)
    curve = found.curve.sel(level=prepared.levels.values[-1])
    assert float(curve["excess_loss"]) == pytest.approx(mild - center, abs=1e-5)
    assert "excess_loss_se" in curve


def test_details_are_numbers(prepared):
    for level in some(prepared.levels):
        assert all(isinstance(v, float) for v in prepared.details(level).values())


def test_severe_levels_cost_more(prepared, task):
    severe, mild = (
        float(task.mean_loss(task.all_item_losses(prepared.compress(prepared.levels.values[i])))) for i in (0, -1)
    )
    assert severe > mild + 0.05
