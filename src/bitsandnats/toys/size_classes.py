"""Random deep linear networks by number of weights, as in the published benchmarks."""

import itertools
from typing import Literal, NamedTuple

import numpy as np
import torch

from bitsandnats.errors import InputError, message
from bitsandnats.theory.deep_linear import generic_ranks
from bitsandnats.toys import deep_linear
from bitsandnats.toys.types import SAMPLES, Toy

_WORK = 4e10  # multiplications that are spent on sampling a second moment
_ARCHITECTURE = 2


class SizeClass(NamedTuple):
    """Where a class's networks are drawn from.

    Attributes:
        weights: about how many; within a factor of 2.
        layers: fewest and most.
        widths: smallest and largest, inputs and outputs included.
    """

    weights: int
    layers: tuple[int, int]
    widths: tuple[int, int]


SIZE_CLASSES = {
    "1k": SizeClass(1_000, (2, 5), (5, 50)),
    "10k": SizeClass(10_000, (2, 10), (5, 100)),
    "100k": SizeClass(100_000, (2, 10), (50, 500)),
    "1M": SizeClass(1_000_000, (2, 20), (100, 1000)),
    "10M": SizeClass(10_000_000, (2, 20), (500, 2000)),
    "100M": SizeClass(100_000_000, (2, 40), (500, 3000)),
}
"""Ranges of layers and widths after Furman & Lau 2024 and Hitchcock & Hoogland 2025."""


def architecture(name: str, seed: int) -> tuple[list[int], int]:
    """Widths and rank of the random network `seed` of a size class.

    The number of layers and then each width are uniform in the class's ranges; a network whose number of weights is not
    within a factor of 2 of the class's is drawn again, which the published generators do not do: their classes overlap.
    The rank is uniform from 1 to the smallest width.

    Args:
        name: a key of `SIZE_CLASSES`.
        seed: any non-negative integer.

    Raises:
        InputError: an unknown class.
    """
    if name not in SIZE_CLASSES:
        raise InputError(message(expected=f"one of {', '.join(SIZE_CLASSES)}", got=repr(name), do="choose a class"))
    chosen = SIZE_CLASSES[name]
    random = np.random.default_rng([seed, _ARCHITECTURE, list(SIZE_CLASSES).index(name)])
    while True:
        layers = int(random.integers(chosen.layers[0], chosen.layers[1] + 1))
        widths = [int(h) for h in random.integers(chosen.widths[0], chosen.widths[1] + 1, layers + 1)]
        weights = sum(a * b for a, b in itertools.pairwise(widths))
        if chosen.weights / 2 <= weights <= chosen.weights * 2:
            return widths, int(random.integers(1, min(widths) + 1))


def size_class(
    name: str,
    seed: int,
    *,
    samples: int = SAMPLES,
    teacher: Literal["minimal_rank", "mixed_rank"] = "minimal_rank",
    convention: deep_linear.Convention = "gaussian",
    dtype: torch.dtype = torch.float64,
) -> Toy:
    """The random deep linear network `seed` of a size class, at its teacher.

    The second moment of the inputs is that of n drawn inputs, or, where that would take more than 4·10¹⁰
    multiplications, a draw from its normal limit.

    Args:
        name: 1k, 10k, 100k, 1M, 10M or 100M.
        seed: of architecture, teacher and inputs.
        samples: n.
        teacher: `minimal_rank` (layers and partial products of one rank) or `mixed_rank` (each layer of its
            own rank, as the published generators make them).
        convention: of the loss, as in `deep_linear_network`.
        dtype: of weights and data.

    Raises:
        InputError: an unknown class, or fewer samples than inputs.
    """
    widths, rank = architecture(name, seed)
    moments: deep_linear.Moments = "sampled" if samples * widths[0] ** 2 <= _WORK else "gaussian"
    if teacher == "minimal_rank":
        return deep_linear.random_deep_linear(
            widths, rank, samples=samples, seed=seed, convention=convention, moments=moments, dtype=dtype
        )
    layer_ranks = deep_linear.mixed_ranks(widths, seed=seed)
    return deep_linear.deep_linear_network(
        deep_linear.mixed_rank_teacher(widths, layer_ranks, seed=seed),
        ranks=generic_ranks(layer_ranks),
        samples=samples,
        seed=seed,
        convention=convention,
        moments=moments,
        dtype=dtype,
    )
