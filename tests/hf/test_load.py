import json
import logging
import math
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from bitsandnats import hf
from bitsandnats.errors import DataError, InputError, ModelError
from bitsandnats.hf import CausalLMLoss, load_model, load_tokenizer

load_task: Any = hf.load_task  # batches of tokens are tensors, which its type does not say


def rewrite(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


def test_losses_are_next_token_cross_entropies(checkpoint, text_file):
    task = load_task(checkpoint, text=text_file, context=12)
    model, notes = load_model(checkpoint)
    batch = task.batch(torch.arange(3))
    log_p = model(input_ids=batch).logits.log_softmax(-1)
    expected = -log_p[:, :-1].gather(-1, batch[:, 1:, None]).squeeze(-1)
    losses = task.loss(task.center, batch)
    assert losses.shape == (3, 11)
    assert torch.allclose(losses, expected, atol=1e-5)
    assert task.unit == "token"
    assert task.n == len(task.data) * 11
    assert task.chance_loss == pytest.approx(math.log(270))
    assert task.notes == notes == ()


def test_default_context_is_the_models(checkpoint, text_file):
    assert load_task(checkpoint, text=text_file).batch(torch.arange(1)).shape == (1, 16)


def test_without_text_a_checkpoint_of_a_suite_has_its_training_text(suite_folder):
    task = load_task(suite_folder / "step2")
    tokens = load_file(suite_folder / "train.safetensors")["contexts"]
    assert torch.equal(task.batch(torch.arange(len(task.data))), tokens.long())


def test_without_text_any_other_model_is_refused(checkpoint):
    with pytest.raises(DataError, match="expected text to measure the model on"):
        load_task(checkpoint)


def test_packed_contexts_and_sequence_unit(checkpoint):
    contexts = torch.arange(40, dtype=torch.int32).view(4, 10)
    task = load_task(checkpoint, text=contexts, unit="sequence")
    assert task.n == 4
    with pytest.raises(InputError, match="context of the given tokens, 10"):
        load_task(checkpoint, text=contexts, context=8)
    with pytest.raises(DataError, match="whole-number tokens"):
        load_task(checkpoint, text=contexts.float())
    with pytest.raises(DataError, match=r"shape \(0, 10\)"):
        load_task(checkpoint, text=contexts[:0])
    with pytest.raises(DataError, match="tokens from 0 to 269"):
        load_task(checkpoint, text=contexts + 240)


def test_folding_keeps_the_losses_and_says_so(checkpoint, text_file):
    plain, folded = (load_task(checkpoint, text=text_file, fold=fold) for fold in (False, True))
    batch = plain.batch(torch.arange(4))
    assert torch.allclose(plain.loss(plain.center, batch), folded.loss(folded.center, batch), atol=1e-5)
    assert folded.dimension == plain.dimension - 6 * 16
    assert any("folded" in note for note in folded.notes)
    assert list(folded.fixed) == ["lm_head.bias"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_upcast_and_noted(checkpoint, text_file, dtype):
    rewrite(checkpoint, lambda weights: {name: w.to(dtype) for name, w in weights.items()})
    stored = load_file(checkpoint / "model.safetensors")["gpt_neox.embed_in.weight"]
    task = load_task(checkpoint, text=text_file)
    assert all(p.dtype == torch.float32 for p in task.center.values())
    assert torch.equal(task.center["gpt_neox.embed_in.weight"], stored.float())
    assert task.notes == (f"weights stored in {str(dtype).removeprefix('torch.')}, upcast to float32",)


def test_double_precision_is_kept(checkpoint, text_file):
    rewrite(checkpoint, lambda weights: {name: w.double() for name, w in weights.items()})
    task = load_task(checkpoint, text=text_file)
    assert task.loss(task.center, task.batch(torch.arange(2))).dtype == torch.float64


def test_pickled_weights(checkpoint, text_file):
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save({name: w.half() for name, w in weights.items()}, checkpoint / "pytorch_model.bin")
    assert "float16" in load_task(checkpoint, text=text_file).notes[0]


def test_second_derivatives_with_the_math_kernel(checkpoint, text_file):
    """Hessian-vector product against a central difference of gradients, in float64."""
    rewrite(checkpoint, lambda weights: {name: w.double() for name, w in weights.items()})
    task = load_task(checkpoint, text=text_file)
    batch = task.batch(torch.arange(2))
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in task.center.values()]

    def gradient(shift, *, graph=False):
        params = {
            name: (p + shift * v).requires_grad_() for (name, p), v in zip(task.center.items(), direction, strict=True)
        }
        loss = task.loss(params, batch).mean()
        return params, torch.autograd.grad(loss, list(params.values()), create_graph=graph)

    with sdpa_kernel(SDPBackend.MATH):
        params, first = gradient(0.0, graph=True)
        along = torch.stack([(g * v).sum() for g, v in zip(first, direction, strict=True)]).sum()
        product = torch.autograd.grad(along, list(params.values()))
        ahead, behind = gradient(1e-6)[1], gradient(-1e-6)[1]
    for exact, a, b in zip(product, ahead, behind, strict=True):
        assert torch.allclose(exact, (a - b) / 2e-6, rtol=1e-3, atol=1e-4)


def test_loss_works_under_vmap(checkpoint, text_file):
    task = load_task(checkpoint, text=text_file)
    batch = task.batch(torch.arange(3))
    stacked = {name: torch.stack([p, 0.5 * p]) for name, p in task.center.items()}
    with sdpa_kernel(SDPBackend.MATH):
        losses = torch.func.vmap(task.loss, in_dims=(0, None))(stacked, batch)
    assert torch.allclose(losses[0], task.loss(task.center, batch), atol=1e-5)


def test_loading_is_silent_and_leaves_no_trace(checkpoint, text_file, capfd):
    from transformers.utils import logging as hf_logging

    before = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled(), torch.get_rng_state()
    level = logging.getLogger().level
    load_task(checkpoint, text=text_file)
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert logging.getLogger().level == level
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_context_longer_than_the_model(checkpoint, text_file):
    with pytest.raises(InputError, match=r"context of at most 16 tokens.*got 17"):
        load_task(checkpoint, text=text_file, context=17)


def test_tokenizer_of_another_model(checkpoint, text_file):
    rewrite(checkpoint, lambda w: {n: t[:200].clone() if t.shape[0] == 270 else t for n, t in w.items()})
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))
    with pytest.raises(ModelError, match=r"tokenizer of at most 200 tokens.*got one of 270"):
        load_task(checkpoint, text=text_file)


