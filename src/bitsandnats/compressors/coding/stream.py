"""A stream of entropy-coded whole numbers, and models that need a few bytes to describe."""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from numpy import ndarray

from bitsandnats.compressors.coding.tokens import ALPHABET, BITS, CENTRES, STARTS, to_tokens

Probabilities = Float64[ndarray, " symbol"]

_EIGHTHS = (1.0, 0.9170, 0.8409, 0.7711, 0.7071, 0.6484, 0.5946, 0.5453)  # 2^(−k/8); any constants would do
SHAPES = 3
"""Shapes of `shaped_laws`: Laplace's, one between, Gauss's."""

SCALES, SCALES_BELOW = 256, 24
"""Scales of `shaped_laws`, and how many of them are below 1."""

_SMALLEST_POWER = 500  # eighths of an octave below the largest probability, where the others end
_CHUNK = 16  # bits a uniform model takes at once


def _library() -> Any:
    """The coder, imported when it is needed."""
    import constriction

    library: Any = constriction
    return library.stream


class Writer:
    """Codes whole numbers one model after the other; `Reader` gives them back in the same order."""

    def __init__(self) -> None:
        self._library = _library()
        self._coder = self._library.queue.RangeEncoder()

    def put(self, symbols: ndarray, probabilities: Probabilities) -> None:
        """Symbols from 0 under one distribution, which need not be normalised; nothing where it is certain."""
        if len(symbols) and len(probabilities) > 1:
            model = self._library.model.Categorical(probabilities, perfect=False)
            self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), model)

    def put_uniform(self, symbols: ndarray, size: int) -> None:
        """Symbols from 0 to `size` − 1, all alike."""
        if len(symbols) and size > 1:
            self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), self._library.model.Uniform(size))

    def put_bits(self, values: Int64[ndarray, " n"], tokens: UInt8[ndarray, " n"]) -> None:
        """What the tokens leave open: each value less its token's start, in `BITS` of that token."""
        counts = BITS[tokens]
        rest = values - STARTS[tokens] if counts.any() else values
        for bits in np.flatnonzero(np.bincount(counts, minlength=1)[1:]) + 1:
            chosen = rest[counts == bits]
            low = min(int(bits), _CHUNK)
            self.put_uniform(chosen & ((1 << low) - 1), 1 << low)
            if bits > low:
                self.put_uniform(chosen >> low, 1 << int(bits - low))

    def put_integers(self, values: Sequence[int] | ndarray) -> None:
        """Whole numbers up to ±2³¹, small ones in few bits: six bits for a geometric law of tokens, then those."""
        numbers = np.asarray(values, dtype=np.int64)
        folded = np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)
        tokens = to_tokens(folded)
        if not len(tokens):
            return
        index = _mean_index(tokens)
        self.put_uniform(np.array([index]), 64)
        self.put(tokens, _geometric(index))
        self.put_bits(folded, tokens)

    def bytes(self) -> bytes:
        """All that was put, little-endian; zero bytes at the end, which the reader adds again, are left out."""
        return self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")


