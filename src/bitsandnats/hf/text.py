"""Where text comes from, as documents, and documents as contexts of tokens."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, Int64
from torch import Tensor

from bitsandnats.data import file_documents, pack
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.hf._quiet import quiet
from bitsandnats.hf.datasets import dataset_documents, is_dataset

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""Files, folders, `dataset:org/name` or saved datasets; one or several."""

_BYTES = 4  # of the longest character of UTF-8
_NAMED = re.compile(r"([A-Za-z][\w.-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Texts:
    """Text to measure on: where it is, in which subsets, how it is read and cut.

    Attributes:
        sources: name of a subset -> its sources, as `documents` reads them; one named "" where there are no subsets.
        field: of JSON lines, parquet and datasets: the field that holds the text.
        items: `contexts`, the documents one after another cut into equal pieces; or `documents`, the first tokens of
            each one, padded to one length, of which padding has no weight.
    """

    sources: Mapping[str, Sequence[str]]
    field: str = "text"
    items: str = "contexts"

    def __post_init__(self) -> None:
        """Refuses impossible values.

        Raises:
            InputError: `items` is unknown, or a subset has no name beside others.
        """
        if self.items not in ("contexts", "documents"):
            raise InputError(message(expected="items contexts or documents", got=repr(self.items), do="choose one"))
        if "" in self.sources and len(self.sources) > 1:
            text = next(iter(self.sources[""]), "text")
            got, do = f"{text} without one", f"write NAME={text}"
            raise InputError(message(expected="a name for each text, or for none", got=got, do=do))

    @property
    def words(self) -> str:
        """The sources in words."""
        return ", ".join(
            f"{name} = {source}" if name else source
            for name, given in self.sources.items()
            for source in (s if s.startswith("dataset:") else Path(s).name for s in given)
        )


def named_texts(given: Sequence[str], field: str = "text", items: str = "contexts") -> Texts:
    """Sources as the command line writes them: `SOURCE`, or all of them `NAME=SOURCE`, several of one name together.

    Raises:
        InputError: some have a name and some have none; or `items` is unknown.
    """
    sources: dict[str, list[str]] = {}
    for text in given:
        found = None if Path(text).exists() else _NAMED.fullmatch(text)
        name, source = ("", text) if found is None else (found[1], found[2])
        sources.setdefault(name, []).append(source)
    return Texts(sources, field, items)


def as_texts(text: "Paths | Mapping[str, Paths] | Texts") -> Texts:
    """Text in any of its forms as one: paths, a mapping from names of subsets to paths, or what it already is."""
    if isinstance(text, Texts):
        return text
    groups = text if isinstance(text, Mapping) else {"": text}
    return Texts(
        {
            name: [os.fspath(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
            for name, paths in groups.items()
        }
    )


def documents(source: str, field: str = "text") -> Iterator[str]:
    """The documents of one source, in order: a file, a folder, a dataset saved to disk, or `dataset:org/name`.

    Raises:
        DataError: there is no such source, or it cannot be read, or has no such field.
    """
    return (text for text in _all_documents(source, field) if text.strip())


def read_documents(paths: Paths, field: str = "text") -> list[str]:
    """The texts of files, of all text files in folders and their subfolders, and of datasets, in order.

    Args:
        paths: as `documents` reads them.
        field: that holds the text of JSON lines, parquet and datasets.

    Raises:
        DataError: a path does not exist, nothing readable is in it, or a file is in no known encoding.
    """
    given = as_texts(paths).sources[""]
    texts = [text for source in given for text in _all_documents(source, field)]
    found = [text for text in texts if text.strip()]
    if not found:
        raise no_text(given, "empty files" if texts else "no files")
    return found


def no_text(sources: Sequence[str], got: str = "none") -> DataError:
    """What is said where nothing was found to read."""
    return DataError(
        message(
            expected="text in " + (", ".join(sources) or "at least one path"),
            got=got,
            do="name a file or folder that holds text",
        )
    )


def text_contexts(documents: Sequence[str], tokenizer: Any, context: int) -> Int64[Tensor, "item context"]:
    """Documents as tokens, each followed by the end-of-text token where the tokenizer has one, cut into contexts.

    Args:
        documents: texts.
        tokenizer: a tokenizer of transformers.
        context: tokens an item.

    Raises:
        DataError: the text is shorter than one context.
    """
    with quiet():
        encoded = tokenizer(list(documents), add_special_tokens=False, return_attention_mask=False)
    return pack(encoded["input_ids"], context, tokenizer.eos_token_id)


def split_contexts(
    contexts: Int64[Tensor, "item context"], every: int = 10
) -> tuple[Int64[Tensor, "rest context"], Int64[Tensor, "held_out context"]]:
    """The contexts without every `every`-th, and those: held-out text where none is given.

    Neighbouring contexts may come from one document, so documents held out as a whole are the stricter choice.

    Raises:
        InputError: `every` is less than 2.
        DataError: there are fewer contexts than `every`.
    """
    kept, held_out = split_rows(len(contexts), every)
    return contexts[kept], contexts[held_out]


def split_rows(
    items: int, every: int = 10, what: str = ""
) -> tuple[Int64[Tensor, " rest"], Int64[Tensor, " held_out"]]:
    """The places of so many items without every `every`-th, and those.

    Args:
        items: how many there are.
        every: one of so many is held out.
        what: the subset, in words, for messages.

    Raises:
        InputError: `every` is less than 2.
        DataError: there are fewer items than `every`.
    """
    if every < 2:
        raise InputError(message(expected="every of at least 2", got=str(every), do="hold out fewer contexts"))
    if items < every:
        raise DataError(
            message(
                expected=f"at least {every} contexts{what}, to hold one out",
                got=str(items),
                do="supply more text or held-out text of its own",
            )
        )
    chosen = torch.zeros(items, dtype=torch.bool)
    chosen[every - 1 :: every] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()


def _all_documents(source: str, field: str) -> Iterator[str]:
    return dataset_documents(source, field) if is_dataset(source) else file_documents(source, field)


def decoded(tokenizer: Any, contexts: Int[Tensor, "item context"]) -> list[str]:
    """Contexts of tokens as text, without their padding."""
    with quiet():
        return [tokenizer.decode(row[row >= 0].tolist()) for row in contexts]


def decoded_tokens(tokenizer: Any, contexts: Int[Tensor, "item context"]) -> list[list[str]]:
    """Each token of each context as the text that it stands for; padding as nothing.

    A character that is made of several tokens' bytes is the last one's, and the others stand for nothing.
    """
    with quiet():
        return [_pieces(tokenizer, row[row >= 0].tolist()) + [""] * int((row < 0).sum()) for row in contexts]


def _pieces(tokenizer: Any, tokens: list[int]) -> list[str]:
    found: list[str] = []
    open_bytes: list[int] = []
    for token in tokens:
        text = tokenizer.decode([*open_bytes, token])
        if text.endswith("\ufffd") and len(open_bytes) < _BYTES - 1:
            open_bytes.append(token)
            found.append("")
        else:
            open_bytes = []
            found.append(text)
    return found
