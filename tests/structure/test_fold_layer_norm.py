import copy

import pytest
import torch
from torch import nn

from bitsandnats.errors import ModelError
from bitsandnats.structure import fold_layer_norm

transformers = pytest.importorskip("transformers")


def build(*, tied=False, parallel=True, bias=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    config = transformers.GPTNeoXConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, tie_word_embeddings=tied, use_parallel_residual=parallel, attention_bias=bias,
    )  # fmt: skip
    model = transformers.GPTNeoXForCausalLM(config).to(dtype).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 0.3 if p.ndim > 1 else 0.7
            p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=dtype))
            if "norm" in name and name.endswith("weight"):
                p.add_(1)
    return model


def logits(model):
    tokens = torch.arange(24).view(2, 12)
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 1e-10)])
def test_same_function_and_untouched_original(tied, parallel, bias, dtype, tolerance):
    model = build(tied=tied, parallel=parallel, bias=bias, dtype=dtype)
    before = copy.deepcopy(model.state_dict())
    expected = logits(model)
    folded = fold_layer_norm(model).module
    assert float((logits(folded) - expected).abs().max()) < tolerance * float(expected.abs().max())
    assert torch.equal(logits(model), expected)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in folded.parameters()}


def test_the_fold_is_not_trivial():
    model = build()
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    assert float((logits(plain) - logits(model)).abs().max()) > 0.1


def test_no_norm_parameters_remain_and_only_the_output_bias_is_fixed():
    folded = fold_layer_norm(build())
    names = {name: p.requires_grad for name, p in folded.module.named_parameters()}
    assert not any("norm" in name for name in names)
    assert [name for name, moves in names.items() if not moves] == ["lm_head.bias"]
    assert "4 layer norms folded" in folded.notes[0]
    assert "output bias" in folded.notes[1]


def test_tied_embeddings_stay_tied_and_the_final_norm_is_fixed():
    folded = fold_layer_norm(build(tied=True))
    assert folded.module.lm_head.weight is folded.module.gpt_neox.embed_in.weight
    fixed = [name for name, p in folded.module.named_parameters() if not p.requires_grad]
    assert fixed == ["gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias"]
    assert "tied" in folded.notes[1]


def test_folding_twice_changes_nothing():
    once = fold_layer_norm(build()).module
    assert torch.equal(logits(fold_layer_norm(once).module), logits(once))


def test_other_architectures_are_refused():
    with pytest.raises(ModelError, match=r"expected a GPT-NeoX language model.*got Linear; measure it without folding"):
        fold_layer_norm(nn.Linear(3, 3))
    config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    with pytest.raises(ModelError, match="gpt2"):
        fold_layer_norm(transformers.GPT2LMHeadModel(config))
