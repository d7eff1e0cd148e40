"""Two-part codes and what they promise: description lengths, bounds for finitely many hypotheses, prequential codes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bitsandnats.errors import InputError, message

Number = int | float


def description_length(bits: Number, loss: Number, n: Number) -> float:
    r"""Bits of model and data together: $K+n\hat H/\ln2$.

    Args:
        bits: K, of the network.
        loss: Ĥ, its mean negative log-likelihood, nats a unit.
        n: units of data.

    Raises:
        InputError: a negative number of bits or units.

    Source: arXiv 2412.09810, equations 1 and 8. Checked by hand in `tests/truth/test_description_length.py`.
    """
    if bits < 0 or n < 0:
        raise InputError(message(expected="bits and n of at least 0", got=f"{bits:g} and {n:g}", do="check them"))
    return bits + n * loss / math.log(2)


class Shortest(NamedTuple):
    """The tolerance whose coarse network gives the shortest description.

    Attributes:
        tolerance: ε, nats a unit.
        bits: of model and data together.
    """

    tolerance: float
    bits: float


def optimal_tolerance(
    tolerances: Sequence[Number], bits: Sequence[Number], losses: Sequence[Number], n: Number
) -> Shortest:
    """Of several coarse networks the one with the shortest description of model and data.

    Args:
        tolerances: ε of each, nats a unit.
        bits: size of each.
        losses: mean negative log-likelihood of each, nats a unit.
        n: units of data.

    Raises:
        InputError: nothing to choose from, or sequences of unequal length.

    Source: arXiv 2412.09810, equation 8.
    """
    if not tolerances or not len(tolerances) == len(bits) == len(losses):
        got = f"{len(tolerances)}, {len(bits)} and {len(losses)}"
        raise InputError(message(expected="as many tolerances, sizes and losses", got=got, do="give one of each"))
    lengths = [description_length(k, loss, n) for k, loss in zip(bits, losses, strict=True)]
    at = int(np.argmin(lengths))
    return Shortest(float(tolerances[at]), lengths[at])


def finite_hypothesis_bound(
    risk: Number, bits: Number, n: Number, *, loss_range: Number = 1.0, delta: Number = 0.05, prefix_free: bool = False
) -> float:
    r"""A bound on the expected loss that holds for all describable networks at once, with probability 1 − δ.

    $R\le\hat R+\Lambda\sqrt{\frac{K\ln2+2\ln K+\ln(1/\delta)}{2n}}$; for a prefix-free code without 2 ln K. The decoder
    must be fixed before the data are seen, the n units independent, and the loss within [a, a + Λ].

    Args:
        risk: R̂, mean loss on the data, in the loss's unit.
        bits: K ≥ 2, all that is chosen by the data included.
        n: independent units.
        loss_range: Λ; 1 for the error rate, `smoothed_range` for cross-entropies.
        delta: δ.
        prefix_free: whether no file of the code is the beginning of another.

    Raises:
        InputError: K below 2, n or Λ not positive, or δ outside of 0 to 1.

    Source: arXiv 2412.09810, equation 4 (Langford and Seeger 2001). Checked: `tests/truth/test_description_length.py`.
    """
    if bits < 2 or not n > 0 or not loss_range > 0 or not 0 < delta < 1:
        got = f"K = {bits:g}, n = {n:g}, Λ = {loss_range:g}, δ = {delta:g}"
        raise InputError(message(expected="K ≥ 2, n > 0, Λ > 0 and 0 < δ < 1", got=got, do="check them"))
    length = 0.0 if prefix_free else 2 * math.log(bits)
    return risk + loss_range * math.sqrt((bits * math.log(2) + length + math.log(1 / delta)) / (2 * n))


def largest_bits(n: Number, *, loss_range: Number = 1.0, most: Number = 1.0, delta: Number = 0.05) -> float:
    """The size above which the bound says nothing even for a network without loss: it exceeds `most`; bits.

    Args:
        n: independent units.
        loss_range: Λ.
        most: a bound that would say nothing, for instance the error rate 1 or the loss of guessing.
        delta: δ.

    Raises:
        InputError: as `finite_hypothesis_bound`.
    """
    low, high = 2.0, 2.0
    while finite_hypothesis_bound(0.0, high, n, loss_range=loss_range, delta=delta) < most:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        bound = finite_hypothesis_bound(0.0, middle, n, loss_range=loss_range, delta=delta)
        low, high = (middle, high) if bound < most else (low, middle)
    return low


def smoothed_loss(loss: Number, classes: int, alpha: Number) -> float:
    r"""Cross-entropy after mixing with the uniform guess, $-\ln((1-\alpha)e^{-\ell}+\alpha/V)$; nats.

    Args:
        loss: ℓ of one unit, nats. Mixing comes before averaging.
        classes: V.
        alpha: α, between 0 and 1, fixed beforehand or part of K.

    Raises:
        InputError: α outside of 0 to 1.
    """
    _check_alpha(alpha)
    return -math.log((1 - alpha) * math.exp(-loss) + alpha / classes)


def smoothed_range(classes: int, alpha: Number) -> float:
    r"""How far smoothed cross-entropies can lie apart: $\Lambda=\ln(1+(1-\alpha)V/\alpha)$; nats.

    Args:
        classes: V.
        alpha: α.

    Raises:
        InputError: α outside of 0 to 1.
    """
    _check_alpha(alpha)
    return math.log(1 + (1 - alpha) * classes / alpha)


def bound_on_the_rest(bound: Number, risk: Number, n: Number, population: Number) -> float:
    r"""What a bound on all N pairs of a finite table says of those that were not drawn: $(NB-n\hat R)/(N-n)$.

    Args:
        bound: B, on the mean loss over the whole table.
        risk: R̂, mean loss on what was drawn.
        n: units drawn, without replacement.
        population: N > n.

    Raises:
        InputError: nothing is left.
    """
    if not population > n:
        raise InputError(message(expected=f"more than {n:g} units in all", got=f"{population:g}", do="check N"))
    return (population * bound - n * risk) / (population - n)


def prequential_bits(blocks: Sequence[tuple[Number, Number]]) -> float:
    r"""Prequential code length: each block of data under a model trained on those before it, $\sum_b n_b\ell_b/\ln2$.

    Needs no code for the weights, and so is a yardstick for codes that have one. The first block is coded without
    data, for instance by the uniform guess.

    Args:
        blocks: units of each block, and their mean negative log-likelihood in nats before training on them.

    Raises:
        InputError: a block of no or negative length, or a loss that is not finite.

    Source: Dawid 1984; Blier and Ollivier 2018.
    """
    for n, loss in blocks:
        if not n > 0 or not math.isfinite(loss):
            got = f"{n:g} units of loss {loss:g}"
            raise InputError(message(expected="blocks of data with finite losses", got=got, do="check the losses"))
    return sum(n * loss for n, loss in blocks) / math.log(2)


class Decay(NamedTuple):
    r"""How a size falls with the tolerance, $K\approx K_1\epsilon^{-b}$.

    Attributes:
        size: K₁, at ε = 1, in the unit of the sizes.
        exponent: b.
        residual: root mean square of the residuals of ln K.
    """

    size: float
    exponent: float
    residual: float


def rate_distortion_decay(tolerances: Sequence[Number], sizes: Sequence[Number]) -> Decay:
    """A power law through sizes at several tolerances, by least squares in the logarithms.

    Args:
        tolerances: ε > 0, nats a unit, at least two that differ.
        sizes: K > 0 at each, bits or bytes.

    Raises:
        InputError: fewer than two, or numbers that are not positive.
    """
    if len(set(tolerances)) < 2 or len(tolerances) != len(sizes) or min(*tolerances, *sizes) <= 0:
        got = f"{len(tolerances)} tolerances and {len(sizes)} sizes"
        expected = "a positive size at each of two or more tolerances"
        raise InputError(message(expected=expected, got=got, do="measure at more tolerances"))
    x, y = np.log(np.asarray(tolerances, float)), np.log(np.asarray(sizes, float))
    slope, level = np.polyfit(x, y, 1)
    rest = y - (slope * x + level)
    return Decay(float(np.exp(level)), float(-slope), float(np.sqrt((rest**2).mean())))


def _check_alpha(alpha: Number) -> None:
    if not 0 < alpha < 1:
        raise InputError(message(expected="alpha between 0 and 1", got=f"{alpha:g}", do="give for instance 0.01"))
