"""Models in GGUF files: their weights as decoded, and the warning that they were quantized before."""

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.errors import ModelError

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

HEADS, WIDTH, VOCABULARY = 2, 64, 96


@pytest.fixture(scope="module")
def llama():
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=32,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config).float().eval()


def interleaved(weight):
    """Rows of queries and keys in the order that the format has them."""
    return weight.reshape(HEADS, 2, WIDTH // HEADS // 2, WIDTH).swapaxes(1, 2).reshape(WIDTH, WIDTH)


def write(model, path, kind):
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
        "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
        "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
        "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
        "model.layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
        "model.layers.0.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
        "model.layers.0.mlp.up_proj.weight": "blk.0.ffn_up.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
        "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
        "model.layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
    }
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    for name, weight in model.state_dict().items():
        array = weight.numpy()
        array = interleaved(array) if "q_proj" in name or "k_proj" in name else array
        as_kind = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(names[name], gguf.quants.quantize(np.ascontiguousarray(array), as_kind), raw_dtype=as_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


TOKENS = torch.arange(4 * 16).view(4, 16) % VOCABULARY


def test_weights_are_those_of_the_file(llama, tmp_path):
    path = write(llama, tmp_path / "whole.gguf", gguf.GGMLQuantizationType.F32)
    task = bn.hf.load_task(path, text=TOKENS)
    assert task.notes == ()
    with torch.no_grad():
        logits = llama(TOKENS).logits[:, :-1]
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), TOKENS[:, 1:], reduction="none")
    found = task.item_losses(task.center, TOKENS)
    assert torch.allclose(found, expected.sum(1), rtol=1e-5)


def test_quantized_weights_are_decoded_with_a_warning(llama, tmp_path):
    path = write(llama, tmp_path / "coarse.gguf", gguf.GGMLQuantizationType.Q8_0)
    task = bn.hf.load_task(path, text=TOKENS)
    assert task.notes == ("weights decoded from Q8_0: quantized before, so that results of quantization say nothing",)
    weight = llama.lm_head.weight.detach()
    assert 0 < (task.center["lm_head.weight"] - weight).abs().max() < weight.abs().max() / 100


def test_a_damaged_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF and no more")
    with pytest.raises(ModelError, match=r"an undamaged GGUF file"):
        bn.hf.load_model(path)
