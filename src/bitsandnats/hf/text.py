"""Text files as documents, and documents as contexts of tokens."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from bitsandnats.data import pack
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.hf._quiet import quiet

_PROSE = ("txt", "text", "md", "markdown", "rst", "org", "tex", "adoc", "html", "htm", "xml")
_TABLES = ("csv", "tsv", "json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "sql")
_CODE = ("py", "pyi", "c", "h", "cc", "cpp", "hpp", "rs", "go", "java", "js", "ts", "jl", "r", "rb", "pl", "lua", "sh")
_SUFFIXES = frozenset(f".{suffix}" for suffix in (*_PROSE, *_TABLES, *_CODE))


def read_documents(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """The texts of files, and of all text files in folders and their subfolders, in order of their paths.

    In folders, hidden files and files whose suffix is not one of text or source code are passed over.

    Raises:
        DataError: a path does not exist, nothing readable is in it, or a file is not UTF-8.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    texts = [_read(file) for path in given for file in _files(Path(path))]
    documents = [text for text in texts if text.strip()]
    if not documents:
        raise DataError(
            message(
                expected="text in " + (", ".join(map(str, given)) or "at least one path"),
                got="empty files" if texts else "no files",
                do="name a file or folder that holds text",
            )
        )
    return documents


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
    if every < 2:
        raise InputError(message(expected="every of at least 2", got=str(every), do="hold out fewer contexts"))
    if len(contexts) < every:
        raise DataError(
            message(
                expected=f"at least {every} contexts, to hold one out",
                got=str(len(contexts)),
                do="supply more text or held-out text of its own",
            )
        )
    chosen = contexts.new_zeros(len(contexts), dtype=torch.bool)
    chosen[every - 1 :: every] = True
    return contexts[~chosen], contexts[chosen]


def decoded(tokenizer: Any, contexts: Int64[Tensor, "item context"]) -> list[str]:
    """Contexts of tokens as text."""
    with quiet():
        return [tokenizer.decode(row.tolist()) for row in contexts]


def decoded_tokens(tokenizer: Any, contexts: Int64[Tensor, "item context"]) -> list[list[str]]:
    """Each token of each context as the text that it stands for."""
    with quiet():
        return [[tokenizer.decode([token]) for token in row.tolist()] for row in contexts]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            message(expected=f"a text file or folder at {path}", got="nothing there", do="check the path's spelling")
        )
    inside = (p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    return sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            message(
                expected=f"UTF-8 text in {path}",
                got=f"a byte that is not, at position {error.start}",
                do="convert the file to UTF-8 or leave it out",
            )
        ) from None
    except OSError as error:
        raise DataError(
            message(expected=f"a readable file at {path}", got=error.strerror or str(error), do="check its permissions")
        ) from None
