"""The folder of a trained suite: what is in it, read and written whole or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from bitsandnats.errors import DataError, StoreError, message
from bitsandnats.hf.options import TrainOptions

SUITE_FILE = "suite.json"
STATE_FILE = "state.pt"
_PARTIAL = ".partial"


def suite_contexts(
    folder: str | os.PathLike[str],
) -> tuple[Int64[Tensor, "item context"], Int64[Tensor, "held_out context"]]:
    """The contexts that a suite was trained on, and those held out.

    Raises:
        StoreError: the folder is no suite, or is damaged.
    """
    return read_contexts(Path(folder), "train"), read_contexts(Path(folder), "held_out")


def suite_options(folder: str | os.PathLike[str]) -> TrainOptions:
    """What a finished suite was trained with.

    Raises:
        DataError: the folder holds no suite, or one whose training has not ended.
        StoreError: its description is damaged.
    """
    found = read_suite(Path(folder))
    if found is None or not found.get("complete"):
        got = "none" if found is None else "one whose training has not ended"
        do = "train it with 'bitsandnats train --out FOLDER'"
        raise DataError(message(expected=f"a suite that was trained here in {folder}", got=got, do=do))
    options = found["options"]
    return TrainOptions(**{**options, "checkpoints": tuple(options["checkpoints"])})


def training_rate(checkpoint: str | os.PathLike[str]) -> float | None:
    """The peak learning rate of the suite that a checkpoint belongs to; None where it belongs to none.

    Raises:
        StoreError: the suite's description is damaged.
    """
    found = read_suite(Path(checkpoint).resolve().parent)
    return None if found is None else float(found["options"]["learning_rate"])


def make_folder(folder: Path) -> None:
    """Makes the folder of a suite.

    Raises:
        StoreError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission to write there")
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise StoreError(
            message(expected=f"a folder that can be written at {folder}", got=got, do="choose another folder")
        ) from None


def clear(folder: Path, names: Sequence[str]) -> None:
    """Removes what was written before the text proved too short: files by name, all contexts, then an empty folder."""
    for name in (*names, "train.safetensors", "held_out.safetensors"):
        for file in (folder / name, folder / f"{name}{_PARTIAL}"):
            file.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: it holds other things
        folder.rmdir()


def read_suite(folder: Path) -> dict[str, Any] | None:
    """The suite's description, or None where the folder is none.

    Raises:
        StoreError: its description is damaged.
    """
    file = folder / SUITE_FILE
    if not file.is_file():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise StoreError(
            message(expected=f"a readable {file}", got=str(error), do="delete the folder and train anew")
        ) from error


def write_suite(folder: Path, description: dict[str, Any]) -> None:
    """Writes the suite's description, replacing it whole."""
    text = json.dumps(description, indent=1, allow_nan=False)
    write_file(folder / SUITE_FILE, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def write_contexts(folder: Path, name: str, contexts: Int64[Tensor, "item context"]) -> None:
    """Writes contexts as `name.safetensors`, with 32-bit tokens."""
    from safetensors.torch import save_file

    write_file(folder / f"{name}.safetensors", lambda path: save_file({"contexts": contexts.int()}, path))


def read_contexts(folder: Path, name: str) -> Int64[Tensor, "item context"]:
    """Contexts of tokens as they were written.

    Raises:
        StoreError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / f"{name}.safetensors"
    try:
        return load_file(file)["contexts"].long()
    except (OSError, SafetensorError, KeyError) as error:
        got = "no such file" if not file.exists() else str(error)
        raise StoreError(
            message(expected=f"the suite's tokens in {file}", got=got, do="name a text file or train the suite anew")
        ) from error


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes what training needs to go on, replacing it whole."""
    write_file(folder / STATE_FILE, lambda path: torch.save(state, path))


def read_state(folder: Path) -> dict[str, Any] | None:
    """What training needs to go on, or None where nothing was saved.

    Raises:
        StoreError: it is damaged.
    """
    file = folder / STATE_FILE
    if not file.is_file():
        return None
    try:
        return dict(torch.load(file, weights_only=True))
    except Exception as error:
        raise StoreError(
            message(
                expected=f"a readable {file}",
                got=" ".join(str(error).split())[:200],
                do="delete this file to train from the beginning",
            )
        ) from error


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under a temporary name, then gives it its own, so that no half of it is ever read."""
    partial = path.with_name(path.name + _PARTIAL)
    write(partial)
    partial.replace(path)


def write_folder(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a folder under a temporary name, then gives it its own; an older one of that name is replaced."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)
