"""Containers as files: written whole or not at all."""

import io
import os
import uuid
from pathlib import Path

import torch

from bitsandnats.compressors.coding.container import decode, encode
from bitsandnats.compressors.coding.types import Network
from bitsandnats.errors import StoreError, message


def save(network: Network, path: str | os.PathLike[str]) -> int:
    """Writes a network as a container; its length in bytes.

    Raises:
        StoreError: the file cannot be written.
        ModelError: a tensor of a type that cannot be stored.
    """
    data = encode(network)
    write_whole(Path(path), data)
    return len(data)


def load(path: str | os.PathLike[str]) -> Network:
    """The network in a file.

    Raises:
        StoreError: no such file, no container, one of another version, or a damaged one.
    """
    return decode(read(path), str(path))


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise StoreError(message(expected=f"a file that can be read at {path}", got=got, do="check the name")) from None


def save_weights(network: Network, path: str | os.PathLike[str]) -> None:
    """Writes all weights under all their names, for `torch.load(path, weights_only=True)` and `load_state_dict`.

    Raises:
        StoreError: the file exists, or cannot be written.
    """
    target = Path(path)
    if target.exists():
        raise StoreError(message(expected=f"a new file {path}", got="one that exists", do="choose another --out"))
    buffer = io.BytesIO()
    torch.save(network.state(), buffer)
    write_whole(target, buffer.getvalue())


def write_whole(path: Path, data: bytes) -> None:
    """Writes under a hidden name, then renames: nothing partial is ever left under the final name.

    Raises:
        StoreError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        got = error.strerror or type(error).__name__
        do = "choose another file"
        raise StoreError(message(expected=f"a file that can be written at {path}", got=got, do=do)) from None
