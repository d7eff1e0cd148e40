"""Sums of monomials in the lengths of groups of weights: every kind of normal crossing, in as many copies as wanted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.task import Task
from bitsandnats.theory.finite_temperature import conditional_llc, lengths_llc
from bitsandnats.theory.learning_coefficient import LearningCoefficient, copies, independent, normal_crossing
from bitsandnats.toys.types import SAMPLES, Exact, Toy

_ITEMS = 2


@dataclass(frozen=True)
class Monomial:
    r"""$∏_i\lVert w_i\rVert^{2k_i}$ of groups of weights $w_i\in R^{d_i}$.

    Attributes:
        exponents: k_i ≥ 1.
        dimensions: d_i ≥ 1.
    """

    exponents: tuple[int, ...]
    dimensions: tuple[int, ...]

    def __call__(self, *lengths: Any) -> Any:
        """Its value at the groups' lengths, arrays of numpy or torch."""
        return math.prod(length ** (2 * k) for length, k in zip(lengths, self.exponents, strict=True))

    @property
    def coefficient(self) -> LearningCoefficient:
        """λ = min d_i/2k_i and the number of minima: in polar coordinates a normal crossing with h_i = d_i − 1."""
        return normal_crossing(self.exponents, [d - 1 for d in self.dimensions])

    def value(self, *, nbeta: float, gamma: float) -> float:
        """λ̂(nβ, γ); a group with k = 1 is integrated out where there is another."""
        if 1 not in self.exponents or len(self.exponents) == 1:
            return lengths_llc(self, self.dimensions, nbeta=nbeta, gamma=gamma)
        at = self.exponents.index(1)
        rest = Monomial(_without(self.exponents, at), _without(self.dimensions, at))
        twice = partial(_twice, rest)
        return conditional_llc(twice, self.dimensions[at], rest.dimensions, nbeta=nbeta, gamma=gamma)


def monomial(exponents: Sequence[int], dimensions: Sequence[int] | None = None) -> Monomial:
    """A monomial of single weights, or of groups of the given dimensions.

    Args:
        exponents: k_i ≥ 1; the powers are 2k_i.
        dimensions: d_i; by default 1 each.
    """
    return Monomial(tuple(exponents), (1,) * len(exponents) if dimensions is None else tuple(dimensions))


def sum_of_monomials(*terms: Monomial, count: int = 1, samples: float = SAMPLES, summary: str | None = None) -> Toy:
    """L = the sum of monomials in separate weights, `count` copies of all of it, at w* = 0.

    Args:
        terms: of one copy; two or three groups each at most.
        count: independent copies, which add up in λ and λ̂.
        samples: n that the toy stands for; the loss does not depend on data.
        summary: in place of the formula.
    """
    dimension = sum(sum(term.dimensions) for term in terms)
    task = Task.from_module(_Copies(count, dimension), _Sum(terms), torch.zeros(_ITEMS, 1))
    return Toy(
        task=task,
        coefficient=copies(independent(*(term.coefficient for term in terms)), count),
        exact=Exact(tuple((count, term.value) for term in terms)),
        samples=float(samples),
        summary=summary or f"{count} copies of {' + '.join(_formula(term) for term in terms)}",
    )


class _Copies(nn.Module):
    """Weights at the origin, one row a copy."""

    def __init__(self, count: int, dimension: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(count, dimension, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.w


@dataclass(frozen=True)
class _Sum:
    """The loss of each item: the sum of the monomials over all copies."""

    terms: tuple[Monomial, ...]

    def __call__(self, model: Callable[[], Any], batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        w = model()
        total, start = w.new_zeros(()), 0
        for term in self.terms:
            factors = []
            for d, k in zip(term.dimensions, term.exponents, strict=True):
                factors.append(w[:, start : start + d].square().sum(1) ** k)
                start += d
            total = total + math.prod(factors[1:], start=factors[0]).sum()
        return total.expand(len(batch))


def _twice(term: Monomial, *lengths: Any) -> Any:
    return 2 * term(*lengths)


def _without(values: tuple[int, ...], at: int) -> tuple[int, ...]:
    return values[:at] + values[at + 1 :]


def _formula(term: Monomial) -> str:
    letters = "abc"
    return "".join(
        (f"{x}" if d == 1 else f"|{x}|") + f"^{2 * k}" + ("" if d == 1 else f" ({d})")
        for x, k, d in zip(letters, term.exponents, term.dimensions, strict=False)
    )
