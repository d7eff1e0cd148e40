"""The distribution of some whole numbers: fitted, sent, and then the numbers under it."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from bitsandnats.compressors.coding.stream import (
    SCALES,
    SCALES_BELOW,
    SHAPES,
    Probabilities,
    Reader,
    Writer,
    integer_bits,
    magnitude_law,
    shaped_bits,
    shaped_laws,
    spread_index,
)
from bitsandnats.compressors.coding.tokens import ALPHABET, CENTRES, to_tokens

WIDTH = 2 * ALPHABET - 1
"""Signed tokens, from −(alphabet − 1) to alphabet − 1; zero lies at `ALPHABET` − 1."""

_STEPS = (1.0, 1.5, 2.5, 4.0)  # of the square roots of counts, in which tables are sent
_LAW, _MAGNITUDES, _SIGNED, _SHAPED = range(4)
_FORMS = 4
_NEAR = 4  # scales tried on both sides of the one that the mean gives

Histogram = Int64[ndarray, " signed_token"]


class Fit(NamedTuple):
    """How some numbers are coded, and what that costs.

    Attributes:
        form: law of two bytes with raw signs, table of magnitudes with raw signs, table of signed tokens, or law of a
            shape and a scale with raw signs.
        numbers: what is sent to describe it.
        probabilities: of tokens, from the first that occurs.
        bits: all that depends on the form: description, tokens and signs. Bits beside tokens are the same for all.
    """

    form: int
    numbers: tuple[int, ...]
    probabilities: Probabilities
    bits: float


def signed_tokens(values: Int64[ndarray, " n"]) -> Int64[ndarray, " n"]:
    """Tokens of magnitudes, negative for negative numbers, shifted to begin at 0: what histograms count."""
    tokens = to_tokens(np.abs(values)).astype(np.int64)
    np.negative(tokens, out=tokens, where=values < 0)
    tokens += ALPHABET - 1
    return tokens


def fit(histogram: Histogram) -> Fit:
    """The cheapest of the four forms for numbers with these signed tokens.

    Args:
        histogram: how often each signed token occurs, `[WIDTH]`.
    """
    middle = ALPHABET - 1
    magnitudes = histogram[middle:].copy()
    magnitudes[1:] += histogram[:middle][::-1]
    signs = float(magnitudes[1:].sum())
    found = [_fit_law(magnitudes, signs), _fit_shaped(magnitudes, signs)]
    for form, counts, raw in ((_MAGNITUDES, magnitudes, signs), (_SIGNED, histogram, 0.0)):
        table = _fit_table(form, counts)
        found.append(table._replace(bits=table.bits + raw))
    return min(found, key=lambda f: f.bits)


def put(writer: Writer, values: Int64[ndarray, " n"], tokens: Int64[ndarray, " n"]) -> None:
    """Sends numbers: their distribution, then tokens, signs and the bits beside.

    Args:
        writer: where to.
        values: the numbers.
        tokens: their `signed_tokens`.
    """
    if not len(values):
        return
    chosen = fit(np.bincount(tokens, minlength=WIDTH))
    writer.put_uniform(np.array([chosen.form]), _FORMS)
    if chosen.form == _LAW:
        writer.put_uniform(np.asarray(chosen.numbers), 256)
    elif chosen.form == _SHAPED:
        writer.put_uniform(np.asarray(chosen.numbers[:1]), SHAPES)
        writer.put_uniform(np.asarray(chosen.numbers[1:]), SCALES)
    else:
        step, length, *rest = chosen.numbers
        writer.put_uniform(np.array([step]), len(_STEPS))
        writer.put_integers([length])
        writer.put_integers(rest)
    magnitudes = np.abs(tokens - (ALPHABET - 1)).astype(np.uint8)
    if chosen.form == _SIGNED:
        writer.put(tokens - (ALPHABET - 1) - chosen.numbers[2], chosen.probabilities)
    else:
        writer.put(magnitudes, chosen.probabilities)
        writer.put_uniform(values[magnitudes > 0] < 0, 2)
    writer.put_bits(np.abs(values), magnitudes)


def get(reader: Reader, count: int) -> Int64[ndarray, " n"]:
    """The numbers that `put` sent."""
    if not count:
        return np.zeros(0, np.int64)
    form = int(reader.get_uniform(1, _FORMS)[0])
    if form == _LAW:
        zero, spread = (int(v) for v in reader.get_uniform(2, 256))
        tokens = reader.get(count, magnitude_law(zero, spread))
        first = 0
    elif form == _SHAPED:
        shape, scale = int(reader.get_uniform(1, SHAPES)[0]), int(reader.get_uniform(1, SCALES)[0])
        tokens = reader.get(count, shaped_laws(shape)[scale])
        first = 0
    else:
        step = _STEPS[int(reader.get_uniform(1, len(_STEPS))[0])]
        length = int(reader.get_integers(1)[0])
        first, *changes = (int(v) for v in reader.get_integers(length + 1))
        tokens = reader.get(count, _from_roots(np.cumsum(changes), step))
    if form == _SIGNED:
        tokens += first
        magnitudes = np.abs(tokens).astype(np.uint8)
        values = reader.get_bits(magnitudes)
        return np.where(tokens < 0, -values, values)
    magnitudes = tokens.astype(np.uint8)
    negative = np.flatnonzero(magnitudes)
    negative = negative[reader.get_uniform(len(negative), 2) == 1]
    values = reader.get_bits(magnitudes)
    values[negative] *= -1
    return values


def entropy_bits(counts: ndarray) -> float:
    """First-order entropy of numbers that occur so often, in bits for all of them; rows are added up."""
    c = counts[counts > 0].astype(np.float64)
    total = counts.sum(-1).astype(np.float64)
    total = total[total > 0]
    return float((total * np.log2(total)).sum() - (c * np.log2(c)).sum())


def _fit_law(magnitudes: Int64[ndarray, " token"], signs: float) -> Fit:
    total = float(magnitudes.sum())
    zero = int(np.clip(np.floor(256 * magnitudes[0] / total), 0, 255))
    mean = float((CENTRES[1:] * magnitudes[1:]).sum()) / signs if signs else 1.0
    numbers = (zero, spread_index(mean))
    probabilities = magnitude_law(*numbers)
    return Fit(_LAW, numbers, probabilities, 16 + signs + _cross_entropy(magnitudes, probabilities))


def _fit_shaped(magnitudes: Int64[ndarray, " token"], signs: float) -> Fit:
    total = float(magnitudes.sum())
    mean = float((CENTRES * magnitudes).sum()) / total
    near = min(max(round(8 * math.log2(max(mean, 2.0**-3))) + SCALES_BELOW, _NEAR), SCALES - 1 - _NEAR)
    scales = slice(near - _NEAR, near + _NEAR + 1)
    taken = np.stack([shaped_bits(shape)[scales] @ magnitudes for shape in range(SHAPES)])
    shape, offset = np.unravel_index(int(taken.argmin()), taken.shape)
    numbers = (int(shape), scales.start + int(offset))
    return Fit(_SHAPED, numbers, shaped_laws(numbers[0])[numbers[1]], 10 + signs + float(taken.min()))


def _fit_table(form: int, counts: ndarray) -> Fit:
    """The table whose square roots of counts, in steps, cost least together with what their rounding costs."""
    seen = np.flatnonzero(counts)
    low = 0 if form == _MAGNITUDES else int(seen[0])
    inside = counts[low : seen[-1] + 1]
    size, here, length = np.sqrt(inside), inside > 0, integer_bits([len(inside)])
    first = np.array([low if form == _MAGNITUDES else low - (ALPHABET - 1)])
    best: Fit | None = None
    for index, step in enumerate(_STEPS):
        roots = np.maximum(np.rint(size / step), here).astype(np.int64)
        sent = np.concatenate([first, roots])
        sent[2:] -= roots[:-1]
        probabilities = _from_roots(roots, step)
        bits = 2 + length + integer_bits(sent) + _cross_entropy(inside, probabilities)
        if best is None or bits < best.bits:
            best = Fit(form, (index, len(roots), *sent.tolist()), probabilities, bits)
    assert best is not None
    return best


def _from_roots(roots: Int64[ndarray, " token"], step: float) -> Float64[ndarray, " token"]:
    """Probabilities from rounded roots of counts."""
    return np.maximum(np.square(roots.astype(np.float64)), 1e-3 / step)


def _cross_entropy(counts: ndarray, probabilities: Probabilities) -> float:
    """Bits of tokens that occur so often under a distribution that need not be normalised."""
    p = np.maximum(probabilities / probabilities.sum(), 2.0**-24)[: len(counts)]
    return float(-(counts[: len(p)] * np.log2(p)).sum())
