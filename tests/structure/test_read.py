import copy

import pytest
import torch
from torch import nn

from bitsandnats.structure import Matrix, read_structure
from bitsandnats.structure.fold_layer_norm import fold_layer_norm

FAMILIES = [
    "neox",
    "neox-sequential",
    "neox-tied",
    "gpt2",
    "gpt2-untied",
    "llama",
    "llama-tied",
    "qwen2",
    "qwen3",
    "phi3",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_matrix_once(name, build_transformer):
    model = build_transformer(name)
    structure = read_structure(model)
    found = [m.name for m in (*structure.embeddings, *structure.matrices)]
    assert sorted(found) == sorted(key for key, p in model.named_parameters() if p.ndim == 2)
    for m in (*structure.matrices, *structure.embeddings):
        shape = (m.columns, m.rows) if m.transposed else (m.rows, m.columns)
        assert tuple(model.get_parameter(m.name).shape) == shape
        assert m.transposed == (name.startswith("gpt2") and m.layer is not None)
        assert m.layer == next((layer.index for layer in structure.layers if m.name in layer.parameters), None)


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_and_roles(name, build_transformer):
    structure = read_structure(build_transformer(name))
    assert [layer.index for layer in structure.layers] == [0, 1, 2]
    assert all(layer.name.endswith(f".{layer.index}") for layer in structure.layers)
    roles = [m.role for m in structure.matrices if m.layer == 1]
    fused = name.startswith(("neox", "gpt2", "phi3"))
    assert sorted(roles[: 2 if fused else 4]) == sorted(
        ["query_key_value", "attention_output"] if fused else ["query", "key", "value", "attention_output"]
    )
    assert set(roles[2 if fused else 4 :]) == {"mlp"}
    assert [m.role for m in structure.matrices if m.layer is None] == ["unembedding"] * (
        name not in ("gpt2", "neox-tied", "llama-tied")
    )
    assert [m.role for m in structure.embeddings] == ["embedding"] * (2 if name.startswith("gpt2") else 1)


@pytest.mark.parametrize("name", ["gpt2", "neox-tied", "llama-tied"])
def test_tied_embeddings_are_one_matrix(name, build_transformer):
    embedding = read_structure(build_transformer(name)).embeddings[0]
    assert embedding.aliases == ("lm_head.weight",)
    assert (embedding.rows, embedding.columns) == (40, 16)


@pytest.mark.parametrize("name", FAMILIES)
def test_folding_changes_no_structure(name, build_transformer):
    model = build_transformer(name)
    before, after = read_structure(model), read_structure(fold_layer_norm(model).module)
    assert after.heads == before.heads
    assert after.matrices == before.matrices
    assert after.embeddings == before.embeddings


def test_a_plain_module_by_its_linear_layers():
    inner = nn.Linear(6, 6)
    module = nn.Sequential(
        nn.Embedding(9, 4), nn.Linear(4, 6), nn.Tanh(), inner, nn.LayerNorm(6), inner, nn.Linear(6, 2)
    )
    structure = read_structure(module)
    assert structure.matrices == (
        Matrix("1.weight", 6, 4, False, 0, "linear"),
        Matrix("3.weight", 6, 6, False, 1, "linear", ("5.weight",)),
        Matrix("6.weight", 2, 6, False, 2, "linear"),
    )
    assert structure.embeddings == (Matrix("0.weight", 9, 4, False, None, "embedding"),)
    assert [layer.parameters for layer in structure.layers] == [
        ("1.weight", "1.bias"), ("3.weight", "3.bias"), ("6.weight", "6.bias"),
    ]  # fmt: skip
    assert structure.heads == ()


def test_a_module_without_linear_maps():
    structure = read_structure(nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)))
    assert structure.layers == structure.heads == structure.matrices == structure.embeddings == ()


@pytest.mark.parametrize("name", ["neox", "gpt2", "qwen3"])
def test_weights_mode_and_randomness_do_not_matter(name, build_transformer):
    model = build_transformer(name)
    expected = read_structure(model)
    other = copy.deepcopy(model).train()
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
        next(other.parameters()).fill_(torch.nan)
    other.requires_grad_(False)
    state = torch.get_rng_state()
    with torch.inference_mode():
        assert read_structure(other) == expected
    assert torch.equal(torch.get_rng_state(), state)
    assert other.training
    assert all(p.grad is None for p in model.parameters())
    assert not any("forward" in vars(part) for part in other.modules())


def test_a_model_that_refuses_tokens_has_layers_but_no_heads():
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(
        vocab_size=40, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    structure = read_structure(transformers.T5ForConditionalGeneration(config))
    assert len(structure.layers) == 2
    assert structure.heads == ()
