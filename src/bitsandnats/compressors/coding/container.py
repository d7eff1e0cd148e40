"""The container: a network as bytes, with everything that a decoder needs and a checksum."""

import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.compressors.coding.matrices import get_matrix, middle, put_matrix
from bitsandnats.compressors.coding.packing import pack, pack_text, sized, take, unpack, unpack_text
from bitsandnats.compressors.coding.stream import Reader, Writer
from bitsandnats.compressors.coding.types import Grid, Network, Piece
from bitsandnats.errors import ModelError, StoreError, message

_MAGIC, _VERSION = b"BNZ", 2
_HEAD = 16  # magic, version, checksum, fingerprint
_DTYPES = (
    torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)  # fmt: skip
_FLOAT_BITS = 53
_ALIAS = "\x01"  # between the names of a tied parameter
_HALF = 26  # bits of a mantissa that are sent at once


class Sections(NamedTuple):
    """Bytes by what they say: head with checksum, names and config, numbers at full precision, coded numbers."""

    head: int
    names: int
    plain: int
    coded: int


def encode(network: Network) -> bytes:
    """The network as bytes; `decode` gives back the very same weights.

    Checked in `tests/coding/test_round_trip.py`; its length in `tests/coding/test_length.py`.

    Raises:
        ModelError: a tensor of a type that cannot be stored.
    """
    return _encode(network)[0]


def sections(network: Network) -> Sections:
    """Where the bytes of `encode(network)` go.

    Raises:
        ModelError: a tensor of a type that cannot be stored.
    """
    return _encode(network)[1]


def decode(data: bytes, source: str = "these bytes") -> Network:
    """The network that `encode` was given, except that of its `architecture` only the fingerprint is known.

    Args:
        data: the whole file.
        source: what to call it in errors.

    Raises:
        StoreError: no container, one of another version, or a damaged one.
    """
    if not data.startswith(_MAGIC):
        raise _refused(
            source, "a container of a compressed network", "something else", "name a file that compress wrote"
        )
    if len(data) < _HEAD or zlib.crc32(data[8:], data[3]) != int.from_bytes(data[4:8], "little"):
        if len(data) > 3 and data[3] != _VERSION:
            raise _other_version(source, data[3])
        raise _refused(source, "an undamaged container", "one whose checksum does not fit", "copy or write it again")
    if data[3] != _VERSION:
        raise _other_version(source, data[3])
    text, at = take(data, _HEAD)
    raw, at = take(data, at)
    names, config = unpack_text(text).split("\0")
    return _read(Reader(data[at:]), names.split("\n") if names else [], config, raw)


def check_architecture(data: bytes, network: Network, source: str = "these bytes") -> None:
    """Refuses bytes that were written for another architecture than the given network's.

    Raises:
        StoreError: as said.
    """
    if data[8:_HEAD] != network.fingerprint:
        do = "name the model that it was made from"
        raise _refused(source, "a container of this architecture", "one of another", do)


def _encode(network: Network) -> tuple[bytes, Sections]:
    names = [_ALIAS.join([name, *network.aliases.get(name, ())]) for name in (*network.pieces, *network.plain)]
    text = pack_text("\n".join(names) + "\0" + network.config)
    raw = pack(b"".join(_raw_bytes(t) for t in network.plain.values()))
    writer = Writer()
    _put_header(writer, network)
    arrays = [_as_matrix(grid.symbols) for piece in network.pieces.values() for grid in piece.grids]
    medians = [middle(symbols) for symbols in arrays]
    writer.put_integers(medians)
    for symbols, median in zip(arrays, medians, strict=True):
        put_matrix(writer, symbols - median)
    coded = writer.bytes()
    body = network.fingerprint + sized(text) + sized(raw) + coded
    head = _MAGIC + bytes([_VERSION]) + zlib.crc32(body, _VERSION).to_bytes(4, "little")
    parts = Sections(_HEAD, len(sized(text)), len(sized(raw)), len(coded))
    return head + body, parts


