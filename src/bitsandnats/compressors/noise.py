"""Gaussian noise on all weights, absolute or relative to each (2510.12077, C.4)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from bitsandnats._rng import generator
from bitsandnats._tree import gaussian
from bitsandnats._types import Params
from bitsandnats.compressors.price import check_weights, written
from bitsandnats.compressors.types import Level, Levels, Prepared
from bitsandnats.errors import InputError, ModelError, message
from bitsandnats.task import Task

_GRID = tuple(2.0 ** (2 - k) for k in range(17))  # from 4 to 6e-5


@dataclass(frozen=True)
class Noise:
    """Weight noise; build it with `noise()`.

    Attributes:
        kind: `absolute` or `relative`.
        draws: perturbations that a loss is averaged over.
    """

    kind: Literal["absolute", "relative"]
    draws: int = 8

    @property
    def scheme(self) -> str:
        """Its registered name, with those options that are not the default."""
        return written(f"noise-{self.kind}", self)

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Measures the weights' scale.

        Raises:
            ModelError: the weights are damaged, or all zero.
        """
        check_weights(task)
        squares = sum(float(w.double().square().sum()) for w in task.center.values())
        rms = math.sqrt(squares / task.dimension)
        if not rms > 0:
            expected, do = "weights that are not all zero", "use a trained checkpoint"
            raise ModelError(message(expected=expected, got="zeros only", do=do))
        scale = float(f"{rms:.3g}") if self.kind == "absolute" else 1.0
        return _Noisy(task, self.kind, self.draws, seed, Levels("real", tuple(scale * v for v in _GRID), "σ"))


def noise(kind: str = "absolute", draws: int = 8) -> Noise:
    r"""Gaussian noise: $w+\sigma\xi$ (absolute) or $w(1+\sigma\xi)$ (relative), ξ standard normal.

    A draw has the same ξ at every σ, so that ΔL is a smooth function of σ, and differences between levels carry less
    scatter than their values. The level is σ, severe where it is large: for `absolute` in units of the weights,
    searched from 4 times their root mean square down to 6·10⁻⁵ of it; for `relative` dimensionless, over the same
    numbers. Noise is no code; the capacity −log₂ σ that it implies is among the details, in bits a parameter up to a
    constant. Checked in `tests/truth/test_noise.py`.

    Args:
        kind: `absolute` or `relative`.
        draws: perturbations that a loss is averaged over; their scatter is part of its standard error.

    Raises:
        InputError: another kind, or fewer than two draws.

    Source: arXiv 2510.12077, equations 14 and 15.
    """
    if kind not in ("absolute", "relative"):
        raise InputError(message(expected="kind 'absolute' or 'relative'", got=repr(kind), do="choose one"))
    if draws < 2:
        raise InputError(message(expected="at least 2 draws, for an error", got=str(draws), do="use for instance 8"))
    return Noise("absolute" if kind == "absolute" else "relative", draws)


def noise_absolute(draws: int = 8) -> Noise:
    """Noise of the same standard deviation on every weight."""
    return noise("absolute", draws)


def noise_relative(draws: int = 8) -> Noise:
    """Noise in proportion to each weight."""
    return noise("relative", draws)


@dataclass(frozen=True)
class _Noisy:
    task: Task
    kind: Literal["absolute", "relative"]
    draws: int
    seed: int
    levels: Levels

    def compress(self, level: Level, draw: int = 0) -> Params:
        self.levels.check(level)
        center = self.task.center
        direction = gaussian(center, generator(self.seed, draw, "compress", self.task.device))
        if self.kind == "absolute":
            return {name: torch.add(w, direction[name], alpha=level) for name, w in center.items()}
        return {name: torch.addcmul(w, w, direction[name], value=level) for name, w in center.items()}

    def bits(self, level: Level) -> float | None:
        """None: noise is no code."""
        self.levels.check(level)
        return None

    def details(self, level: Level) -> dict[str, float]:
        """`capacity` is −log₂ σ, bits a parameter up to a constant."""
        self.levels.check(level)
        return {"capacity": -math.log2(level)}
