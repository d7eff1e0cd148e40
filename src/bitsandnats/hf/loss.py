"""The loss of a causal language model, token by token."""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.errors import DataError, message
from bitsandnats.hf.linear_cross_entropy import linear_cross_entropy

_PLAIN = 1 << 23  # logits that a pass may make at once
_ALIKE = 1e-3  # nats
_SEPARABLE: "weakref.WeakKeyDictionary[nn.Module, bool]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class CausalLMLoss:
    """Cross-entropy of each next token; batches are contexts of tokens `[sample, context]`, -1 for padding behind them.

    Losses of padding mean nothing: `token_weights` gives them no weight.

    Where a pass would make more than 2²³ logits, they are made a few rows at a time, if the model is one whose logits
    are a linear map of its last hidden states, which is found out by comparison.
    """

    def __call__(self, model: Callable[..., Any], batch: Batch) -> Float[Tensor, "sample token"]:
        """Returns −log p(x_{t+1} | x_1 … x_t) for t = 1 … context − 1, in nats."""
        tokens = contexts_of(batch).long().clamp(min=0)  # padding stands behind the text: no real token sees it
        within: Any = getattr(type(model), "within", None)  # the module itself, with the weights that are sampled
        return _losses(model, tokens) if within is None else within(model, _losses, tokens)

    def chance(self, model: Callable[..., Any], batch: Batch) -> float:
        """Loss of the uniform guess, ln(vocabulary), in nats a token."""
        with torch.no_grad():
            return math.log(model(input_ids=contexts_of(batch)[:1, :1], use_cache=False).logits.shape[-1])


def token_weights(batch: Batch) -> Float[Tensor, "sample token"]:
    """1 for each next token that is one, 0 for padding."""
    return (contexts_of(batch)[:, 1:] >= 0).float()


def contexts_of(batch: Any) -> Tensor:
    """The batch, if it is one of contexts.

    Raises:
        DataError: it is not.
    """
    whole = isinstance(batch, Tensor) and batch.ndim == 2 and not batch.is_floating_point()
    if whole and batch.shape[0] >= 1 and batch.shape[1] >= 2:
        return batch
    got = f"{batch.dtype} of shape {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
    raise DataError(message(expected="whole-number tokens [item, context]", got=got, do="pack the text first"))


def _losses(module: Any, tokens: Tensor) -> Tensor:
    rows = tokens.shape[0] * (tokens.shape[1] - 1)
    find = getattr(module, "get_output_embeddings", None)
    head = None if find is None else find()
    if isinstance(head, nn.Linear) and rows * len(head.weight) > _PLAIN and _separable(module, head, tokens):
        hidden = _hidden(module, tokens)[:, :-1].flatten(0, 1)
        return linear_cross_entropy(hidden, head.weight, head.bias, tokens[:, 1:].reshape(-1)).view(len(tokens), -1)
    logits = module(input_ids=tokens, use_cache=False).logits[:, :-1]
    flat = logits.reshape(-1, logits.shape[-1])
    flat = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
    return nn.functional.cross_entropy(flat, tokens[:, 1:].reshape(-1), reduction="none").view(len(tokens), -1)


def _hidden(module: Any, tokens: Tensor) -> Tensor:
    return module.base_model(input_ids=tokens, use_cache=False)[0]


def _separable(module: Any, head: nn.Linear, tokens: Tensor) -> bool:
    """Whether the logits are the head's of the last hidden states and nothing more: some models bend or scale them."""
    if module not in _SEPARABLE:
        few = tokens[:1, :4]
        with torch.no_grad():
            whole = module(input_ids=few, use_cache=False).logits
            try:
                parts = head(_hidden(module, few))
            except (TypeError, AttributeError, KeyError, IndexError):
                parts = None
        alike = parts is not None and parts.shape == whole.shape
        _SEPARABLE[module] = alike and bool((parts - whole).abs().max() <= _ALIKE * (1 + whole.abs().max()))
    return _SEPARABLE[module]
