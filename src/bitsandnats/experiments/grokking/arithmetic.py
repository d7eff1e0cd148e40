"""Modular arithmetic as a task: every pair of residues, an operation, and a random part of them to train on."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from bitsandnats.errors import InputError, message

OPERATIONS = ("addition", "subtraction", "multiplication", "division")
SIGNS = dict(zip(OPERATIONS, "+−×÷", strict=True))


class Table(NamedTuple):
    """Pairs and their results.

    Attributes:
        inputs: tokens a, ∘, b, =; ∘ is p and = is p + 1.
        labels: a ∘ b mod p.
    """

    inputs: Int64[Tensor, "pair 4"]
    labels: Int64[Tensor, " pair"]

    def to(self, device: str) -> "Table":
        """The same on a device."""
        return Table(self.inputs.to(device), self.labels.to(device))


def whole_table(operation: str, modulus: int) -> Table:
    """Every equation a ∘ b = c mod p: p² of them, p(p − 1) for division, whose c solves c·b = a.

    Checked in `tests/experiments/test_grokking_training.py`.

    Args:
        operation: one of `OPERATIONS`.
        modulus: p, a prime.

    Raises:
        InputError: an unknown operation, or p is not a prime of at least 3.
    """
    if operation not in OPERATIONS:
        expected = f"operations among {', '.join(OPERATIONS)}"
        raise InputError(message(expected=expected, got=repr(operation), do="choose one"))
    if modulus < 3 or any(modulus % d == 0 for d in range(2, int(modulus**0.5) + 1)):
        raise InputError(
            message(expected="a prime modulus of at least 3", got=str(modulus), do="give for instance 113")
        )
    first, second = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
    a, b = first.flatten(), second.flatten()
    if operation == "division":
        a, b = a[b != 0], b[b != 0]
    inverse = torch.tensor([0, *(pow(x, -1, modulus) for x in range(1, modulus))])
    results = {"addition": a + b, "subtraction": a - b, "multiplication": a * b, "division": a * inverse[b]}
    sign, equals = torch.full_like(a, modulus), torch.full_like(a, modulus + 1)
    return Table(torch.stack([a, sign, b, equals], dim=1), results[operation] % modulus)


def split(table: Table, fraction: float, seed: int) -> tuple[Table, Table]:
    """A random part to train on and the rest, drawn without replacement.

    Args:
        table: all pairs.
        fraction: of them to train on, between 0 and 1; rounded down.
        seed: of the draw.
    """
    order = torch.from_numpy(np.random.default_rng([seed, len(table.labels)]).permutation(len(table.labels)))
    count = int(fraction * len(order))
    train, test = order[:count], order[count:]
    return Table(table.inputs[train], table.labels[train]), Table(table.inputs[test], table.labels[test])
