"""A matrix of whole numbers: which rows and columns are alike in scale, then each class under its own distribution."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from bitsandnats.compressors.coding import laws
from bitsandnats.compressors.coding.stream import Reader, Writer

_CLASSES_AN_OCTAVE = 2
_MOST_CLASSES = 32
_SMALLEST = 64  # numbers a matrix must have for classes to be tried
_LOOKED_AT = 4096
_WEIGHED = 1 << 18  # numbers by whose entropy classes are chosen
_BITS_A_ENTRY = 2.5  # of a sent table, about
_LAW_BITS, _LAW_LOSS = 14.0, 0.06  # of a law that is no table: bits to say it, and lost a number, about
_NONE, _ROWS, _COLUMNS, _BOTH = range(4)
_MODES = 4


class Classes(NamedTuple):
    """Classes of rows and of columns; a number's class is their sum, cut to the range."""

    mode: int
    rows: Int64[ndarray, " row"]
    columns: Int64[ndarray, " column"]

    def of(self) -> UInt8[ndarray, "row column"]:
        """The class of each number."""
        total = self.rows.astype(np.int16)[:, None] + self.columns.astype(np.int16)[None, :]
        return np.clip(total, 0, _MOST_CLASSES - 1).astype(np.uint8)


def put_matrix(writer: Writer, values: Int64[ndarray, "row column"]) -> None:
    """Sends a matrix whose numbers are about zero: its classes, and the numbers class by class."""
    if not values.size:
        return
    tokens = laws.signed_tokens(values.ravel())
    chosen = _choose(values, tokens)
    if values.size >= _SMALLEST:
        writer.put_uniform(np.array([chosen.mode]), _MODES)
    for mode, ids in ((_ROWS, chosen.rows), (_COLUMNS, chosen.columns)):
        if chosen.mode in (mode, _BOTH):
            _put_ids(writer, ids)
    if chosen.mode == _NONE:
        laws.put(writer, values.ravel(), tokens)
        return
    of = chosen.of().ravel()
    order = np.argsort(of, kind="stable")
    values, tokens = values.ravel()[order], tokens[order]
    ends = np.cumsum(np.bincount(of, minlength=_MOST_CLASSES))
    for start, stop in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):
        laws.put(writer, values[start:stop], tokens[start:stop])


def get_matrix(reader: Reader, rows: int, columns: int) -> Int64[ndarray, "row column"]:
    """The matrix that `put_matrix` sent."""
    if not rows * columns:
        return np.zeros((rows, columns), np.int64)
    mode = int(reader.get_uniform(1, _MODES)[0]) if rows * columns >= _SMALLEST else _NONE
    if mode == _NONE:
        return laws.get(reader, rows * columns).reshape(rows, columns)
    by_row = _get_ids(reader, rows) if mode in (_ROWS, _BOTH) else np.zeros(rows, np.int64)
    by_column = _get_ids(reader, columns) if mode in (_COLUMNS, _BOTH) else np.zeros(columns, np.int64)
    of = Classes(mode, by_row, by_column).of().ravel()
    parts = [laws.get(reader, int(count)) for count in np.bincount(of, minlength=_MOST_CLASSES)]
    values = np.empty(rows * columns, np.int64)
    values[np.argsort(of, kind="stable")] = np.concatenate(parts)
    return values.reshape(rows, columns)


def middle(symbols: Int64[ndarray, "row column"]) -> int:
    """The median of some thousand numbers spread over a matrix; 0 of none."""
    if not symbols.size:
        return 0
    some = symbols.ravel()[:: max(1, symbols.size // _LOOKED_AT)]
    return int(np.partition(some, len(some) // 2)[len(some) // 2])


def _put_ids(writer: Writer, ids: Int64[ndarray, " n"]) -> None:
    first = int(ids[0])
    writer.put_integers([first])
    laws.put(writer, ids - first, laws.signed_tokens(ids - first))


def _get_ids(reader: Reader, count: int) -> Int64[ndarray, " n"]:
    first = int(reader.get_integers(1)[0])
    return laws.get(reader, count) + first


def _choose(values: Int64[ndarray, "row column"], tokens: Int64[ndarray, " n"]) -> Classes:
    """No classes, or those by rows, columns or both, whichever is shortest by the entropy of the tokens."""
    rows, columns = values.shape
    plain = Classes(_NONE, np.zeros(rows, np.int64), np.zeros(columns, np.int64))
    if values.size < _SMALLEST or not values.any():
        return plain
    places, share = _some_places(rows, columns)
    some = tokens[places]
    best, least = plain, _cost(np.bincount(some, minlength=laws.WIDTH)[None], share)
    at_row, at_column = np.divmod(places, columns)
    for candidate in _candidates(np.abs(values).astype(np.float32)):
        joint = np.clip(candidate.rows[at_row] + candidate.columns[at_column], 0, _MOST_CLASSES - 1)
        joint *= laws.WIDTH
        joint += some
        counts = np.bincount(joint, minlength=_MOST_CLASSES * laws.WIDTH).reshape(_MOST_CLASSES, -1)
        cost = _cost(counts, share)
        cost += sum(
            laws.entropy_bits(np.bincount(ids - ids.min())) + 12
            for ids in (candidate.rows, candidate.columns)
            if ids.any()
        )
        if cost < least:
            best, least = candidate, cost
    return best


def _some_places(rows: int, columns: int) -> tuple[Int64[ndarray, " n"], float]:
    """Places spread evenly over all rows and columns, all of a small matrix; and how many numbers each stands for."""
    size = rows * columns
    stride = max(1, size // _WEIGHED)
    while math.gcd(stride, columns) > 1:
        stride += 1
    places = np.arange(0, size, stride)
    return places, size / len(places)


def _candidates(sizes: ndarray) -> list[Classes]:
    rows, columns = sizes.shape
    found = []
    by_row, by_column = sizes.mean(1), sizes.mean(0)
    still_r, still_c = np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    if rows > 1:
        found.append(Classes(_ROWS, _classes(by_row, columns), still_c))
    if columns > 1:
        found.append(Classes(_COLUMNS, still_r, _classes(by_column, rows)))
    if rows > 1 and columns > 1:
        relative = _classes(by_column, rows)
        relative = relative - int(np.median(relative))
        found.append(Classes(_BOTH, _classes(by_row, columns), relative))
    return found


def _classes(scales: ndarray, length: int) -> Int64[ndarray, " n"]:
    """Scales in half octaves above the smallest, the lowest of them at 0."""
    octaves = np.round(_CLASSES_AN_OCTAVE * np.log2(scales + 0.5 / length)).astype(np.int64)
    return np.minimum(octaves - octaves.min(), _MOST_CLASSES - 1)


def _cost(counts: ndarray, share: float) -> float:
    """Entropy of tokens class by class, each counted for as many as it stands for, and about what the laws take."""
    tables = 24 + _BITS_A_ENTRY * (counts > 0).sum(1)
    numbers = counts.sum(1)
    taken = np.minimum(tables, _LAW_BITS + _LAW_LOSS * share * numbers)
    return share * laws.entropy_bits(counts) + float(taken[numbers > 0].sum())
