"""Whether losses of two groups move together: energies of blocks of a loss kernel, from pairs of chains."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import DataError, message
from bitsandnats.estimators.covariance import chain_sums, correlation
from bitsandnats.estimators.loss_kernel import LossKernel, Ratio, as_labels
from bitsandnats.estimators.reliability import bootstrap


class Energies(NamedTuple):
    """Mean product of two chains' correlations, over pairs of inputs: without what chance gives, which is positive.

    Attributes:
        cross: of inputs of different groups, a number a pair of chains; its expectation is 0 where the groups share
            nothing.
        within: of different inputs of one group.
    """

    cross: Float[ndarray, " pair"]
    within: Float[ndarray, " pair"]


def block_energies(kernel: LossKernel, groups: Sequence[int] | ndarray) -> Energies:
    """Energies of the blocks from each two chains: none is in two pairs, so that pairs are independent.

    Two halves of one chain would not do: the last draws of the first are like the first of the second, and what chance
    gives to both is left over. Checked in `tests/truth/test_kernel_controls.py`.

    Args:
        kernel: the kernel.
        groups: group of each input.

    Raises:
        DataError: groups do not fit the inputs, there is only one, or there are fewer than two chains.
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


def squared_correlations(kernel: LossKernel) -> Float[ndarray, "pair input other"]:
    """Squares of the correlations without what chance adds: products of those of two chains.

    Args:
        kernel: the kernel.

    Raises:
        DataError: fewer than two chains.
    """
    sums, _ = chain_sums(kernel.tree, kernel.subset, kernel.subset)
    if len(sums) < 2:
        raise DataError(message(expected="two chains at least", got=str(len(sums)), do="run more chains"))
    return np.stack([_normalised(a) * _normalised(b) for a, b in zip(sums[0:-1:2], sums[1::2], strict=True)])


def energy_ratio(energies: Energies, *, draws: int = 2000, seed: int = 0) -> Ratio:
    """Energy across groups over that within, over all pairs of chains; signed, with a bootstrap interval over them.

    Its square root is the ratio of root mean square correlations.

    Args:
        energies: from `block_energies`.
        draws: choices of pairs.
        seed: of the choices.
    """
    random = np.random.default_rng(seed)
    chosen = random.integers(len(energies.cross), size=(draws, len(energies.cross)))
    values = energies.cross[chosen].sum(1) / energies.within[chosen].sum(1)
    low, high = np.quantile(values, [0.025, 0.975])
    return Ratio(float(energies.cross.sum() / energies.within.sum()), float(low), float(high))


def ratios_differ(one: Energies, other: Energies, *, permutations: int = 9999, seed: int = 0) -> float:
    """P that two ratios differ by chance, two-sided: pairs of chains are dealt anew to the two.

    Args:
        one: of a network's pairs.
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


def block_energy(kernel: LossKernel, groups: Sequence[int] | ndarray, *, seed: int = 0) -> Ratio:
    r"""$\lVert R_{cross}\rVert_F/\lVert R_{within}\rVert_F$ per entry: 0 where groups of inputs share nothing.

    Root mean squares over pairs of different inputs, so that sizes of groups do not matter. Noise alone makes squares
    positive: what chance gives is subtracted by taking the product of two halves of the chains in place of squares.

    Args:
        kernel: the kernel.
        groups: group of each input.
        seed: of the bootstrap over chains.

    Raises:
        DataError: groups do not fit the inputs, or there is only one.
    """
    labels = as_labels(groups, len(kernel.kernel))
    sums, count = chain_sums(kernel.tree, kernel.subset, kernel.subset)
    same = labels[:, None] == labels[None, :]
    np.fill_diagonal(cross := ~same, False)
    np.fill_diagonal(within := same.copy(), False)

    def statistic(chains: Sequence[int]) -> float:
        if len(set(chains)) < 2:
            return float("nan")
        middle = sorted(chains)
        first = middle[: len(chains) // 2]
        second = [c for c in middle[len(chains) // 2 :] if c not in first] or [middle[-1]]
        a, b = (_normalised(sums[part].sum(0) / (count[part] - 1).sum()) for part in (first, second))
        energy = [max(float((a[mask] * b[mask]).mean()), 0.0) for mask in (cross, within)]
        return (energy[0] / energy[1]) ** 0.5 if energy[1] > 0 else float("nan")

    chains = len(count)
    return Ratio(statistic(range(chains)), *bootstrap(statistic, chains, seed=seed))


def _normalised(covariance: Float[ndarray, "input other"]) -> Float[ndarray, "input other"]:
    own = np.diag(covariance)
    return correlation(covariance, own, own)
