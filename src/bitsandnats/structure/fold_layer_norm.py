"""Layer norms folded into the linear maps behind them: the same function, without their scale and shift."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bitsandnats.errors import ModelError, message


@dataclass(frozen=True)
class Folded:
    """A model whose layer norms only normalise.

    Attributes:
        module: the folded copy.
        notes: what was folded and what was left, in words.
    """

    module: nn.Module
    notes: tuple[str, ...]


def fold_layer_norm(module: nn.Module) -> Folded:
    """A copy of a GPT-NeoX language model with each layer norm folded into the linear map that reads it.

    A norm gives g⊙x̂ + b and the map W(g⊙x̂ + b) + c, which is (W diag g) x̂ + (Wb + c): exact up to rounding.
    Compression is told apart by it: unfolded, norm weights near 1 set the one range of a global quantizer. Where the
    map had no bias, Wb becomes a bias that stays fixed (`requires_grad=False`), so that no new parameters move. A
    final norm in front of an output matrix tied to the embeddings cannot be folded; its parameters become fixed.

    Args:
        module: a `GPTNeoXForCausalLM` of transformers; not changed.

    Raises:
        ModelError: another architecture.

    Source: arXiv 2510.12077, appendix C. Checked by `tests/structure/test_fold_layer_norm.py`.
    """
    _check_architecture(module)
    folded: Any = copy.deepcopy(module)
    body = folded.gpt_neox
    for layer in body.layers:
        _fold(layer.input_layernorm, layer.attention.query_key_value)
        _fold(layer.post_attention_layernorm, layer.mlp.dense_h_to_4h)
    inside = f"{2 * len(body.layers)} layer norms folded into the next linear map (function-preserving)"
    if folded.lm_head.weight is body.embed_in.weight:
        body.final_layer_norm.requires_grad_(False)
        kept = "the final layer norm is left as it is and fixed: the output matrix is tied to the embeddings"
        return Folded(folded, (inside, kept))
    _fold(body.final_layer_norm, folded.lm_head)
    final = "the final layer norm is folded into the output matrix; its shift became a fixed output bias"
    return Folded(folded, (inside, final))


def can_fold(module: nn.Module) -> bool:
    """Whether `fold_layer_norm` knows the architecture."""
    try:
        _check_architecture(module)
    except ModelError:
        return False
    return True


@torch.no_grad()
def _fold(norm: nn.LayerNorm, linear: nn.Linear) -> None:
    """Moves the scale and shift of `norm` into `linear`, both of a private copy."""
    weight = linear.weight
    product = weight.double()
    if norm.bias is not None:
        shift = (product @ norm.bias.double()).to(weight.dtype)
        if linear.bias is None:
            linear.bias = nn.Parameter(shift, requires_grad=False)
        else:
            linear.bias.add_(shift)
    if norm.weight is not None:
        weight.copy_((product * norm.weight.double()).to(weight.dtype))
    norm.weight, norm.bias = None, None  # type: ignore[assignment]  # F.layer_norm takes None for 1 and 0


def _check_architecture(module: nn.Module) -> None:
    kind = getattr(getattr(module, "config", None), "model_type", None)
    body: Any = getattr(module, "gpt_neox", None)
    maps: list[Any] = [getattr(module, "lm_head", None)]
    norms: list[Any] = [getattr(body, "final_layer_norm", None)]
    for layer in getattr(body, "layers", ()):
        norms += [getattr(layer, name, None) for name in ("input_layernorm", "post_attention_layernorm")]
        maps.append(getattr(getattr(layer, "attention", None), "query_key_value", None))
        maps.append(getattr(getattr(layer, "mlp", None), "dense_h_to_4h", None))
    known = all(isinstance(m, nn.Linear) for m in maps) and all(isinstance(n, nn.LayerNorm) for n in norms)
    if kind != "gpt_neox" or not known or not isinstance(getattr(body, "embed_in", None), nn.Embedding):
        raise ModelError(
            message(
                expected="a GPT-NeoX language model (GPTNeoXForCausalLM) to fold layer norms in",
                got=type(module).__name__ + (f" of type {kind}" if isinstance(kind, str) else ""),
                do="measure it without folding",
            )
        )
