"""The largest weights kept, all others set to zero."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.compressors.price import FLOAT_BITS, check_weights, fixed_bits, mask_bits, written
from bitsandnats.compressors.types import Level, Levels, Prepared
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

_GRID = (0.01, 0.02, 0.05, *(k / 20 for k in range(2, 21)))


@dataclass(frozen=True)
class PruneMagnitude:
    """Pruning by magnitude; build it with `prune_magnitude()`.

    Attributes:
        granularity: `model` or `tensor`.
    """

    granularity: Literal["model", "tensor"] = "model"

    @property
    def scheme(self) -> str:
        """Its registered name, with those options that are not the default."""
        return written("prune-magnitude", self)

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Sorts the weights once.

        Raises:
            ModelError: weights that are no finite floating-point numbers.
        """
        check_weights(task)
        names = list(task.center)
        groups = [names] if self.granularity == "model" else [[name] for name in names]
        sizes = [_flat(task.center, group).sort(descending=True).values for group in groups]
        grid: dict[int, float] = {}
        for level in reversed(_GRID):
            grid.setdefault(sum(_count(level, len(s)) for s in sizes), level)
        values = tuple(sorted(level for kept, level in grid.items() if kept))
        return _Pruner(task, tuple(map(tuple, groups)), tuple(sizes), Levels("real", values, "fraction of weights"))


def prune_magnitude(granularity: str = "model") -> PruneMagnitude:
    """A level is the fraction of the weights that is kept, its number rounded to the nearest; no retraining.

    Of equal magnitudes the first are kept. Checked by hand in `tests/truth/test_prune.py`.

    Args:
        granularity: `model`: the largest of all moving parameters, biases and all; `tensor`: the largest of each one.

    Raises:
        InputError: another value.

    Source: Han et al. (2015), "Learning both weights and connections for efficient neural networks".
    """
    if granularity == "model":
        return PruneMagnitude("model")
    if granularity == "tensor":
        return PruneMagnitude("tensor")
    expected = "granularity 'model' or 'tensor'"
    raise InputError(message(expected=expected, got=repr(granularity), do="choose one"))


@dataclass(frozen=True)
class _Pruner:
    task: Task
    groups: tuple[tuple[str, ...], ...]
    sizes: tuple[Tensor, ...]  # |w| of each group, the largest first
    levels: Levels
    draws: int = 1

    def compress(self, level: Level, draw: int = 0) -> Params:
        self._check(level)
        pruned = {}
        for group, sizes in zip(self.groups, self.sizes, strict=True):
            keep = _largest(_flat(self.task.center, group), sizes, _count(level, len(sizes)))
            parts = keep.split([self.task.center[name].numel() for name in group])
            pruned |= {
                name: torch.where(part.view(self.task.center[name].shape), self.task.center[name], 0)
                for name, part in zip(group, parts, strict=True)
            }
        return pruned

    def bits(self, level: Level) -> float:
        """32 a weight that is not zero or is fixed; in each group 32 for how many are not, the entropy of which."""
        self._check(level)
        kept = [self._nonzero(level, sizes) for sizes in self.sizes]
        masks = sum(mask_bits(len(sizes), k) for sizes, k in zip(self.sizes, kept, strict=True))
        return FLOAT_BITS * (sum(kept) + len(kept)) + masks + fixed_bits(self.task)

    def details(self, level: Level) -> dict[str, float]:
        self._check(level)
        return {"nonzero": float(sum(self._nonzero(level, sizes) for sizes in self.sizes))}

    def _check(self, level: Level) -> None:
        if not 0 < level <= 1:
            self.levels.check(level)
        if not any(_count(level, len(sizes)) for sizes in self.sizes):
            most = max(len(sizes) for sizes in self.sizes)
            got, do = f"{level:g} of at most {most} together", f"choose {math.ceil(5e3 / most) / 1e4:g} or more"
            raise InputError(message(expected="a fraction that keeps a weight", got=got, do=do))

    def _nonzero(self, level: Level, sizes: Tensor) -> int:
        return min(_count(level, len(sizes)), int((sizes > 0).sum()))


def _count(level: Level, weights: int) -> int:
    return math.floor(level * weights + 0.5)


def _flat(params: Params, names: list[str] | tuple[str, ...]) -> Tensor:
    """Magnitudes of some parameters, one behind the other."""
    return torch.cat([params[name].abs().flatten() for name in names])


def _largest(magnitudes: Tensor, sizes: Tensor, count: int) -> Tensor:
    """Exactly `count` of them, as a mask; `sizes` are the same in order."""
    if count == 0:
        return torch.zeros_like(magnitudes, dtype=torch.bool)
    least = sizes[count - 1]
    above, equal = magnitudes > least, magnitudes == least
    return above | (equal & (equal.cumsum(0) <= count - above.sum()))
