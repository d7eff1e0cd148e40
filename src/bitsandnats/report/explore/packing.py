"""Arrays, thumbnails and excerpts as a page carries them: few bytes, read without a library."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy import ndarray

from bitsandnats.store.previews import SEPARATOR, data_uri_of, encoded, pixels_of

PIXELS = 8_000_000
"""Pixels of all thumbnails of one section together; beyond, each is thinned."""

CHARACTERS = 2_000_000
"""Characters of all excerpts of one section together; beyond, each is cut, to no fewer than 60."""

_FEWEST, _MOST = 60, 300
_NONE = {"i8": -128, "i16": -32768}


def packed(values: ndarray, kind: str, scale: float = 1.0) -> dict[str, Any]:
    """Numbers in base64, little-endian; whole ones (i8, i16) times `scale`, what is not finite as the lowest."""
    if kind in _NONE:
        whole = np.where(np.isfinite(values), np.round(np.nan_to_num(values) / scale), _NONE[kind])
        values = np.clip(whole, _NONE[kind] + np.isfinite(values), -_NONE[kind] - 1)
    types = {"u8": "<u1", "i8": "<i1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "f32": "<f4"}
    data = np.ascontiguousarray(values, dtype=types[kind]).tobytes()
    return {"kind": kind, "data": base64.b64encode(data).decode(), "scale": scale}


def sheet(uris: Sequence[str]) -> dict[str, Any]:
    """Thumbnails side by side in one image, all in fields of one size."""
    images = [pixels_of(uri) for uri in uris]
    channels = 3 if any(image.ndim == 3 for image in images) else 0
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    thinned = 1
    while len(images) * -(-height // thinned) * -(-width // thinned) * (channels or 1) > PIXELS:
        thinned += 1
    height, width = -(-height // thinned), -(-width // thinned)
    columns = max(1, round((len(images) * height / width) ** 0.5))
    rows = -(-len(images) // columns)
    whole = np.zeros((rows * height, columns * width, *((3,) if channels else ())), np.uint8)
    for i, image in enumerate(images):
        small = image[::thinned, ::thinned]
        small = small[..., None] if channels and small.ndim == 2 else small
        top, left = i // columns * height, i % columns * width
        whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return {"url": data_uri_of(encoded(whole)), "columns": columns, "width": width, "height": height}


def excerpts(texts: Sequence[str]) -> list[str]:
    """Texts cut to what all of them may take together."""
    most = min(_MOST, max(_FEWEST, CHARACTERS // max(len(texts), 1)))
    plain = [text.replace(SEPARATOR, "") for text in texts]
    return [text if len(text) <= most else text[: most - 1] + "…" for text in plain]


def described(columns: xr.Dataset, chosen: Sequence[int]) -> dict[str, Any]:
    """What is known of some items of a subset: their thumbnails or excerpts, and their labels.

    Args:
        columns: the stored description of the subset.
        chosen: items.
    """
    found: dict[str, Any] = {}
    if "preview" in columns:
        previews = columns["preview"].values
        own = [str(previews[i]) for i in chosen]
        kind = columns.attrs.get("preview")
        found |= {"sheet": sheet(own)} if kind == "image" and own else {"texts": excerpts(own)}
    if "item_label" in columns:
        values = columns["item_label"].values
        names, place = _by_count(values)
        label = np.array([place[value] for value in values[list(chosen)].tolist()])
        found |= {"labels": names, "label": packed(label, "u16" if len(names) > 255 else "u8")}
    return found


def _by_count(values: ndarray) -> tuple[list[str], dict[Any, int]]:
    """Distinct labels, in order where they are few, else the most frequent first; and the place of each."""
    distinct, count = np.unique(values, return_counts=True)
    order = range(len(distinct)) if len(distinct) <= 32 else np.argsort(-count, kind="stable")
    names = [distinct[i] for i in order]
    return [str(name) for name in names], {name.item(): k for k, name in enumerate(names)}


def columns_described(columns: xr.Dataset, chosen: ndarray) -> dict[str, Any]:
    """What is known of some columns of a subset: their items, and for tokens the words around each.

    Args:
        columns: the stored description of the subset.
        chosen: columns.
    """
    item, token = (columns[name].values[chosen].astype(int) for name in ("item", "token"))
    found = {**described(columns, item.tolist()), "item": packed(item, "u32")}
    if (token < 0).all():
        return found
    found["token"] = packed(token, "u32")
    if columns.attrs.get("preview") == "tokens":
        words = {i: str(columns["preview"].values[i]).split(SEPARATOR) for i in np.unique(item).tolist()}
        found |= {
            "texts": None,
            "marks": [_around(words[i], t + 1) for i, t in zip(item.tolist(), token.tolist(), strict=True)],
        }
    return found


def _around(tokens: list[str], place: int, reach: int = 14) -> list[str]:
    """A token and the text on both sides of it; nothing where the stored text ends before it."""
    if place >= len(tokens):
        return ["", "(beyond the stored text)", ""]
    before, after = tokens[max(0, place - reach) : place], tokens[place + 1 : place + 1 + reach // 2]
    start, end = "…" if place > reach else "", "…" if place + 1 + reach // 2 < len(tokens) else ""
    return [start + "".join(before), tokens[place], "".join(after) + end]
