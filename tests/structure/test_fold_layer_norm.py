import copy

import pytest
import torch
from torch import nn

from bitsandnats.errors import ModelError
from bitsandnats.structure import can_fold, fold_layer_norm

pytest.importorskip("transformers")

LAYER_NORMS = ["neox", "neox-sequential", "neox-tied", "gpt2", "gpt2-untied"]
RMS_NORMS = ["llama", "llama-tied", "qwen2", "qwen3", "phi3", "mixtral"]
LEFT = {  # norms that keep their parameters, and why
    "neox-tied": (["gpt_neox.final_layer_norm"], "tied to the embeddings"),
    "gpt2": (["transformer.ln_f"], "tied to the embeddings"),
    "llama-tied": (["model.norm"], "tied to the embeddings"),
    "qwen3": ([f"model.layers.{i}.self_attn.{k}_norm" for i in range(3) for k in "qk"], "norms of queries and keys"),
    "mixtral": ([f"model.layers.{i}.post_attention_layernorm" for i in range(3)], "no linear map reads"),
}


def logits(model):
    tokens = torch.arange(24).view(2, 12)
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits


def difference(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("name", LAYER_NORMS + RMS_NORMS)
def test_same_function_and_untouched_original(name, build_transformer):
    model = build_transformer(name)
    before = copy.deepcopy(model.state_dict())
    expected = logits(model)
    folded = fold_layer_norm(model).module
    assert difference(logits(folded), expected) < 1e-5
    assert torch.equal(logits(model), expected)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in folded.parameters()}


@pytest.mark.parametrize("name", LAYER_NORMS)
def test_exact_in_double_precision(name, build_transformer):
    """Root-mean-square norms of transformers compute in float32 whatever the weights are."""
    model = build_transformer(name, torch.float64)
    assert difference(logits(fold_layer_norm(model).module), logits(model)) < 1e-13


@pytest.mark.parametrize("name", LAYER_NORMS + RMS_NORMS)
def test_the_fold_is_not_trivial(name, build_transformer):
    model = build_transformer(name)
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if "Norm" in type(module).__name__:
            nn.init.ones_(module.weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
    assert difference(logits(plain), logits(model)) > 0.1


@pytest.mark.parametrize("name", LAYER_NORMS + RMS_NORMS)
def test_what_is_left_is_fixed_and_said(name, build_transformer):
    model = build_transformer(name)
    folded = fold_layer_norm(model)
    left, why = LEFT.get(name, ([], ""))
    moving = {key for key, p in folded.module.named_parameters() if p.requires_grad}
    fixed = {key for key, p in folded.module.named_parameters() if not p.requires_grad}
    names = {key for key, _ in model.named_parameters()}
    norms = {key for key in names if "norm" in key or ".ln_" in key}
    assert moving == names - norms
    assert fixed & names == {key for key in norms if key.rsplit(".", 1)[0] in left}
    assert all(key.endswith(".bias") for key in fixed - names)
    assert folded.notes[0].startswith(f"{7 + 6 * (name == 'qwen3') - len(left)} layer norms folded")
    assert len(folded.notes) == 1 + bool(left) + bool(fixed - names)
    if left:
        assert why in folded.notes[-1]
        assert left[0] in folded.notes[-1]


def test_a_shift_without_a_bias_to_go_to_becomes_a_fixed_bias(build_transformer):
    folded = fold_layer_norm(build_transformer("neox"))
    assert [key for key, p in folded.module.named_parameters() if not p.requires_grad] == ["lm_head.bias"]
    assert "the shift of lm_head.bias became a fixed bias" in folded.notes[1]
    folded = fold_layer_norm(build_transformer("neox-sequential"))
    biases = [f"gpt_neox.layers.{i}.attention.query_key_value.bias" for i in range(3)]
    fixed = [key for key, p in folded.module.named_parameters() if not p.requires_grad]
    assert fixed == [*biases, "lm_head.bias"]
    assert f"the shift of 4 linear maps, {biases[0]} the first" in folded.notes[1]


@pytest.mark.parametrize("name", ["neox-tied", "gpt2", "llama-tied"])
def test_tied_embeddings_stay_tied(name, build_transformer):
    model = fold_layer_norm(build_transformer(name)).module
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("name", ["neox", "neox-tied", "gpt2", "llama", "qwen3"])
def test_folding_twice_changes_nothing(name, build_transformer):
    once = fold_layer_norm(build_transformer(name))
    twice = fold_layer_norm(once.module)
    assert torch.equal(logits(twice.module), logits(once.module))
    assert not any("folded into" in note for note in twice.notes)


def test_a_folded_model_is_saved_and_loaded(build_transformer, tmp_path):
    """What stood for the weight of a root-mean-square norm is in the state as a constant one."""
    model = fold_layer_norm(build_transformer("llama")).module
    other = build_transformer("llama")
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(other), logits(model))


