"""Head pruning: zeroed heads are ablated heads, frozen gradients stay zero, retraining by hand."""

import copy
import math

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import compressors
from bitsandnats._rng import generator
from bitsandnats.compressors.prune_heads import head_masks, prune_heads
from bitsandnats.compressors.retrain import retrain
from bitsandnats.errors import InputError, ModelError
from bitsandnats.structure import fold_layer_norm

pytest.importorskip("transformers")

FAMILIES = ["neox", "neox-sequential", "gpt2", "llama", "llama-tied", "qwen2", "qwen3"]


def task_of(model):
    from bitsandnats.hf import CausalLMLoss

    tokens = torch.randint(40, (12, 10), generator=torch.Generator().manual_seed(2))
    return bn.Task.from_module(model, CausalLMLoss(), tokens)


def ablated_losses(model, task, pruned):
    """Losses with the heads' outputs replaced by zero where the map behind attention reads them."""
    other = copy.deepcopy(model)
    for head in (task.structure.heads[i] for i in pruned):
        size = head.output.stop - head.output.start
        start = head.index * size

        def forget(part, inputs, start=start, size=size):
            x = inputs[0].clone()
            x[..., start : start + size] = 0
            return (x, *inputs[1:])

        other.get_submodule(head.output.name.removesuffix(".weight")).register_forward_pre_hook(forget)
    return task_of(other).all_item_losses(task.center)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_zeroed_heads_are_ablated_heads(name, fold, build_transformer):
    model = build_transformer(name)
    model = fold_layer_norm(model).module if fold else model
    task = task_of(model)
    prepared = prune_heads(retrain_steps=0, draws=2).prepare(task, seed=3)
    before = task.all_item_losses(task.center)
    for level, draw in ((0.0, 0), (0.5, 0), (0.5, 1), (0.75, 0)):
        pruned = prepared.orders[draw][: round((1 - level) * 12)]
        losses = task.all_item_losses(prepared.compress(level, draw))
        assert torch.allclose(losses, ablated_losses(model, task, pruned), rtol=1e-5)
        assert not torch.allclose(losses, before, rtol=1e-3)
    assert torch.equal(task.all_item_losses(prepared.compress(1.0)), before)


@pytest.mark.parametrize(("name", "size", "groups"), [("neox", 4, 4), ("gpt2", 4, 4), ("llama", 6, 2), ("qwen2", 4, 1)])
def test_what_is_zeroed(name, size, groups, build_transformer):
    """Queries and outputs with each head, keys and values with the last head of their group; biases never."""
    task = task_of(build_transformer(name))
    heads, share = task.structure.heads, 4 // groups
    for pruned in ([0], [0, 1], [0, 1, 2, 3], list(range(12))):
        masks = head_masks(task.center, heads, pruned)
        whole = sum(all(h in pruned for h in range(g * share, (g + 1) * share)) for g in range(3 * groups))
        assert sum(int(m.sum()) for m in masks.values()) == 16 * size * 2 * (len(pruned) + whole)
        assert not any(key.endswith("bias") for key in masks)
    out = prune_heads(retrain_steps=0).prepare(task).compress(0.0)
    for key, w in task.center.items():
        attention = any(key in (h.query.name, h.key.name, h.value.name, h.output.name) for h in heads)
        assert torch.equal(out[key], torch.zeros_like(w) if attention else w)


def test_number_of_pruned_heads(build_transformer):
    """⌊(1 − p) N⌋ in exact arithmetic, whatever 1 − p is in binary."""
    prepared = prune_heads(retrain_steps=0).prepare(task_of(build_transformer("neox")))
    for kept in range(13):
        assert prepared.details(kept / 12) == {"heads": 12, "heads_kept": kept}
    assert [prepared.details(p)["heads_kept"] for p in (0.01, 0.3, 0.5, 0.51, 0.99)] == [1, 4, 6, 7, 12]
    assert prepared.levels.values == tuple(k / 12 for k in (0, 2, 3, 4, 6, 8, 9, 10, 12))


def test_heads_of_a_milder_level_are_among_those_of_a_severe_one(build_transformer):
    prepared = prune_heads(retrain_steps=0, draws=5).prepare(task_of(build_transformer("neox")), seed=1)
    zeros = [{k: w == 0 for k, w in prepared.compress(p, 2).items()} for p in (0.25, 0.5, 0.75)]
    for severe, mild in ((0, 1), (1, 2)):
        assert all(bool((zeros[severe][k] | ~zeros[mild][k]).all()) for k in zeros[0])
    assert len(set(prepared.orders)) == 5
    other = prune_heads(retrain_steps=0, draws=5).prepare(task_of(build_transformer("neox")), seed=2)
    assert not set(prepared.orders) & set(other.orders)


def test_bits_by_hand(build_transformer):
    """A head of 4 has 4 · 16 weights in each of four matrices."""
    model = fold_layer_norm(build_transformer("neox")).module
    task = task_of(model)
    prepared = prune_heads(retrain_steps=0).prepare(task)
    numbers = task.dimension + 40  # and the fixed output bias
    assert prepared.bits(1.0) == 32 * (numbers + 1)
    assert prepared.bits(0.5) == 32 * (numbers - 6 * 256 + 1) + 12
    assert prepared.bits(0.0) == 32 * (numbers - 12 * 256 + 1)


