"""Sections of a container that are not entropy-coded here: names, configuration, and numbers at full precision."""

import lzma
import zlib
from typing import Any

_LZMA: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 9}]

# What names and configurations are made of: agreed on beforehand, so that they cost little where they are usual.
_WORDS = (
    b'"vocab_size": "use_cache": "transformers_version": "torch_dtype": "dtype": "float32" "tie_word_embeddings": '
    b'"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"} "layer_norm_eps": 1e-05, "rms_norm_eps": '
    b'"max_position_embeddings": "num_key_value_heads": "num_attention_heads": "num_hidden_layers": "n_head":'
    b'"n_layer":'
    b'"intermediate_size": "initializer_range": 0.02, "hidden_size": "hidden_act": "gelu", "silu", "architectures": ['
    b'"bos_token_id": "eos_token_id": "pad_token_id": null, false, true, "model_type": "gpt_neox" "gpt2" "llama" '
    b"ForCausalLM LMHeadModel embeddings.weight position_embeddings ln_f.bias wte.weight wpe.weight "
    b"transformer.h.0.attn.c_attn.weight c_proj mlp.c_fc.bias ln_1 ln_2 model.norm.weight model.embed_tokens.weight "
    b"model.layers.0.self_attn.q_proj.weight k_proj v_proj o_proj mlp.gate_proj.weight up_proj down_proj "
    b"lm_head.weight "
    b"input_layernorm.weight post_attention_layernorm.weight gpt_neox.embed_in.weight gpt_neox.final_layer_norm.bias "
    b"embed_out.weight gpt_neox.layers.0.attention.query_key_value.weight attention.dense.bias "
    b"mlp.dense_h_to_4h.weight mlp.dense_4h_to_h.bias running_mean running_var num_batches_tracked "
    b"0.weight\n0.bias\n2.weight\n2.bias\n4.weight\n4.bias\n"
)


def pack_text(text: str) -> bytes:
    """Text, deflated with the usual words known beforehand."""
    packer = zlib.compressobj(9, wbits=-15, zdict=_WORDS)
    return packer.compress(text.encode()) + packer.flush()


def unpack_text(data: bytes) -> str:
    """What `pack_text` was given."""
    unpacker = zlib.decompressobj(wbits=-15, zdict=_WORDS)
    return (unpacker.decompress(data) + unpacker.flush()).decode()


def pack(data: bytes) -> bytes:
    """The shortest of the bytes themselves and two compressors; its first byte says which. Nothing for nothing."""
    if not data:
        return b""
    packed = (data, zlib.compress(data, 9), lzma.compress(data, lzma.FORMAT_RAW, filters=_LZMA))
    way = min(range(3), key=lambda i: len(packed[i]))
    return bytes([way]) + packed[way]


def unpack(data: bytes) -> bytes:
    """What `pack` was given."""
    if not data:
        return b""
    body = data[1:]
    if data[0] == 0:
        return body
    return zlib.decompress(body) if data[0] == 1 else lzma.decompress(body, lzma.FORMAT_RAW, filters=_LZMA)


def sized(data: bytes) -> bytes:
    """Bytes behind their number, seven bits of it at a time."""
    count, prefix = len(data), bytearray()
    while count > 127:
        prefix.append(count & 127 | 128)
        count >>= 7
    return bytes([*prefix, count]) + data


def take(data: bytes, at: int) -> tuple[bytes, int]:
    """The bytes that `sized` put at a place, and the place behind them."""
    count = shift = 0
    while True:
        count |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return data[at : at + count], at + count
