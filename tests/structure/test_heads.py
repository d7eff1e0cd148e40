"""Heads against ablation: what each part of a head does is seen in the logits."""

import copy
import itertools

import pytest
import torch

from bitsandnats.structure import read_structure
from bitsandnats.structure.heads import _blocks, _head_by_head

FAMILIES = ["neox", "gpt2", "llama", "qwen2", "qwen3", "phi3", "gemma2"]


@pytest.fixture(params=FAMILIES)
def model(request, build_transformer):
    """Without biases, so that zero weights are zero outputs."""
    model = build_transformer(request.param, torch.float64)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.endswith("bias") and "norm" not in key and ".ln_" not in key:
                p.zero_()
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(24).view(2, 12), use_cache=False).logits


def zeroed(model, *slices):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for part in slices:
            part.of(model.get_parameter(part.name)).zero_()
    return logits(model)


def ablated(model, heads):
    """With the heads' outputs replaced by zero where the map behind attention reads them."""

    def forget(part, inputs, *, heads):
        x = inputs[0].clone()
        size = heads[0].output.stop - heads[0].output.start
        for head in heads:
            x[..., head.index * size : (head.index + 1) * size] = 0
        return (x,)

    model = copy.deepcopy(model)
    part = model.get_submodule(heads[0].output.name.removesuffix(".weight"))
    part.register_forward_pre_hook(lambda part, inputs: forget(part, inputs, heads=heads))
    return logits(model)


def close(a, b):
    return float((a - b).abs().max()) < 1e-6 * float(b.abs().max())  # some norms compute in float32


def test_number_and_order(model):
    heads = read_structure(model).heads
    assert [(h.layer, h.index) for h in heads] == [(layer, index) for layer in range(3) for index in range(4)]


@pytest.mark.parametrize("which", [1, 10])
def test_outputs_and_values(model, which):
    heads = read_structure(model).heads
    head = heads[which]
    group = [h for h in heads if h.value == head.value]
    assert group == [h for h in heads if h.key == head.key]
    assert not close(logits(model), ablated(model, [head]))
    assert close(zeroed(model, head.output), ablated(model, [head]))
    assert close(zeroed(model, head.value), ablated(model, group))


@pytest.mark.parametrize("which", [1, 10])
def test_queries_and_keys(model, which):
    """Without queries or without keys all scores are zero alike; without the query, only the one head's are."""
    heads = read_structure(model).heads
    head = heads[which]
    group = [h for h in heads if h.key == head.key]
    uniform = zeroed(model, head.key)
    assert not close(uniform, logits(model))
    assert close(zeroed(model, *[h.query for h in group]), uniform)
    without = [h.output for h in group]
    assert close(zeroed(model, head.query, *without), zeroed(model, *without))


def test_parts_fill_the_matrices(model):
    """Every row of the query, key and value maps and every column of the map behind belongs to one head or group."""
    seen = {}
    for head in read_structure(model).heads:
        for part in {head.query, head.key, head.value, head.output}:
            seen.setdefault((part.name, part.axis), set()).add((part.start, part.stop))
    for (name, axis), ranges in seen.items():
        ends = sorted(ranges)
        assert ends[0][0] == 0
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
        assert ends[-1][1] == model.get_parameter(name).shape[axis]


def test_layouts_by_hand():
    """Four heads of two numbers: with four keys and values, and with two."""
    assert [_blocks(4, 4, 2)(h) for h in range(4)] == [(0, 8, 16), (2, 10, 18), (4, 12, 20), (6, 14, 22)]
    assert [_blocks(4, 2, 2)(h) for h in range(4)] == [(0, 8, 12), (2, 8, 12), (4, 10, 14), (6, 10, 14)]
    assert [_head_by_head(4, 4, 2)(h) for h in range(4)] == [(0, 2, 4), (6, 8, 10), (12, 14, 16), (18, 20, 22)]
    assert [_head_by_head(4, 2, 2)(h) for h in range(4)] == [(0, 4, 6), (2, 4, 6), (8, 12, 14), (10, 12, 14)]


def test_attention_that_is_not_causal_softmax_has_no_heads(build_transformer):
    """A map behind attention that is not given the values at the first token is not taken for one."""
    model = build_transformer("neox")
    model.gpt_neox.layers[0].attention.dense.register_forward_pre_hook(lambda part, inputs: (2 * inputs[0],))
    assert {h.layer for h in read_structure(model).heads} == {1, 2}