def test_frozen_gradients_stay_zero(build_transformer):
    task = task_of(build_transformer("qwen2"))
    prepared = prune_heads(retrain_steps=15, training_rate=0.1, batch_size=6).prepare(task)
    plain = prune_heads(retrain_steps=0).prepare(task)
    out, start = prepared.compress(0.25), plain.compress(0.25)
    masks = head_masks(task.center, task.structure.heads, prepared.orders[0][:9])
    assert sum(int(m.sum()) for m in masks.values()) > 1000
    for key, w in out.items():
        frozen = masks.get(key, torch.zeros_like(w, dtype=torch.bool))
        assert not w[frozen].any()
        assert float((w - start[key])[~frozen].abs().mean()) > 1e-3
    assert all(torch.equal(w, task.center[key]) for key, w in plain.compress(1.0).items())


def test_retraining_finds_a_smaller_loss(build_transformer):
    task = task_of(build_transformer("neox"))
    prepared = prune_heads(retrain_steps=60, training_rate=0.05, batch_size=12, draws=2).prepare(task)
    plain = prune_heads(retrain_steps=0, draws=2).prepare(task)
    for draw in range(2):
        after, before = (float(task.mean_loss(task.all_item_losses(p.compress(0.5, draw)))) for p in (prepared, plain))
        assert after < before - 1
    losses = [prepared.losses[6, draw] for draw in range(2)]
    assert prepared.details(0.5) == {"heads": 12, "heads_kept": 6, "training_loss": sum(losses) / 2}


def test_retraining_is_on_the_data_that_are_given(build_transformer):
    task = task_of(build_transformer("neox"))
    other = torch.full((8, 10), 3)
    prepared = prune_heads(retrain_steps=40, training_rate=0.1, draws=1, data=other).prepare(task)
    loss = task.on(other)
    assert float(loss.mean_loss(loss.all_item_losses(prepared.compress(0.5)))) < 0.1
    assert prepared.details(0.5)["training_loss"] < 0.1
    assert float(task.mean_loss(task.all_item_losses(prepared.compress(0.5)))) > 1


def test_retraining_by_hand():
    """One weight held at zero: AdamW of the others, step by step, and the smallest of the losses seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Linear(3, 2).double()
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    task = bn.Task.from_module(module, bn.losses.cross_entropy(), (x, torch.tensor([0, 1, 1, 0, 1])))
    zero = {"weight": torch.tensor([[True, False, False], [False, False, True]])}
    start = {key: w.masked_fill(zero[key], 0) if key in zero else w for key, w in task.center.items()}
    before = {key: w.clone() for key, w in start.items()}
    found = retrain(task, start, zeros=zero, rate=0.5, steps=12, batch_size=3, generator=generator(0, 0, "batches"))

    w, b = (start[key].clone().requires_grad_() for key in ("weight", "bias"))
    optimiser = torch.optim.AdamW([w, b], lr=0.5, betas=(0.9, 0.95), weight_decay=0)
    stream, losses, weights = generator(0, 0, "batches"), [], []
    for _ in range(13):
        batch = torch.randint(5, (3,), generator=stream)
        loss = nn.functional.cross_entropy(x[batch] @ (w * ~zero["weight"]).T + b, task.data.batch(batch)[1])
        losses.append(float(loss.detach()))
        weights.append((w.detach().clone(), b.detach().clone()))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([w, b], 1.0)
        optimiser.step()
    best = min(range(13), key=losses.__getitem__)
    assert found.step == best > 0
    assert found.loss == pytest.approx(losses[best], rel=1e-12)
    assert torch.allclose(found.params["weight"], weights[best][0])
    assert torch.allclose(found.params["bias"], weights[best][1])
    assert all(torch.equal(start[key], value) for key, value in before.items())


def test_same_seed_and_draw_same_weights(build_transformer):
    task = task_of(build_transformer("neox"))
    made = prune_heads(retrain_steps=3, draws=2)
    state = torch.get_rng_state()
    first, again = (made.prepare(task, 5).compress(0.5, 1) for _ in range(2))
    assert all(torch.equal(w, again[key]) for key, w in first.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in task.center.values())


def test_written_as_the_registry_reads_it():
    for made in (prune_heads(), prune_heads(retrain_steps=0, draws=8), prune_heads(training_rate=6e-4)):
        assert compressors.registry.build(made.scheme)() == made


# --- bad input


def test_no_heads(digit_task):
    with pytest.raises(
        ModelError, match=r"expected a transformer whose attention heads.*got a model without them; use"
    ):
        prune_heads().prepare(digit_task)


def test_fixed_attention(build_transformer):
    model = build_transformer("neox")
    model.gpt_neox.layers[1].attention.dense.weight.requires_grad_(False)
    with pytest.raises(ModelError, match=r"attention that moves, got gpt_neox.layers.1.attention.dense.weight fixed"):
        prune_heads().prepare(task_of(model))


@pytest.mark.parametrize("level", [-0.1, 1.1, math.nan])
def test_levels_out_of_range(level, build_transformer):
    prepared = prune_heads(retrain_steps=0).prepare(task_of(build_transformer("neox")))
    for use in (prepared.compress, prepared.bits, prepared.details):
        with pytest.raises(InputError, match="expected fraction of heads between 0 and 1, got"):
            use(level)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"retrain_steps": -1}, "retrain_steps of at least 0, got -1"), ({"draws": 0}, "draws of at least 1, got 0"),
     ({"batch_size": 0}, "batch_size of at least 1"), ({"training_rate": 0.0}, "training_rate > 0, got 0.0")],
)  # fmt: skip
def test_options_out_of_range(options, expected):
    with pytest.raises(InputError, match=expected):
        prune_heads(**options)
