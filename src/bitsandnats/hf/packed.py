"""Text as contexts of tokens, tokenized once and kept in the cache."""

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
from jaxtyping import Int32

from bitsandnats.data import TokenFile, cache_folder, write_tokens
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.hf._quiet import quiet
from bitsandnats.hf.text import Reading, documents, no_text

PADDING = -1
"""What stands for no token, behind the end of a document."""

_TOGETHER = 256  # documents tokenized at once


@dataclass(frozen=True)
class Packed:
    """Contexts of tokens, and which of them belong to which subset.

    Attributes:
        data: the contexts, `PADDING` behind the end of a document.
        subsets: name -> its items, one subset after another; empty where the text has no names.
        padded: whether there is padding.
        largest: the largest token.
    """

    data: TokenFile
    subsets: Mapping[str, range]
    padded: bool
    largest: int


def pack_text(sources: Mapping[str, Sequence[str]], tokenizer: Any, context: int, reading: Reading) -> Packed:
    """The texts of all subsets as contexts, from the cache where the same text was tokenized in the same way before.

    Args:
        sources: of each subset; one without a name where there are none.
        tokenizer: a tokenizer of transformers.
        context: tokens an item.
        reading: how text is read and cut.

    Raises:
        DataError: the text of a subset is missing, cannot be read, or is shorter than one context.
        InputError: `context` is less than 2.
        StoreError: the cache cannot be written.
    """
    if context < 2:
        raise InputError(message(expected="a context of at least 2 tokens", got=str(context), do="choose a longer one"))
    digest = hashlib.blake2b(digest_size=20)
    _feed(digest, _identity(tokenizer), str(context), reading.items)
    for name, given in sources.items():
        _feed(digest, f"subset {name}")
        for text in _texts(given, reading):
            _feed(digest, text)
    file = cache_folder() / "tokens" / f"{digest.hexdigest()}.i32"
    facts = file.with_suffix(".json")
    if not (file.is_file() and facts.is_file()):
        found: dict[str, dict[str, int]] = {}
        write_tokens(file, lambda: _all_tokens(sources, tokenizer, context, reading, found))
        facts.write_text(json.dumps(found), encoding="utf-8")
    return _open(file, context, json.loads(facts.read_text(encoding="utf-8")))


def _open(file: Path, context: int, found: Mapping[str, Mapping[str, int]]) -> Packed:
    subsets, start = {}, 0
    for name, facts in found.items():
        subsets[name] = range(start, start + facts["items"])
        start += facts["items"]
    return Packed(
        data=TokenFile(file, context, torch.arange(start)),
        subsets={name: items for name, items in subsets.items() if name},
        padded=any(facts["padded"] for facts in found.values()),
        largest=max(facts["largest"] for facts in found.values()),
    )


def _all_tokens(
    sources: Mapping[str, Sequence[str]], tokenizer: Any, context: int, reading: Reading, found: dict[str, Any]
) -> Iterator[Int32[np.ndarray, " token"]]:
    """Tokens of all subsets in whole contexts; what each holds goes into `found`."""
    cut = functools.partial(_contexts if reading.items == "contexts" else _documents, context=context)
    for name, given in sources.items():
        facts = {"items": 0, "padded": 0, "largest": 0, "tokens": 0}
        for tokens in cut(_token_ids(_texts(given, reading), tokenizer, facts)):
            facts["items"] += len(tokens) // context
            facts["padded"] |= int(tokens.min() < 0)
            facts["largest"] = max(facts["largest"], int(tokens.max()))
            yield tokens
        if facts["items"] == 0:
            of = f" of {name}" if name else ""
            raise DataError(
                message(
                    expected=f"text{of} of at least one context, {context} tokens",
                    got=f"{facts['tokens']} tokens",
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


def _texts(given: Sequence[str], reading: Reading) -> Iterator[str]:
    some = False
    for source in given:
        for text in documents(source, reading.field):
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
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
