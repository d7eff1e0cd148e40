"""Toy: a task together with what is known about it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bitsandnats.task import Task
from bitsandnats.theory.learning_coefficient import LearningCoefficient

SAMPLES = 20_000
"""Samples that a toy stands for where nothing else is said."""


@runtime_checkable
class Value(Protocol):
    """λ̂ of one block of weights, as the functions of `theory.finite_temperature` give it."""

    def __call__(self, *, nbeta: float, gamma: float) -> float:
        """λ̂(nβ, γ)."""
        ...


@dataclass(frozen=True)
class Exact:
    """λ̂(nβ, γ) of a sum of losses in separate weights: the values of the blocks add.

    Attributes:
        blocks: how often each block occurs, and its λ̂.
    """

    blocks: tuple[tuple[int, Value], ...]

    def __call__(self, nbeta: float, gamma: float) -> float:
        """The estimand at nβ and γ."""
        return sum(count * value(nbeta=nbeta, gamma=gamma) for count, value in self.blocks)


@dataclass(frozen=True)
class Toy:
    """A model with a known answer.

    Attributes:
        task: data, loss and w*.
        coefficient: λ and m at w*; None where not known.
        exact: `exact(nbeta, gamma)` -> λ̂(nβ, γ), the estimand itself at that nβ and γ; None where not known.
        samples: n that the data stand for. It differs from `task.n` where the items are a condensed form of n samples,
            or where the loss does not depend on data.
        summary: the loss and what is special about it, in a line.
    """

    task: Task
    coefficient: LearningCoefficient | None
    exact: Callable[[float, float], float] | None
    samples: float
    summary: str

    @property
    def nbeta(self) -> float:
        """nβ = n/ln n of the samples that the data stand for."""
        return self.samples / math.log(self.samples)