def test_no_tokenizer(checkpoint, text_file):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (checkpoint / name).unlink()
    with pytest.raises(ModelError, match="expected a tokenizer"):
        load_task(checkpoint, text=text_file)
    with pytest.raises(ModelError, match="expected a tokenizer"):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("name", ["nowhere/at/all", "./nowhere", "no-such-model", "no-org/no-such-model"])
def test_missing_model(name, text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        load_task(name, text=text_file)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_in_the_local_cache(tmp_path, checkpoint, text_file, monkeypatch):
    cache = tmp_path / "cache" / "models--org--name"
    (cache / "refs").mkdir(parents=True)
    for revision, commit in (("main", "a" * 40), ("step6", "b" * 40)):
        (cache / "refs" / revision).write_text(commit)
        shutil.copytree(checkpoint, cache / "snapshots" / commit)
    rewrite(cache / "snapshots" / ("b" * 40), lambda weights: {n: w.half() for n, w in weights.items()})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert load_task("org/name", text=text_file).notes == ()
    assert "float16" in load_task("org/name@step6", text=text_file).notes[0]
    with pytest.raises(ModelError, match="of org/name it holds step6; connect once"):
        load_task("org/name@step7", text=text_file)


def test_folder_that_is_no_model(tmp_path, text_file):
    with pytest.raises(ModelError, match=r"config\.json, got a folder without one"):
        load_task(tmp_path, text=text_file)
    with pytest.raises(ModelError, match="got a file"):
        load_task(text_file, text=text_file)


def test_config_without_weights(checkpoint, text_file):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"got a config\.json without them"):
        load_task(checkpoint, text=text_file)


def test_damaged_config(checkpoint, text_file):
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(ModelError, match="causal language model"):
        load_task(checkpoint, text=text_file)


@pytest.mark.parametrize("keep", [0, 100, -50])
def test_truncated_weights(checkpoint, text_file, keep):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match="expected undamaged weights"):
        load_task(checkpoint, text=text_file)


def test_lost_shard(checkpoint, text_file):
    (checkpoint / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="got no model-00001-of-00001"):
        load_task(checkpoint, text=text_file)


def test_incomplete_weights_are_not_filled_at_random(checkpoint, text_file):
    rewrite(checkpoint, lambda weights: {n: w for n, w in weights.items() if n != "gpt_neox.embed_in.weight"})
    with pytest.raises(ModelError, match=r"1 missing or of another shape, gpt_neox\.embed_in"):
        load_task(checkpoint, text=text_file)


def test_weights_of_another_shape(checkpoint, text_file):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(ModelError, match="model"):
        load_task(checkpoint, text=text_file)


def test_nan_weights(checkpoint, text_file):
    def damage(weights):
        weights["gpt_neox.embed_in.weight"][0, 0] = math.nan
        return weights

    rewrite(checkpoint, damage)
    with pytest.raises(ModelError, match=r"1 NaN or infinite values in gpt_neox.embed_in"):
        load_task(checkpoint, text=text_file)


def test_no_causal_language_model(tmp_path, text_file):
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=4, patch_size=2
    )
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError, match="causal language model"):
        load_task(tmp_path / "vit", text=text_file)


def test_text_too_short(checkpoint, tmp_path):
    (tmp_path / "short.txt").write_text("cat")
    with pytest.raises(DataError, match="at least one context, 16 tokens"):
        load_task(checkpoint, text=tmp_path / "short.txt")


def test_loss_is_a_value():
    assert CausalLMLoss() == CausalLMLoss()


def test_tokens_of_one_character_are_told_with_the_last():
    class Bytes:
        def decode(self, tokens):
            return bytes(tokens).decode("utf-8", errors="replace")

    said = "aλ→b".encode()
    row = torch.tensor([[*said, -1]])
    assert hf.decoded_tokens(Bytes(), row) == [["a", "", "λ", "", "", "→", "b", ""]]
    assert hf.decoded_tokens(Bytes(), torch.tensor([[0xFF, 0x61]])) == [["", "\ufffda"]]  # bytes of no character
