"""Text as contexts of tokens, tokenized once and kept in the cache."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Int32
from torch import Tensor

from bitsandnats._types import Data
from bitsandnats.data import StackedData, TokenFile, cache_folder, subset, write_tokens
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.hf._quiet import quiet
from bitsandnats.hf.suite import write_file
from bitsandnats.hf.text import Texts, documents, no_text, split_rows

PADDING = -1
"""What stands for no token, behind the end of a document."""

_TOGETHER = 256  # documents tokenized at once


@dataclass(frozen=True)
class Packed:
    """Contexts of tokens, and which of them belong to which subset.

    Attributes:
        data: the contexts, `PADDING` behind the end of a document.
        context: tokens an item.
        subsets: name -> its items, one subset after another; empty where the text has no names.
        padded: whether there is padding.
        largest: the largest token.
    """

    data: Data
    context: int
    subsets: Mapping[str, range]
    padded: bool
    largest: int


def pack_text(texts: Texts, tokenizer: Any, context: int) -> Packed:
    """The texts of all subsets as contexts, from the cache where the same text was tokenized in the same way before.

    Args:
        texts: what to read, and how it is cut.
        tokenizer: a tokenizer of transformers.
        context: tokens an item.

    Raises:
        DataError: the text of a subset is missing, cannot be read, or is shorter than one context.
        InputError: `context` is less than 2.
        StoreError: the cache cannot be written.
    """
    if context < 2:
        raise InputError(message(expected="a context of at least 2 tokens", got=str(context), do="choose a longer one"))
    digest = hashlib.blake2b(digest_size=20)
    _feed(digest, _identity(tokenizer), str(context), texts.items)
    for name, given in texts.sources.items():
        _feed(digest, f"subset {name}")
        for text in _texts(given, texts.field):
            _feed(digest, text)
    file = cache_folder() / "tokens" / f"{digest.hexdigest()}.i32"
    facts = file.with_suffix(".json")
    if not (file.is_file() and facts.is_file()):
        found: dict[str, dict[str, int]] = {}
        write_tokens(file, lambda: _all_tokens(texts, tokenizer, context, found))
        write_file(facts, lambda path: path.write_text(json.dumps(found), encoding="utf-8"))
    return _open(file, context, json.loads(facts.read_text(encoding="utf-8")))


def pack_tokens(tokens: Int[Tensor, "item context"]) -> Packed:
    """Contexts that were given as tokens, `PADDING` behind the end of shorter ones.

    Raises:
        DataError: padding stands before a token, or an item has fewer than two tokens.
    """
    there = tokens >= 0
    if bool((tokens < PADDING).any()) or bool((there[:, 1:] & ~there[:, :-1]).any()) or not bool(there[:, :2].all()):
        raise DataError(
            message(
                expected=f"at least two tokens of 0 or more an item, and {PADDING} only behind them as padding",
                got=f"tokens from {int(tokens.min())} to {int(tokens.max())} otherwise",
                do="pad behind the text",
            )
        )
    return Packed(StackedData(tokens), tokens.shape[1], {}, not bool(there.all()), int(tokens.max()))


def split_packed(packed: Packed, every: int, at_most: int) -> tuple[Packed, Packed]:
    """The contexts without every `every`-th of each subset, and of those at most so many a subset, evenly spaced.

    Args:
        packed: contexts in a file.
        every: one of so many is held out.
        at_most: held-out contexts of a subset.

    Raises:
        DataError: a subset has too few contexts.
    """
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for name, items in (packed.subsets or {"": range(len(packed.data))}).items():
        kept, held_out = split_rows(len(items), every, f" of {name}" if name else "")
        count = min(at_most, len(held_out))
        parts[0].append(items.start + kept)
        parts[1].append(items.start + held_out[torch.linspace(0, len(held_out) - 1, count).round().long()])
    return _choose(packed, parts[0]), _choose(packed, parts[1])


def _choose(packed: Packed, rows: Sequence[Tensor]) -> Packed:
    """The items at `rows`, given subset by subset."""
    whole = torch.cat(list(rows))
    ends = torch.tensor([0, *(len(r) for r in rows)]).cumsum(0).tolist()
    subsets = {name: range(a, b) for name, a, b in zip(packed.subsets, ends[:-1], ends[1:], strict=False)}
    data = packed.data.only(whole) if isinstance(packed.data, TokenFile) else subset(packed.data, whole)
    return dataclasses.replace(packed, data=data, subsets=subsets)


def _open(file: Path, context: int, found: Mapping[str, Mapping[str, int]]) -> Packed:
    subsets, start = {}, 0
    for name, facts in found.items():
        subsets[name] = range(start, start + facts["items"])
        start += facts["items"]
    return Packed(
        data=TokenFile(file, context, torch.arange(start)),
        context=context,
        subsets={name: items for name, items in subsets.items() if name},
        padded=any(facts["padded"] for facts in found.values()),
        largest=max(facts["largest"] for facts in found.values()),
    )


def _all_tokens(
    texts: Texts, tokenizer: Any, context: int, found: dict[str, Any]
) -> Iterator[Int32[np.ndarray, " token"]]:
    """Tokens of all subsets in whole contexts; what each holds goes into `found`."""
    cut = functools.partial(_contexts if texts.items == "contexts" else _documents, context=context)
    for name, given in texts.sources.items():
        facts = {"items": 0, "padded": 0, "largest": 0, "tokens": 0, "documents": 0}
        for tokens in cut(_token_ids(_texts(given, texts.field), tokenizer, facts)):
            facts["items"] += len(tokens) // context
            facts["padded"] |= int(tokens.min() < 0)
            facts["largest"] = max(facts["largest"], int(tokens.max()))
            yield tokens
        if facts["items"] == 0:
            of = f" of {name}" if name else ""
            raise DataError(
                message(
                    expected=f"text{of} of at least one context, {context} tokens",
                    got=f"{facts['tokens']} tokens in {facts['documents']} documents",
                    do="supply more text or a shorter context",
                )
            )
        found[name] = facts


def _token_ids(texts: Iterator[str], tokenizer: Any, facts: dict[str, int]) -> Iterator[list[int]]:
    """Tokens of each document, the end-of-text token behind them where the tokenizer has one."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for some in _groups(texts):
        with quiet():
            encoded = tokenizer(some, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        for ids in encoded:
            facts["tokens"] += len(ids) + len(end)
            facts["documents"] += 1
            yield [*ids, *end]


def _contexts(documents: Iterator[list[int]], context: int) -> Iterator[Int32[np.ndarray, " token"]]:
    """The documents one after another in whole contexts; what is left over at the end is dropped."""
    rest = np.empty(0, dtype=np.int32)
    for some in _groups(documents):
        joined = np.concatenate([rest, np.fromiter(chain.from_iterable(some), dtype=np.int32)])
        whole = len(joined) // context * context
        rest = joined[whole:]
        if whole:
            yield joined[:whole]


def _documents(documents: Iterator[list[int]], context: int) -> Iterator[Int32[np.ndarray, " token"]]:
    """The beginning of each document, padded to a context; those of a single token have nothing to predict."""
    for ids in documents:
        if len(ids) > 1:
            tokens = np.full(context, PADDING, dtype=np.int32)
            tokens[: len(ids)] = ids[:context]
            yield tokens


def _groups(items: Iterator[Any]) -> Iterator[list[Any]]:
    """The items, so many together."""
    while some := list(islice(items, _TOGETHER)):
        yield some


def _texts(given: Sequence[str], field: str) -> Iterator[str]:
    some = False
    for source in given:
        for text in documents(source, field):
            some = True
            yield text
    if not some:
        raise no_text(given)


def _identity(tokenizer: Any) -> str:
    """What a tokenizer does, as text."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return str(fast.to_str())
    return type(tokenizer).__name__ + json.dumps(tokenizer.get_vocab(), sort_keys=True)


def _feed(digest: "hashlib._Hash | hashlib.blake2b", *parts: str) -> None:
    for text in parts:
        encoded = text.encode(errors="surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
