"""Whole numbers as tokens of a small alphabet and a few bits beside: exact near zero, logarithmic far from it."""

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

EXACT = 16
"""Magnitudes below this are tokens of their own."""

ALPHABET = 240
"""Tokens of magnitudes below 2³²."""

_TABLE_SIZE = 1 << 12


def _bucket_starts() -> Int64[ndarray, " token"]:
    small = np.arange(EXACT, dtype=np.int64)
    large = [(8 + lead) << (exponent - 3) for exponent in range(4, 32) for lead in range(8)]
    return np.concatenate([small, np.asarray(large, dtype=np.int64)])


STARTS = _bucket_starts()
"""The smallest magnitude of each token."""

BITS = np.concatenate([np.zeros(EXACT, np.int64), np.repeat(np.arange(1, 29), 8)]).astype(np.uint8)
"""Bits that say which magnitude of the token's it is, beside it."""

CENTRES = STARTS + np.ldexp(0.5, BITS.astype(np.int64)) - 0.5
"""The middle of each token's magnitudes."""


def _compute(magnitudes: Int64[ndarray, " n"]) -> UInt8[ndarray, " n"]:
    return (np.searchsorted(STARTS, magnitudes, side="right") - 1).astype(np.uint8)


_TABLE = _compute(np.arange(_TABLE_SIZE, dtype=np.int64))


def to_tokens(magnitudes: Int64[ndarray, " n"]) -> UInt8[ndarray, " n"]:
    """The token of each magnitude; below 2³²."""
    if not magnitudes.size or int(magnitudes.max()) < _TABLE_SIZE:
        return _TABLE[magnitudes]
    return _compute(magnitudes)
