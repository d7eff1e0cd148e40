"""A kernel against a hierarchy: a planted one is found, a random one is not. A kernel without its matrix."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.errors import DataError, InputError, StoreError
from bitsandnats.estimators.embedding import principal_embedding
from bitsandnats.estimators.kernel_map import kernel_map
from bitsandnats.estimators.loss_kernel import loss_kernel, mantel
from bitsandnats.settings import Settings


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


@pytest.fixture(scope="module")
def both_ways() -> xr.DataTree:
    """A run that kept the traces and all pairs: 24 quadratics in three weights, two kinds of them."""
    random = np.random.default_rng(0)
    directions = np.repeat(np.eye(3)[:2], 12, axis=0) + 0.1 * random.standard_normal((24, 3))
    hessians = np.einsum("ni,nj->nij", directions, directions) + 0.02 * np.eye(3)
    task = toys.item_quadratics(hessians, random.standard_normal((24, 3)))
    settings = Settings(
        sampler="hmc(leapfrogs=3)", nbeta=4.0, gamma=2.0, step_size=0.3, chains=8, burn_in=6, draws=60, mode="vmap"
    )
    return bn.observe(
        task,
        {"other": range(5), "inputs": range(24)},
        pairs=[("inputs", "inputs")],
        settings=settings,
        looks=60,
        traces=True,
    )


def test_the_nearest_from_traces_are_those_of_the_matrix(both_ways: xr.DataTree) -> None:
    kernel, near = loss_kernel(both_ways), kernel_map(both_ways, count=6)
    without = both_ways.copy()
    without["moments"] = both_ways["moments"].to_dataset().drop_vars("cross_inputs_inputs")
    traced = kernel_map(without, count=6)
    for row in range(24):
        named = kernel.neighbours(row, 6)
        assert [i for i, _ in named] == near.neighbours[row].tolist() == traced.neighbours[row].tolist()
        assert np.allclose([r for _, r in named], near.correlation[row], atol=1e-5)
        assert np.allclose([r for _, r in named], traced.correlation[row], atol=1e-5)
    # with few columns nothing is left out, and the rows' reliability is the same but for the diagonal's stand-in
    assert np.allclose(traced.reliability.over_chains, near.reliability.over_chains, atol=0.02)
    assert np.allclose(traced.reliability.over_draws, near.reliability.over_draws, atol=0.02)
    assert np.allclose(np.abs(near.start), np.abs(traced.start), atol=1e-4)


def test_principal_coordinates_are_the_best_of_two_dimensions(both_ways: xr.DataTree) -> None:
    """What they leave of the centred R has the third eigenvalue as its norm."""
    found = principal_embedding(kernel_map(both_ways)).coordinates
    away = np.eye(24) - 1 / 24
    centred = away @ loss_kernel(both_ways).correlation @ away
    left = np.linalg.eigvalsh(centred - found @ found.T)
    assert np.abs(left).max() == pytest.approx(np.linalg.eigvalsh(centred)[-3], abs=1e-4)


def test_clusters_are_groups_of_inputs_that_move_alike(both_ways: xr.DataTree) -> None:
    kernel = loss_kernel(both_ways)
    found = kernel.clusters(4)
    assert set(found.tolist()) == set(range(4))
    same = found[:, None] == found[None, :]
    np.fill_diagonal(same, False)
    apart = ~same & ~np.eye(24, dtype=bool)
    assert kernel.correlation[same].mean() > 0.5 > 0.1 > kernel.correlation[apart].mean()
    with pytest.raises(InputError, match="from 1 to 24 clusters, the inputs, got 25"):
        kernel.clusters(25)


def test_what_has_neither_traces_nor_pairs_is_refused(both_ways: xr.DataTree) -> None:
    without = both_ways.filter(lambda node: node.name != "traces")
    with pytest.raises(StoreError, match="the traces or all pairs of other, got neither"):
        kernel_map(without, "other")


def test_what_umap_is_given(both_ways: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Itself and its nearest at √(2 − 2R), from the principal coordinates, seeded; the real one is slow to compile."""
    given: dict[str, Any] = {}

    class Umap:
        def __init__(self, **options: Any) -> None:
            given.update(options)

        def fit_transform(self, values: np.ndarray) -> np.ndarray:
            return values + 1

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    kernel = loss_kernel(both_ways)
    found = kernel.embedding(seed=3)
    index, distance = given["precomputed_knn"]
    assert (found.method, found.seed, given["random_state"], given["n_neighbors"]) == ("umap", 3, 3, 15)
    assert index[:, 0].tolist() == list(range(24))
    assert not distance[:, 0].any()
    r = np.take_along_axis(kernel.correlation, index, 1)[:, 1:]
    assert np.allclose(distance[:, 1:], np.sqrt(2 - 2 * r), atol=1e-3)
    assert found.coordinates.shape == given["init"].shape == (24, 2)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match="expected umap-learn, got none installed"):
        kernel.embedding()