def test_norm_weights_that_are_no_factors_are_refused(build_transformer):
    """Gemma multiplies by 1 + g."""
    assert not can_fold(build_transformer("gemma2"))
    with pytest.raises(ModelError, match=r"got Gemma2ForCausalLM of type gemma2; measure it without folding"):
        fold_layer_norm(build_transformer("gemma2"))


def test_other_modules_are_refused():
    assert not can_fold(nn.Linear(3, 3))
    expected = r"expected a language model \(called with input_ids\) with layer norms.*got Linear; measure it without"
    with pytest.raises(ModelError, match=expected):
        fold_layer_norm(nn.Linear(3, 3))


class Config:
    vocab_size = 20


class Model(nn.Module):
    """One norm in front of two maps; what else reads it is for subclasses of the test to say."""

    def __init__(self, use):
        super().__init__()
        self.config, self.use = Config(), use
        self.embed = nn.Embedding(20, 8)
        self.first, self.second, self.third = nn.LayerNorm(8), nn.LayerNorm(8), nn.LayerNorm(8, bias=False)
        self.up, self.out = nn.Linear(8, 8), nn.Linear(8, 20)

    def forward(self, input_ids, use_cache=False):
        x = self.embed(input_ids)
        return self.use(self, x, self.first(x))


USES = {
    "a sum": (lambda m, x, y: m.out(m.second(y + torch.tanh(m.up(y)))), "something other than linear maps reads"),
    "an activation": (lambda m, x, y: m.out(m.second(x + m.up(y) * torch.sigmoid(y))), "something other than linear"),
    "another norm": (lambda m, x, y: m.out(m.second(x + m.up(y) + m.third(y))), "something other than linear"),
    "the result": (lambda m, x, y: (m.out(m.second(x + m.up(y))), y), "something other than linear"),
    "pooling": (lambda m, x, y: m.out(m.second(x + m.up(y.amax(1, keepdim=True)))), "no linear map reads"),
    "a map for two": (lambda m, x, y: m.out(m.second(x + m.up(y) + m.up(x))), "a linear map behind reads something"),
}


@pytest.mark.parametrize("use", USES)
def test_a_norm_that_anything_else_reads_is_left(use):
    run, why = USES[use]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Model(run)
        for p in (*model.first.parameters(), *model.second.parameters(), *model.third.parameters()):
            nn.init.normal_(p)
    tokens = torch.arange(18).view(2, 9)
    folded = fold_layer_norm(model)
    fixed = [key for key, p in folded.module.named_parameters() if not p.requires_grad]
    assert fixed[:2] == ["first.weight", "first.bias"]
    assert set(fixed[2:]) <= {"third.weight"}
    assert any(why in note and note.endswith(": first") for note in folded.notes)
    expected, got = (m(input_ids=tokens) for m in (model, folded.module))
    if isinstance(expected, tuple):
        expected, got = expected[0], got[0]
    assert torch.allclose(got, expected, atol=1e-5)
    assert model.first.weight.requires_grad
