"""What a report shows of a sample: some characters of text, its tokens, or an image of at most 64 × 64 pixels."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from bitsandnats.errors import InputError, message

CHARACTERS = 300
TOKENS = 4096  # characters of a sample that is given as its tokens
PIXELS = 64
SEPARATOR = "\x1f"
"""Stands between the stored tokens of a sample."""


def as_previews(samples: Sequence[Any]) -> tuple[str, list[str]]:
    """Previews of samples as text that can be stored: the kind, `text`, `tokens` or `image`, and one string a sample.

    Text is cut to 300 characters. A list of tokens, each as the text that it stands for, is cut to those within 4,096
    characters, and stored with U+001F between them. Images are arrays (height, width) or (height, width, 3), whole
    numbers from 0 to 255 or real ones from 0 to 1; larger ones are thinned to at most 64 pixels a side; they become PNG
    as data URIs.

    Raises:
        InputError: a sample is neither, or texts and images are mixed.
    """
    if all(isinstance(sample, str) for sample in samples):
        return "text", [cut if len(cut := s) <= CHARACTERS else s[: CHARACTERS - 1] + "…" for s in samples]
    if all(isinstance(sample, list) and all(isinstance(token, str) for token in sample) for sample in samples):
        return "tokens", [_joined(sample) for sample in samples]
    arrays = [np.asarray(sample) for sample in samples]
    for array in arrays:
        if array.dtype.kind not in "uif" or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
            raise InputError(
                message(
                    expected="previews that are all texts, or lists of tokens, or images (height, width[, 3])",
                    got=f"an array of {array.dtype} and shape {array.shape}",
                    do="give one of these a sample",
                )
            )
    return "image", [data_uri(array) for array in arrays]


def data_uri(image: Shaped[ndarray, "height width *channel"]) -> str:
    """An image as a PNG in a data URI."""
    return data_uri_of(png(image))


def data_uri_of(content: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def png(image: Shaped[ndarray, "height width *channel"]) -> bytes:
    """An image as PNG, thinned to at most 64 pixels a side; grey or RGB."""
    step = max(1, -(-max(image.shape[:2]) // PIXELS))
    small = image[::step, ::step]
    if small.dtype.kind == "f":
        small = np.clip(np.nan_to_num(small), 0, 1) * 255
    return encoded(np.clip(np.round(small), 0, 255).astype(np.uint8))


def encoded(pixels: UInt8[ndarray, "height width *channel"]) -> bytes:
    """Pixels as PNG; grey or RGB."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\x00" + row.tobytes() for row in np.ascontiguousarray(pixels))
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def pixels_of(uri: str) -> UInt8[ndarray, "height width *channel"]:
    """The pixels of a stored preview: what `data_uri` was given, as whole numbers."""
    content = base64.b64decode(uri.partition(",")[2])
    width, height, _, colour = struct.unpack(">IIBB", content[16:26])
    size = struct.unpack(">I", content[33:37])[0]
    channels = 3 if colour == 2 else 1
    rows = np.frombuffer(zlib.decompress(content[41 : 41 + size]), np.uint8).reshape(height, 1 + width * channels)
    found = rows[:, 1:]  # each row begins with its filter, of which there is none
    return found.reshape(height, width, 3) if channels == 3 else found


def _joined(tokens: Sequence[str]) -> str:
    cleaned = [token.replace(SEPARATOR, " ") for token in tokens]
    ends = np.cumsum([len(token) for token in cleaned])
    return SEPARATOR.join(cleaned[: int((ends <= TOKENS).sum())])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