def _put_header(writer: Writer, network: Network) -> None:
    tensors = [(p.dtype, p.shape) for p in network.pieces.values()]
    tensors += [(t.dtype, tuple(t.shape)) for t in network.plain.values()]
    spacings = [g.spacing for p in network.pieces.values() for g in p.grids]
    table = sorted(set(spacings))
    fractions = [_fraction(s) for s in table]
    writer.put_integers([len(network.pieces), len(network.plain), len(table)])
    writer.put_integers([_code(dtype, name) for (dtype, _), name in zip(tensors, _names(network), strict=True)])
    writer.put_integers([len(shape) for _, shape in tensors])
    writer.put_integers([side for _, shape in tensors for side in shape])
    writer.put_integers([0 if p.rank is None else p.rank + 1 for p in network.pieces.values()])
    writer.put_integers([e for _, e in fractions])
    writer.put_integers([m & ((1 << _HALF) - 1) for m, _ in fractions])
    writer.put_integers([m >> _HALF for m, _ in fractions])
    writer.put_uniform(np.array([table.index(s) for s in spacings], dtype=np.int64), len(table))


def _read(reader: Reader, names: Sequence[str], config: str, raw: bytes) -> Network:
    pieces, plains, spacings = (int(v) for v in reader.get_integers(3))
    dtypes = [_DTYPES[int(c)] for c in reader.get_integers(pieces + plains)]
    axes = [int(v) for v in reader.get_integers(pieces + plains)]
    sides = iter(reader.get_integers(sum(axes)).tolist())
    shapes = [tuple(next(sides) for _ in range(count)) for count in axes]
    ranks = [int(v) - 1 for v in reader.get_integers(pieces)]
    exponents, low, high = (reader.get_integers(spacings) for _ in range(3))
    table = [math.ldexp(int(m) + (int(h) << _HALF), int(e)) for e, m, h in zip(exponents, low, high, strict=True)]
    grids = sum(1 if rank < 0 else 2 for rank in ranks)
    which = iter(reader.get_uniform(grids, len(table)).tolist())
    medians = iter(reader.get_integers(grids).tolist())
    first = [name.split(_ALIAS) for name in names]
    coded: dict[str, Piece] = {}
    for (name, *_), dtype, shape, rank in zip(first[:pieces], dtypes[:pieces], shapes[:pieces], ranks, strict=True):
        parts = [shape] if rank < 0 else [(shape[0], rank), (rank, shape[1])]
        found = []
        for part in parts:
            spacing = table[next(which)]
            matrix = get_matrix(reader, *_matrix_shape(part)) + next(medians)
            found.append(Grid(matrix.astype(np.int32).reshape(part), spacing))
        coded[name] = Piece(dtype, tuple(found))
    plain = _plain([n[0] for n in first[pieces:]], dtypes[pieces:], shapes[pieces:], raw)
    return Network(coded, plain, {name: tuple(more) for name, *more in first if more}, config=config)


def _names(network: Network) -> tuple[str, ...]:
    return (*network.pieces, *network.plain)


def _code(dtype: torch.dtype, name: str) -> int:
    if dtype not in _DTYPES:
        got = f"{name} in {str(dtype).removeprefix('torch.')}"
        raise ModelError(message(expected="real or whole numbers", got=got, do="convert the model with .float()"))
    return _DTYPES.index(dtype)


def _fraction(value: float) -> tuple[int, int]:
    """A float64 as m·2^e with odd m."""
    mantissa, exponent = math.frexp(value)
    whole, exponent = int(math.ldexp(mantissa, _FLOAT_BITS)), exponent - _FLOAT_BITS
    shift = (whole & -whole).bit_length() - 1
    return whole >> shift, exponent + shift


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """A vector is one row; further axes of a tensor lie behind each other in a row."""
    return (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def _as_matrix(symbols: np.ndarray) -> np.ndarray:
    return symbols.reshape(_matrix_shape(symbols.shape)).astype(np.int64)


def _raw_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _plain(
    names: Sequence[str], dtypes: Sequence[torch.dtype], shapes: Sequence[tuple[int, ...]], raw: bytes
) -> Params:
    data, at, found = unpack(raw), 0, {}
    for name, dtype, shape in zip(names, dtypes, shapes, strict=True):
        size = math.prod(shape) * torch.empty(0, dtype=dtype).element_size()
        part = torch.frombuffer(bytearray(data[at : at + size] or b"\0" * 8), dtype=dtype)
        found[name] = part[: math.prod(shape)].reshape(shape).clone()
        at += size
    return found


def _refused(source: str, expected: str, got: str, do: str) -> StoreError:
    return StoreError(message(expected=f"{expected} in {source}", got=got, do=do))


def _other_version(source: str, found: int) -> StoreError:
    do = "read it with the version that wrote it"
    return _refused(source, f"a container of version {_VERSION}", f"version {found}", do)
