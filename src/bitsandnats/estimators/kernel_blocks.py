"""Whether losses of two groups move together: energies of blocks of a loss kernel, chain by chain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import DataError, message
from bitsandnats.estimators.covariance import chain_sums, correlation, moments_of
from bitsandnats.estimators.loss_kernel import LossKernel, Ratio


class Energies(NamedTuple):
    """Mean product of the two halves' correlations, over pairs of inputs: without what chance gives, which is positive.

    Attributes:
        cross: of inputs of different groups, a number a chain; its expectation is 0 where the groups share nothing.
        within: of different inputs of one group.
    """

    cross: Float[ndarray, " chain"]
    within: Float[ndarray, " chain"]


def block_energies(kernel: LossKernel, groups: Sequence[int] | ndarray) -> Energies:
    """Energies of the blocks in each chain, from the first and the second half of its draws.

    Checked in `tests/truth/test_kernel_controls.py`.

    Args:
        kernel: the kernel.
        groups: group of each input.

    Raises:
        DataError: groups do not fit the inputs, there is only one, or there are fewer than two blocks of draws.
    """
    labels = np.asarray(groups)
    if labels.shape != (len(kernel.kernel),) or len(np.unique(labels)) < 2:
        raise DataError(
            message(
                expected=f"a group for each of the {len(kernel.kernel)} inputs, two groups at least",
                got=f"{labels.size} groups of {len(np.unique(labels))} kinds",
                do="give one group an input",
            )
        )
    same = labels[:, None] == labels[None, :]
    cross, within = ~same, same & ~np.eye(len(labels), dtype=bool)
    products = squared_correlations(kernel)
    return Energies(products[:, cross].mean(1), products[:, within].mean(1))


def squared_correlations(kernel: LossKernel) -> Float[ndarray, "chain input other"]:
    """Squares of the correlations without what chance adds: products of those of the two halves of a chain's draws.

    Args:
        kernel: the kernel.

    Raises:
        DataError: fewer than two blocks of draws.
    """
    blocks = moments_of(kernel.tree).sizes["block"]
    if blocks < 2:
        raise DataError(message(expected="two blocks of draws at least", got=str(blocks), do="draw longer"))
    halves = (range(blocks // 2), range(blocks - blocks // 2, blocks))
    first, second = (chain_sums(kernel.tree, kernel.subset, kernel.subset, blocks=list(half))[0] for half in halves)
    return np.stack([_normalised(a) * _normalised(b) for a, b in zip(first, second, strict=True)])


def energy_ratio(energies: Energies, *, draws: int = 2000, seed: int = 0) -> Ratio:
    """Energy across groups over that within, all chains together; signed, with a bootstrap interval over chains.

    Its square root is the ratio of root mean square correlations.

    Args:
        energies: from `block_energies`.
        draws: choices of chains.
        seed: of the choices.
    """
    random = np.random.default_rng(seed)
    chosen = random.integers(len(energies.cross), size=(draws, len(energies.cross)))
    values = energies.cross[chosen].sum(1) / energies.within[chosen].sum(1)
    low, high = np.quantile(values, [0.025, 0.975])
    return Ratio(float(energies.cross.sum() / energies.within.sum()), float(low), float(high))


def ratios_differ(one: Energies, other: Energies, *, permutations: int = 9999, seed: int = 0) -> float:
    """P that two ratios differ by chance, two-sided: chains are dealt anew to the two.

    Args:
        one: of a network's chains.
        other: of a control's.
        permutations: (1 + those at least as far apart)/(1 + permutations).
        seed: of the permutations.
    """
    cross, within = (np.concatenate(parts) for parts in zip(one, other, strict=True))
    count, random = len(one.cross), np.random.default_rng(seed)

    def apart(order: ndarray) -> ndarray:
        a, b = order[..., :count], order[..., count:]
        return np.abs(cross[a].sum(-1) / within[a].sum(-1) - cross[b].sum(-1) / within[b].sum(-1))

    found = apart(np.arange(len(cross))[None])[0]
    orders = np.argsort(random.random((permutations, len(cross))), axis=1)
    return float((1 + (apart(orders) >= found - 1e-12).sum()) / (1 + permutations))


def _normalised(covariance: Float[ndarray, "input other"]) -> Float[ndarray, "input other"]:
    own = np.diag(covariance)
    return correlation(covariance, own, own)