class Reader:
    """Gives back what a `Writer` was given, under the same models in the same order."""

    def __init__(self, data: bytes) -> None:
        self._library = _library()
        padded = data + b"\0" * (8 + -len(data) % 4)
        words = np.frombuffer(padded, dtype="<u4").astype(np.uint32)
        self._coder = self._library.queue.RangeDecoder(words)

    def get(self, count: int, probabilities: Probabilities) -> Int64[ndarray, " n"]:
        """The next `count` symbols of one distribution."""
        if not count or len(probabilities) < 2:
            return np.zeros(count, np.int64)
        return self._coder.decode(self._library.model.Categorical(probabilities, perfect=False), count).astype(np.int64)

    def get_uniform(self, count: int, size: int) -> Int64[ndarray, " n"]:
        """The next `count` symbols from 0 to `size` − 1."""
        if not count or size < 2:
            return np.zeros(count, np.int64)
        return self._coder.decode(self._library.model.Uniform(size), count).astype(np.int64)

    def get_bits(self, tokens: UInt8[ndarray, " n"]) -> Int64[ndarray, " n"]:
        """The values of tokens, from the bits that those leave open."""
        values, counts = STARTS[tokens], BITS[tokens]
        for bits in np.flatnonzero(np.bincount(counts, minlength=1)[1:]) + 1:
            chosen = np.flatnonzero(counts == bits)
            low = min(int(bits), _CHUNK)
            rest = self.get_uniform(len(chosen), 1 << low)
            if bits > low:
                rest += self.get_uniform(len(chosen), 1 << int(bits - low)) << low
            values[chosen] += rest
        return values

    def get_integers(self, count: int) -> Int64[ndarray, " n"]:
        """The next `count` whole numbers."""
        if not count:
            return np.zeros(0, np.int64)
        tokens = self.get(count, _geometric(int(self.get_uniform(1, 64)[0]))).astype(np.uint8)
        folded = self.get_bits(tokens)
        return np.where(folded % 2, -(folded + 1) // 2, folded // 2)


@cache
def _geometric(index: int) -> Probabilities:
    """Probabilities of tokens whose mean is about 2^(index/8) − 1."""
    mean = np.ldexp(1 / _EIGHTHS[index % 8], index // 8) - 1
    ratio = float(mean / (1 + mean)) if index else 1 / 64
    return np.cumprod(np.concatenate([[1.0], np.full(ALPHABET - 1, ratio)])) + 1e-7


def integer_bits(values: Sequence[int] | ndarray) -> float:
    """About what `put_integers` takes for some whole numbers, bits."""
    numbers = np.asarray(values, dtype=np.int64)
    tokens = to_tokens(np.where(numbers < 0, -2 * numbers - 1, 2 * numbers))
    return 6 + float(_token_bits(_mean_index(tokens))[tokens].sum())


@cache
def _token_bits(index: int) -> Float64[ndarray, " token"]:
    """What `put_integers` takes for each token, the bits beside included."""
    law = _geometric(index)
    return np.log2(law.sum() / law) + BITS


def _mean_index(tokens: UInt8[ndarray, " n"]) -> int:
    return min(round(8 * math.log2(1 + float(tokens.mean()))), 63)


@lru_cache(4096)
def magnitude_law(zero: int, spread: int) -> Probabilities:
    r"""Law of magnitude tokens: zero with probability (z+½)/256, else geometric with ratio θ.

    $P(m)\propto(1-\theta)\theta^{m-1}$ for m ≥ 1 and 1 − θ = 2^(−spread/8), summed over each token's magnitudes. Only
    products and sums of float64, so that every machine has the same numbers.

    Args:
        zero: z, from 0 to 255.
        spread: from 1 to 255.
    """
    p = (zero + 0.5) / 256
    ratio = 1 - float(np.ldexp(_EIGHTHS[spread % 8], -(spread // 8)))
    beyond = _power(ratio, np.concatenate([STARTS[1:] - 1, [2**32 - 1]]))  # P(magnitude ≥ start | > 0)
    return np.concatenate([[p], (1 - p) * np.maximum(beyond[:-1] - beyond[1:], 0)])


@cache
def shaped_laws(shape: int) -> Float64[ndarray, "scale token"]:
    r"""Laws of magnitude tokens, $P\propto2^{-(m/s)^a}$ on both sides of zero, for all scales $s=2^{(j-24)/8}$.

    The exponent a is 1, 3/2 or 2; powers are rounded to eighths of an octave, so that every machine has the same.

    Args:
        shape: from 0 to 2.
    """
    scales = np.array([math.ldexp(_EIGHTHS[-j % 8], -(-(j - SCALES_BELOW) // 8)) for j in range(SCALES)])
    ratio = CENTRES / scales[:, None]
    power = (ratio, ratio * np.sqrt(ratio), ratio * ratio)[shape]
    eighths = np.rint(np.minimum(8 * power, _SMALLEST_POWER)).astype(np.int64)
    law = np.ldexp(np.array(_EIGHTHS)[eighths % 8], BITS.astype(np.int64) - eighths // 8)
    law[:, 1:] *= 2
    return law


@cache
def shaped_bits(shape: int) -> Float64[ndarray, "scale token"]:
    """What each token takes under `shaped_laws`, bits."""
    law = shaped_laws(shape)
    return -np.log2(np.maximum(law / law.sum(1, keepdims=True), 2.0**-24))


def spread_index(mean: float) -> int:
    """The `spread` whose law has a given mean magnitude of those above zero."""
    return min(max(round(8 * math.log2(max(mean, 1.0 + 1 / 64))), 1), 255)


def _power(base: float, exponents: Int64[ndarray, " n"]) -> Float64[ndarray, " n"]:
    """Powers by squaring: the same on every machine, as `**` is not."""
    result, factor, left = np.ones(len(exponents)), base, exponents.copy()
    while left.any():
        result = np.where(left & 1, result * factor, result)
        factor, left = factor * factor, left >> 1
    return result
