"""Contexts of tokens in a file, mapped into memory: as much of it is read as batches need."""

import functools
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from bitsandnats._types import Batch
from bitsandnats.errors import StoreError, message


@dataclass(frozen=True)
class TokenFile:
    """Contexts of tokens as data by index; a plain value, whatever its size, so that other processes can have it.

    Attributes:
        file: 32-bit tokens, context after context.
        context: tokens an item.
        rows: which of the file's contexts are the items.
    """

    file: Path
    context: int
    rows: Int64[Tensor, " item"]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.rows)

    def batch(self, indices: Tensor) -> Batch:
        """The contexts at `indices`; index axes come first."""
        tokens = _mapped(self.file, self.context).index_select(0, self.rows[indices.reshape(-1)])
        return tokens.view(*indices.shape, self.context)

    def only(self, rows: Int64[Tensor, " chosen"]) -> "TokenFile":
        """The items at `rows`."""
        return TokenFile(self.file, self.context, self.rows[rows])


def cache_folder() -> Path:
    """Where prepared data are kept: `BITSANDNATS_CACHE`, else `bitsandnats` in the user's folder of caches."""
    given = os.environ.get("BITSANDNATS_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(home) if home else Path.home() / ".cache") / "bitsandnats"


def write_tokens(file: Path, rows: Callable[[], Iterable[Int32[np.ndarray, " token"]]]) -> None:
    """Writes tokens one after another, whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as opened:
            for tokens in rows():
                tokens.tofile(opened)
        partial.replace(file)
    except OSError as error:
        got = error.strerror or type(error).__name__
        expected, do = f"a cache that can be written at {file.parent}", "set BITSANDNATS_CACHE to another folder"
        raise StoreError(message(expected=expected, got=got, do=do)) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@functools.lru_cache(maxsize=8)
def _mapped(file: Path, context: int) -> Int32[Tensor, "item context"]:
    """The file as a tensor; copy-on-write, so that torch may have it and nothing is ever written."""
    tokens = np.memmap(file, dtype=np.int32, mode="c")
    return torch.from_numpy(tokens.reshape(-1, context))
