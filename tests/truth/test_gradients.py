"""Attribution by gradients, on quadratics, where gradients and Hessian are known."""

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.data import as_data
from bitsandnats.errors import InputError
from bitsandnats.gradients.damped import damped_influence, hessian
from bitsandnats.gradients.projected import projected_influence
from bitsandnats.gradients.similarity import gradient_similarity
from bitsandnats.gradients.tracin import tracin
from bitsandnats.settings import Settings


@pytest.fixture
def quadratics():
    """A task of eight quadratics in three weights, two queries, and the gradients of both."""
    random = np.random.default_rng(2)
    factors = random.standard_normal((10, 3, 3))
    h, a = factors @ np.swapaxes(factors, 1, 2), random.standard_normal((10, 3))
    task = toys.item_quadratics(h[:8], a[:8])
    gradients = np.einsum("nij,nj->ni", h, task.center["w"].numpy() - a)
    return task, as_data(toys.items(h[8:], a[8:])), gradients[:8], gradients[8:], h[:8].mean(0)


def test_similarity_and_tracin(quadratics):
    task, query, train, asked, _ = quadratics
    assert np.allclose(gradient_similarity(task, task.data, query), -asked @ train.T)
    assert np.allclose(tracin([task, task], [0.5, 2.0], task.data, query), -2.5 * asked @ train.T)
    with pytest.raises(InputError, match="checkpoints of training with a learning rate each, got 0 checkpoints"):
        tracin([], [], task.data, query)


def test_damped_influence(quadratics):
    task, query, train, asked, h = quadratics
    assert np.allclose(hessian(task), h)
    found = damped_influence(task, task.data, query, damping=0.3)
    assert np.allclose(found, -asked @ np.linalg.inv(h + 0.3 * np.eye(3)) @ train.T)
    with pytest.raises(InputError, match="damping above 0"):
        damped_influence(task, task.data, query, damping=0.0)


def test_projections_onto_all_directions_whiten(quadratics):
    """With as many features as weights the projection drops out: −g_qᵀ(GᵀG)⁻¹g_i."""
    task, query, train, asked, _ = quadratics
    found = projected_influence(task, task.data, query, features=3, ridge=0.0)
    assert np.allclose(found, -asked @ np.linalg.inv(train.T @ train) @ train.T)
    with pytest.raises(InputError, match="fewer features than the 8 training items"):
        projected_influence(task, task.data, query, features=8)


def test_in_one_call(quadratics):
    task, query, train, asked, h = quadratics
    settings = Settings(nbeta=2.0, gamma=4.0, step_size=0.05, chains=2, draws=8, mode="loop", batch_size=8)
    found = bn.influence(
        task, None, query.batch(torch.arange(2)), settings=settings,
        baselines=["gradsim", "damped", "trak", "tracin"], checkpoints=[(task, 0.1)],
    ).dataset  # fmt: skip
    assert np.allclose(found["damped"], -asked @ np.linalg.inv(2 * h + 4 * np.eye(3)) @ train.T)
    assert np.allclose(found["tracin"], 0.1 * found["gradsim"])
    assert found["trak"].dims == ("query", "train")
    with pytest.raises(InputError, match="baselines among gradsim, tracin, damped, trak, got 'ekfac'"):
        bn.influence(task, None, [0], settings=settings, baselines=["ekfac"])
