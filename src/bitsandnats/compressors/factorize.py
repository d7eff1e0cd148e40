"""Matrices as products of two thin ones, by singular value decomposition (2510.12077, C.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.compressors.price import FLOAT_BITS, check_weights, fixed_bits, structure_of, written
from bitsandnats.compressors.types import Level, Levels, Prepared
from bitsandnats.errors import InputError, ModelError, message
from bitsandnats.structure import Matrix, Structure
from bitsandnats.task import Task

Rule = Literal["fraction", "energy"]
_GRIDS: dict[Rule, tuple[float, ...]] = {
    "fraction": (1 / 64, 1 / 32, *(k / 16 for k in range(1, 17))),
    "energy": (*(k / 10 for k in range(1, 10)), 0.95, 0.98, 0.99, 0.995, 0.999, 1.0),
}
_UNITS: dict[Rule, str] = {"fraction": "fraction of singular values", "energy": "share of squared singular values"}


@dataclass(frozen=True)
class Factorize:
    """Truncated singular value decompositions; build it with `factorize()`.

    Attributes:
        rule: `fraction` or `energy`.
        layers: `spaced`, `all`, or indices.
        embeddings: whether embeddings and the output matrix are factorized too.
    """

    rule: Rule
    layers: str | tuple[int, ...] = "spaced"
    embeddings: bool = False

    @property
    def scheme(self) -> str:
        """Its registered name, with those options that are not the default."""
        return written("factorize" if self.rule == "fraction" else "factorize-energy", self)

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Chooses the matrices and decomposes each of them once.

        Raises:
            ModelError: there is nothing to factorize under these options, or the weights are damaged.
            InputError: there is no such layer.
        """
        check_weights(task)
        structure = structure_of(task)
        chosen = _choose(structure, self.layers, self.embeddings)
        factors = {m.name: _decompose(task.center[m.name]) for m in chosen if m.name in task.center}
        if not factors:
            got = f"none that moves in layers {self.layers!r} of {len(structure.layers)}"
            raise ModelError(message(expected="matrices to factorize", got=got, do="name other layers"))
        values = _grid(self.rule, factors)
        levels = Levels("real", values, _UNITS[self.rule])
        return _Factorizer(task, self.rule, factors, len(structure.matrices) + len(structure.embeddings), levels)


def factorize(rule: str = "fraction", layers: str | Sequence[int] = "spaced", embeddings: bool = False) -> Factorize:
    r"""Each chosen matrix by its best approximation of lower rank: $W\approx U_nS_nV_n^\top$.

    A matrix of d₁ × d₂ then has d₁n + n + nd₂ numbers, more than before where n is large: the price counts them all
    the same, as the source does, and `details` says how many matrices grow. Optimal by Eckart and Young; checked
    in `tests/truth/test_factorize.py`.

    Args:
        rule: `fraction`: a level is the fraction f of singular values kept, n = f·min(d₁, d₂) rounded to the nearest
            whole number, halves up. `energy`: a level is the share τ of Σσ² kept, n the smallest rank that reaches it,
            matrix by matrix.
        layers: `spaced`: every second layer, never the first or the last, as the source has it after Moar et al.;
            `all`; or the indices of layers. All matrices of these layers are factorized.
        embeddings: embeddings of tokens and positions and the output matrix too.

    Raises:
        InputError: another value.

    Source: arXiv 2510.12077, C.2.
    """
    if rule not in _UNITS:
        raise InputError(message(expected="rule 'fraction' or 'energy'", got=repr(rule), do="choose one"))
    if isinstance(layers, str) and layers not in ("spaced", "all"):
        do = "choose one, or name layers as in layers=(1, 3)"
        raise InputError(message(expected="layers 'spaced' or 'all'", got=repr(layers), do=do))
    return Factorize(rule, layers if isinstance(layers, str) else tuple(layers), embeddings)


def factorize_energy(layers: str | Sequence[int] = "spaced", embeddings: bool = False) -> Factorize:
    """Factorization in which each matrix has the rank that its own singular values ask for."""
    return factorize("energy", layers, embeddings)


