"""Token sequences of many lengths, cut into contexts of one."""

from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Int64
from torch import Tensor

from bitsandnats.errors import DataError, InputError, message


def pack(token_ids: Sequence[Sequence[int]], context: int, separator: int | None) -> Int64[Tensor, "item context"]:
    """The documents one after another, cut into contexts; what is left over at the end is dropped.

    Args:
        token_ids: each document's tokens.
        context: tokens an item.
        separator: token put after each document, or None.

    Raises:
        InputError: `context` is less than 2 (a next token needs one before it).
        DataError: the documents together are shorter than one context.
    """
    if context < 2:
        raise InputError(message(expected="a context of at least 2 tokens", got=str(context), do="choose a longer one"))
    end = () if separator is None else (separator,)
    joined = torch.tensor(list(chain.from_iterable((*ids, *end) for ids in token_ids)), dtype=torch.int64)
    items = len(joined) // context
    if items == 0:
        raise DataError(
            message(
                expected=f"text of at least one context, {context} tokens",
                got=f"{len(joined)} tokens in {len(token_ids)} documents",
                do="supply more text or a shorter context",
            )
        )
    return joined[: items * context].view(items, context)
