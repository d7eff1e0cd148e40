"""A kernel against a hierarchy: a planted one is found, a random one is not."""

import numpy as np
import pytest

from bitsandnats.errors import DataError
from bitsandnats.estimators.loss_kernel import mantel


def tree_distance(leaves: int) -> np.ndarray:
    """Path length in a balanced binary tree."""
    index = np.arange(leaves)
    apart = index[:, None] ^ index[None, :]
    return 2.0 * np.ceil(np.log2(apart + 1))


def test_a_planted_hierarchy_is_found() -> None:
    distance, random = tree_distance(16), np.random.default_rng(0)
    noise = random.standard_normal((16, 16))
    found = mantel(np.exp(-distance / 4) + 0.02 * (noise + noise.T), distance)
    assert found.spearman > 0.7
    assert found.p == 0.001  # none of 999 permutations reaches it


def test_a_random_kernel_is_not() -> None:
    distance, random = tree_distance(16), np.random.default_rng(1)
    ps = []
    for seed in range(40):
        noise = random.standard_normal((16, 16))
        ps.append(mantel(noise + noise.T, distance, permutations=99, seed=seed).p)
    assert 0.3 < float(np.mean(ps)) < 0.7  # uniform


def test_sizes_must_agree() -> None:
    with pytest.raises(DataError, match="a kernel and a distance over the same objects, 4 at least"):
        mantel(np.eye(3), np.eye(3))
