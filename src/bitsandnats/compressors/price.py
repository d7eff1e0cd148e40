"""What compressors that keep numbers as they are have in common: checks, prices, and their name with its options."""

import math
from dataclasses import MISSING, fields
from typing import Any

import torch

from bitsandnats.errors import ModelError, message
from bitsandnats.structure import Structure
from bitsandnats.task import Task

FLOAT_BITS = 32
"""Bits of a number at full precision."""


def fixed_bits(task: Task) -> float:
    """Price of the fixed parameters, at full precision."""
    return FLOAT_BITS * float(sum(p.numel() for p in task.fixed.values()))


def mask_bits(places: int, kept: int) -> float:
    r"""Entropy of which of some places are kept: $N\,H(k/N)$, H the binary entropy in bits.

    Checked by hand in `tests/truth/test_prune.py`.

    Args:
        places: N.
        kept: k.
    """
    return sum(-k * math.log2(k / places) for k in (kept, places - kept) if k)


def written(name: str, compressor: Any) -> str:
    """Its name with those of its fields that are not the default, as the registry reads it."""
    changed = [
        f"{f.name}={getattr(compressor, f.name)!r}"
        for f in fields(compressor)
        if f.compare and f.default is not MISSING and getattr(compressor, f.name) != f.default
    ]
    return f"{name}({', '.join(changed)})" if changed else name


def check_weights(task: Task) -> None:
    """Refuses weights that are no finite floating-point numbers.

    Raises:
        ModelError: as said.
    """
    for name, w in task.center.items():
        if not w.is_floating_point():
            got = f"{name} in {str(w.dtype).removeprefix('torch.')}"
            raise ModelError(message(expected="floating-point weights", got=got, do="convert the model with .float()"))
        if not bool(torch.isfinite(w).all()):
            got = f"NaN or infinite values in {name}"
            raise ModelError(message(expected="finite weights", got=got, do="use an undamaged checkpoint"))


def structure_of(task: Task) -> Structure:
    """The structure of the task's model.

    Raises:
        ModelError: the task was not made from a module.
    """
    if task.structure is None:
        raise ModelError(
            message(
                expected="a task made from a module, whose layers are known",
                got="one made from a bare function",
                do="build it with Task.from_module, or use a scheme for plain weights such as prune-magnitude",
            )
        )
    return task.structure
