"""What a result depends on: parameters, data, options, and the loss by what it does."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitsandnats import _tree
from bitsandnats._rng import STREAMS, generator
from bitsandnats._tree import tensors
from bitsandnats._version import __version__
from bitsandnats.task import Task

_PROBE_ITEMS = 4
_RELATIVE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ContentKey:
    """What a result depends on.

    Attributes:
        digest: hash of parameters, data, options, seed and version.
        behaviour: losses of a few fixed items at w* and at one fixed perturbation: the loss function by what it does,
            since closures do not hash. Compared within a relative 1e-3.
    """

    digest: str
    behaviour: tuple[float, ...]

    def matches(self, digest: str, behaviour: list[float]) -> bool:
        """Whether a stored result belongs to this key."""
        return (
            digest == self.digest
            and len(behaviour) == len(self.behaviour)
            and all(
                math.isclose(a, b, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-9)
                for a, b in zip(behaviour, self.behaviour, strict=True)
            )
        )

    def part(self, name: str) -> "ContentKey":
        """The key of a part of the result."""
        return ContentKey(hashlib.sha256(f"{self.digest}:{name}".encode()).hexdigest(), self.behaviour)


def content_key(task: Task, options: dict[str, Any]) -> ContentKey:
    """The key of a measurement of `task` under `options` (plain values, the seed among them)."""
    digest = hashlib.sha256()
    for group in (task.center, task.fixed):
        for name in sorted(group):
            _feed(digest, name, group[name])
    _feed_data(digest, task)
    meta = {"unit": task.unit, "mean_weight": task.mean_weight, "notes": task.notes}
    meta |= {"version": __version__, "streams": STREAMS}
    digest.update(json.dumps({**meta, "options": options}, sort_keys=True, default=str).encode())
    return ContentKey(digest.hexdigest(), _behaviour(task))


def data_digest(task: Task) -> str:
    """Hash of a task's data alone: the same at all its checkpoints."""
    digest = hashlib.sha256()
    _feed_data(digest, task)
    return digest.hexdigest()


def _feed_data(digest: "hashlib._Hash", task: Task) -> None:
    blocks = max(1, (1 << 22) // max(1, sum(t[0].numel() for t in tensors(task.batch(torch.arange(1))))))
    for block in task.blocks(blocks):
        for i, tensor in enumerate(tensors(block)):
            _feed(digest, f"data{i}", tensor)


def _behaviour(task: Task) -> tuple[float, ...]:
    """Losses of a few items at w* and at w* + a fixed perturbation of a hundredth of the weights' scale."""
    batch = task.batch(torch.arange(min(_PROBE_ITEMS, len(task.data))))
    scale = (sum(float(w.double().square().sum()) for w in task.center.values()) / task.dimension) ** 0.5
    in_order = {name: task.center[name] for name in sorted(task.center)}
    nudge = _tree.gaussian(in_order, generator(0, 0, "probe", task.device))
    moved = _tree.axpy(0.01 * max(scale, 1e-6), nudge, task.center)
    with torch.no_grad():
        losses = [task.item_losses(params, batch) for params in (task.center, moved)]
    return tuple(float(v) for v in torch.cat(losses))


def _feed(digest: "hashlib._Hash", name: str, tensor: Tensor) -> None:
    digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