class _Factors(NamedTuple):
    """W = left @ right, columns of `left` scaled by the singular values, largest first."""

    left: Tensor
    right: Tensor
    energies: list[float]  # running sums of σ²

    @property
    def size(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    @property
    def full_rank(self) -> int:
        return len(self.energies)

    def numbers(self, rank: int) -> int:
        return rank * (sum(self.size) + 1)


@dataclass(frozen=True)
class _Factorizer:
    task: Task
    rule: Rule
    factors: dict[str, _Factors]
    candidates: int  # matrices that could have been factorized; which were is a bit each
    levels: Levels
    draws: int = 1

    def compress(self, level: Level, draw: int = 0) -> Params:
        ranks = self._ranks(level)
        return {
            name: self.factors[name].left[:, : ranks[name]] @ self.factors[name].right[: ranks[name]]
            if name in ranks
            else w.clone()
            for name, w in self.task.center.items()
        }

    def bits(self, level: Level) -> float:
        """32 a number, moving or fixed; which matrices are factorized, a bit each; 32 for f, or log₂ of full ranks."""
        ranks = self._ranks(level)
        side = sum(math.log2(self.factors[name].full_rank) for name in ranks) if self.rule == "energy" else FLOAT_BITS
        return FLOAT_BITS * self._numbers(ranks) + fixed_bits(self.task) + side + self.candidates

    def details(self, level: Level) -> dict[str, float]:
        ranks, fixed = self._ranks(level), fixed_bits(self.task) / FLOAT_BITS
        parts = [(self.factors[name], n) for name, n in ranks.items()]
        return {
            "compression_fraction": (self._numbers(ranks) + fixed) / (self.task.dimension + fixed),
            "kept_energy": sum(f.energies[n - 1] for f, n in parts) / (sum(f.energies[-1] for f, _ in parts) or 1.0),
            "ranks": float(sum(ranks.values())),
            "factorized": float(len(ranks)),
            "grown": float(sum(f.numbers(n) > math.prod(f.size) for f, n in parts)),
        }

    def _ranks(self, level: Level) -> dict[str, int]:
        """The rank of each factorized matrix."""
        if not 0 < level <= 1:
            self.levels.check(level)
        ranks = {name: _rank(self.rule, level, f) for name, f in self.factors.items()}
        empty = [name for name, rank in ranks.items() if rank == 0]
        if empty:
            name = min(empty, key=lambda n: self.factors[n].full_rank)
            raise InputError(
                message(
                    expected="a fraction that keeps a singular value of every matrix",
                    got=f"{level:g}, which keeps none of the {self.factors[name].full_rank} of {name}",
                    do=f"choose {math.ceil(5e3 / self.factors[name].full_rank) / 1e4:g} or more",
                )
            )
        return ranks

    def _numbers(self, ranks: dict[str, int]) -> int:
        """Numbers of all moving parameters, after factorization."""
        change = sum(f.numbers(ranks[name]) - math.prod(f.size) for name, f in self.factors.items())
        return self.task.dimension + change


def _choose(structure: Structure, layers: str | tuple[int, ...], embeddings: bool) -> list[Matrix]:
    """The matrices to factorize."""
    count = len(structure.layers)
    if isinstance(layers, tuple):
        unknown = [i for i in layers if not 0 <= i < count]
        if unknown or not layers:
            expected, got = f"layers from 0 to {count - 1}", str(unknown[0]) if unknown else "none"
            raise InputError(message(expected=expected, got=got, do="name layers that the model has"))
    elif layers == "spaced" and count < 3:
        raise ModelError(
            message(
                expected="at least three layers, since the first and the last are left alone",
                got=str(count),
                do="use layers='all' or name them as in layers=(0,)",
            )
        )
    wanted = set(range(1, count - 1, 2) if layers == "spaced" else range(count) if layers == "all" else layers)
    chosen = [m for m in structure.matrices if m.layer in wanted]
    outside = [*structure.embeddings, *(m for m in structure.matrices if m.role == "unembedding")]
    return chosen + [m for m in outside if embeddings and m not in chosen]


def _decompose(matrix: Tensor) -> _Factors:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return _Factors(left * values, right, values.double().square().cumsum(0).tolist())


def _rank(rule: Rule, level: Level, factors: _Factors) -> int:
    full = factors.full_rank
    if rule == "fraction":
        return math.floor(level * full + 0.5)
    wanted = level * factors.energies[-1] * (1 - 1e-12)  # a share written in decimals, met up to rounding
    return next(n for n in range(1, full + 1) if factors.energies[n - 1] >= wanted or n == full)


def _grid(rule: Rule, factors: dict[str, _Factors]) -> tuple[float, ...]:
    """Levels at which the ranks differ, each matrix keeping at least one singular value."""
    grid: dict[int, float] = {}
    for level in reversed(_GRIDS[rule]):
        ranks = [_rank(rule, level, f) for f in factors.values()]
        if all(ranks):
            grid.setdefault(sum(f.numbers(n) for f, n in zip(factors.values(), ranks, strict=True)), level)
    return tuple(sorted(grid.values()))
