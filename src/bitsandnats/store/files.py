"""Files written whole or not at all, and read with a sentence where they cannot be."""

import contextlib
import errno
import hashlib
import json
import math
import os
import uuid
from pathlib import Path
from typing import Any

from bitsandnats.errors import StoreError, message


def write_json(path: Path, value: Any) -> None:
    """Writes plain values atomically; numbers that JSON does not have become null."""
    write_text(path, json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically: the old one or the new one, never half.

    Raises:
        StoreError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a machine that goes down must not leave an empty file behind the new name
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path.parent, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def content(folder: Path) -> str:
    """Hash of every file in a folder: stored chunks carry no checksum, and one that is lost reads as NaN."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return _plain(value.item())
    return value


def read_json(path: Path) -> dict[str, Any]:
    """A table of plain values.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> StoreError:
    """The error for a file or folder that cannot be read."""
    return StoreError(
        message(
            expected=f"a readable {path}",
            got=f"{type(error).__name__}",
            do="remove it and run again; finished units beside it are kept",
        )
    )


def unwritable(path: Path, error: OSError) -> StoreError:
    """The error for a folder that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreError(
        message(
            expected=f"a folder that can be written at {path}",
            got=error.strerror or type(error).__name__,
            do="make room and run the same command again, what is finished is kept" if full else "choose another --out",
        )
    )
