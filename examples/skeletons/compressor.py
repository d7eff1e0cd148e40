"""Skeleton of a compressor: keep the largest weights, set the others to zero."""

import math
from dataclasses import dataclass

import torch

from bitsandnats._types import Params
from bitsandnats.compressors.types import Level, Levels, Prepared
from bitsandnats.task import Task

PERCENT = Levels("integer", tuple(range(1, 101)), "percent of weights")  # from severe to mild


@dataclass(frozen=True)
class KeepLargest:
    """Pruning by magnitude over all weights together; build it with `keep_largest()`."""

    scheme: str = "keep_largest"

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Sorts the weights once a checkpoint."""
        sizes = torch.cat([w.abs().flatten() for w in task.center.values()]).sort(descending=True).values
        return _Prepared(task, sizes)


def keep_largest() -> KeepLargest:
    """Pruning by magnitude; a level is the percentage of weights that is kept."""
    return KeepLargest()


@dataclass(frozen=True)
class _Prepared:
    task: Task
    sizes: torch.Tensor
    levels: Levels = PERCENT
    draws: int = 1

    def compress(self, level: Level, draw: int = 0) -> Params:
        least = self.sizes[self._kept(level) - 1]
        return {name: torch.where(w.abs() >= least, w, 0) for name, w in self.task.center.items()}

    def bits(self, level: Level) -> float:
        """32 a kept or fixed weight, and which ones are kept: the entropy of the mask."""
        kept, d = self._kept(level), self.task.dimension
        fixed = sum(p.numel() for p in self.task.fixed.values())
        return 32 * (kept + fixed) + sum(-k * math.log2(k / d) for k in (kept, d - kept) if k)

    def details(self, level: Level) -> dict[str, float]:
        return {"kept": float(self._kept(level))}

    def _kept(self, level: Level) -> int:
        return math.ceil(self.task.dimension * level / 100)


if __name__ == "__main__":  # its truth test: L = ½ Σ w², so dropping a weight w changes L by −½ w²
    from bitsandnats.toys import quadratic

    weights = torch.arange(1.0, 101.0, dtype=torch.float64)
    prepared = keep_largest().prepare(quadratic([1.0] * 100).at({"w": weights}))
    kept = prepared.compress(10)["w"]
    assert torch.equal(kept[90:], weights[90:])
    assert not kept[:90].any()
    assert torch.equal(prepared.compress(100)["w"], weights)
    print(f"10 % kept: {prepared.bits(10):.0f} bits; all kept: {prepared.bits(100):.0f} bits")
