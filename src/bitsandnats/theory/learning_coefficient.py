"""Learning coefficients in closed form: what an estimate tends to when nβ grows and the pull vanishes."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from bitsandnats.errors import InputError, message


@dataclass(frozen=True)
class LearningCoefficient:
    r"""The two numbers of a singularity: $V(\epsilon)\approx c\,\epsilon^\lambda(-\ln\epsilon)^{m-1}$.

    V is the volume of the weights near w* whose loss exceeds L(w*) by less than ε.

    Attributes:
        llc: λ, dimensionless; half the number of weights that count.
        multiplicity: m ≥ 1, order of the pole; None where only λ is known.
    """

    llc: float
    multiplicity: int | None = 1


def regular(dimension: int) -> LearningCoefficient:
    """λ = d/2, m = 1: a minimum with a Hessian of full rank.

    Args:
        dimension: d ≥ 0.
    """
    return LearningCoefficient(_natural(dimension, "dimension") / 2)


def minimally_singular(dimension: int) -> LearningCoefficient:
    """λ = (d − 1)/2, m = 1: flat along one curve, curved across it.

    Args:
        dimension: d ≥ 1.
    """
    return regular(_natural(dimension, "dimension", least=1) - 1)


def normal_crossing(exponents: Sequence[int], jacobian: Sequence[int] | None = None) -> LearningCoefficient:
    r"""λ and m of $K=∏ w_i^{2k_i}$ under a prior density $\propto∏|w_i|^{h_i}$ near 0.

    $\lambda=\min_i(h_i+1)/(2k_i)$ over k_i > 0, m the number of minima (Watanabe 2009).

    Args:
        exponents: k_i ≥ 0, not all 0.
        jacobian: h_i ≥ 0; by default 0, a density that is positive at 0.

    Raises:
        InputError: a negative number, all k_i 0, or lists of different lengths.
    """
    h = [0] * len(exponents) if jacobian is None else list(jacobian)
    if len(h) != len(exponents) or not any(exponents):
        raise InputError(
            message(
                expected="exponents that are not all 0, and as many h_i",
                got=f"exponents {list(exponents)}, jacobian {h}",
                do="give one k_i and one h_i a coordinate",
            )
        )
    ratios = [
        Fraction(_natural(b, "jacobian") + 1, 2 * k)
        for k, b in zip(exponents, h, strict=True)
        if _natural(k, "exponent")
    ]
    return LearningCoefficient(float(min(ratios)), ratios.count(min(ratios)))


def independent(*blocks: LearningCoefficient) -> LearningCoefficient:
    """λ and m of a sum of losses in separate coordinates: the λ add, and so do the m − 1.

    So w₁² + w₂⁴ has λ = 1/2 + 1/4 = 3/4. Checked in `tests/truth/test_known_answers.py`.
    """
    orders = [b.multiplicity for b in blocks]
    known = [m for m in orders if m is not None]
    multiplicity = 1 + sum(m - 1 for m in known) if len(known) == len(orders) else None
    return LearningCoefficient(float(sum(b.llc for b in blocks)), multiplicity)


def copies(block: LearningCoefficient, count: int) -> LearningCoefficient:
    """λ and m of `count` independent copies of one loss."""
    return independent(*[block] * count)


def reduced_rank(inputs: int, hidden: int, outputs: int, rank: int) -> LearningCoefficient:
    r"""λ and m of reduced-rank regression $y=BAx$ at a true map of the given rank (Aoyagi & Watanabe 2005).

    With the widths less the rank, $h_0,h_1,h_2$, and p ≥ q those of h₁, h₂:
    $\lambda=\tfrac12[r(H_0+H_2)-r^2]+\tfrac12\sum_{i=1}^q\min(h_0,\,p-q+2i-1)$, m = 1 + the number of i with equality.
    The sum is the least cost of singular values of the first map that make the product vanish. It is the same as
    `deep_linear` for two layers, which `tests/truth/test_known_answers.py` checks.

    Args:
        inputs: H₀.
        hidden: H₁.
        outputs: H₂.
        rank: r of the true map.

    Raises:
        InputError: a width below 1, or a rank beyond the widths.
    """
    _check_widths([inputs, hidden, outputs], rank)
    h0, p, q = inputs - rank, max(hidden, outputs) - rank, min(hidden, outputs) - rank
    costs = [p - q + 2 * i - 1 for i in range(1, q + 1)]
    llc = Fraction(rank * (inputs + outputs - rank) + sum(min(h0, c) for c in costs), 2)
    return LearningCoefficient(float(llc), 1 + costs.count(h0))


def deep_linear(widths: Sequence[int], rank: int) -> LearningCoefficient:
    r"""λ and m of a deep linear network at a true map of the given rank (Aoyagi 2024).

    With $M^{(s)}=H^{(s)}-r$, take the set Σ of ℓ+1 smallest $M^{(s)}$ with $\sum_Σ M\ge\ell\max_Σ M$ and
    $\sum_Σ M<\ell\min_{Σ^c}M$; $S=\sum_Σ M$, $M=\lceil S/\ell\rceil$, $a=S-(M-1)\ell$:

    $$\lambda=\frac{r(H^{(0)}+H^{(L)})-r^2}2+\frac{a(\ell-a)}{4\ell}-\frac{\ell(\ell-1)}4(\frac S\ell)^2
    +\frac12\sum_{i<j\inΣ}M^{(i)}M^{(j)},\quad m=a(\ell-a)+1$$

    This is the smallest λ among all weights that realise the map. It is λ(w*) itself where every layer and every
    product of neighbouring layers has rank r; elsewhere see `theory.deep_linear.local_coefficient`.
    Checked in `tests/truth/test_known_answers.py`.

    Args:
        widths: H⁽⁰⁾ (inputs), …, H⁽ᴸ⁾ (outputs), L ≥ 1.
        rank: r of the true map.

    Raises:
        InputError: fewer than two widths, a width below 1, or a rank beyond the widths.
    """
    _check_widths(widths, rank)
    excess = sorted(h - rank for h in widths)
    # Σ is a prefix of the sorted widths: the longest with Σ M ≥ ℓ max M, a difference that only falls with length
    size = max(k for k in range(2, len(excess) + 1) if sum(excess[:k]) >= (k - 1) * excess[k - 1])
    ell, chosen = size - 1, excess[:size]
    total = sum(chosen)
    a = total - (-(-total // ell) - 1) * ell
    pairs = (total**2 - sum(m * m for m in chosen)) // 2
    llc = (
        Fraction(rank * (widths[0] + widths[-1] - rank), 2)
        + Fraction(a * (ell - a), 4 * ell)
        - Fraction((ell - 1) * total**2, 4 * ell)
        + Fraction(pairs, 2)
    )
    return LearningCoefficient(float(llc), a * (ell - a) + 1)


def _check_widths(widths: Sequence[int], rank: int) -> None:
    if len(widths) < 2 or min(widths) < 1 or not 0 <= rank <= min(widths):
        raise InputError(
            message(
                expected="two or more widths of at least 1, and a rank between 0 and the smallest",
                got=f"widths {list(widths)}, rank {rank}",
                do="change one of them",
            )
        )


def _natural(value: int, name: str, least: int = 0) -> int:
    if value < least:
        raise InputError(message(expected=f"{name} ≥ {least}", got=str(value), do=f"change the {name}"))
    return value
