"""Attribution by gradients, on quadratics, where gradients and Hessian are known."""

import dataclasses

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.data import as_data
from bitsandnats.errors import InputError, ModelError
from bitsandnats.gradients.damped import damped_influence, hessian
from bitsandnats.gradients.gauss_newton import gauss_newton
from bitsandnats.gradients.per_item import item_gradients
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
    assert np.allclose(gradient_similarity(task, task.data, query).raw, -asked @ train.T)
    assert np.allclose(tracin([task, task], [0.5, 2.0], task.data, query).raw, -2.5 * asked @ train.T)
    with pytest.raises(InputError, match="checkpoints of training with a learning rate each, got 0 checkpoints"):
        tracin([], [], task.data, query)


def test_damped_influence(quadratics):
    task, query, train, asked, h = quadratics
    assert np.allclose(hessian(task), h)
    found = damped_influence(task, task.data, query, damping=0.3)
    assert np.allclose(found.raw, -asked @ np.linalg.inv(h + 0.3 * np.eye(3)) @ train.T)
    with pytest.raises(InputError, match="damping above 0"):
        damped_influence(task, task.data, query, damping=0.0)


def test_projections_onto_all_directions_whiten(quadratics):
    """With as many features as weights the projection drops out: −g_qᵀ(GᵀG)⁻¹g_i."""
    task, query, train, asked, _ = quadratics
    found = projected_influence(task, task.data, query, features=3, ridge=0.0)
    assert np.allclose(found.raw, -asked @ np.linalg.inv(train.T @ train) @ train.T)
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
    with pytest.raises(InputError, match=r"baselines among gradsim, tracin, .*, ekfac, trak, got 'shapley'"):
        bn.influence(task, None, [0], settings=settings, baselines=["shapley"])


def test_normalised_scores_are_cosines_of_what_the_raw_ones_are_products_of(quadratics):
    task, query, train, asked, h = quadratics
    inverse = np.linalg.inv(h + 0.3 * np.eye(3))
    found = damped_influence(task, task.data, query, damping=0.3)
    own = [np.einsum("ij,jk,ik->i", g, inverse, g) for g in (asked, train)]
    assert np.allclose(found.normalised, found.raw / np.sqrt(np.outer(*own)))


@pytest.fixture
def classifier():
    """A tiny network in double precision under cross-entropy, and its data."""
    random = torch.Generator().manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 5)).double()
    with torch.no_grad():
        for w in net.parameters():
            w.copy_(torch.empty_like(w).normal_(generator=random))
    x, y = torch.randn(70, 4, generator=random).double(), torch.randint(5, (70,), generator=random)
    return net, x, y


def test_gauss_newton_is_the_fisher_information_of_a_classifier(classifier):
    net, x, y = classifier
    task = bn.Task.from_module(net, bn.losses.cross_entropy(), (x, y))
    p = torch.softmax(net(x).detach(), 1)
    fisher = torch.zeros(task.dimension, task.dimension, dtype=torch.float64)
    for label in range(5):  # every answer, weighted by how likely the network thinks it
        own = item_gradients(task, as_data((x, torch.full_like(y, label))))
        fisher += own.T @ (own * p[:, label : label + 1]) / len(x)
    assert np.allclose(gauss_newton(task), fisher.numpy(), atol=1e-12)


def test_gauss_newton_is_the_hessian_where_outputs_are_linear_in_the_weights(classifier):
    _, x, y = classifier
    net = torch.nn.Linear(4, 5).double()
    task = bn.Task.from_module(net, bn.losses.cross_entropy(), (x, y))
    assert np.allclose(gauss_newton(task), hessian(task), atol=1e-7)
    regression = bn.Task.from_module(torch.nn.Linear(4, 2).double(), bn.losses.gaussian(0.5), (x, x[:, :2] ** 2))
    assert np.allclose(gauss_newton(regression), hessian(regression), atol=1e-7)


def test_gauss_newton_needs_outputs(quadratics, classifier):
    task = quadratics[0]
    bare = dataclasses.replace(task, loss=lambda params, batch: task.loss(params, batch))
    with pytest.raises(InputError, match="a task of a module, whose outputs are known"):
        gauss_newton(bare)
    net, x, y = classifier
    twice = bn.Task.from_module(net, lambda model, b: (model(b[0]) - model(-b[0])).square().sum(1), (x, y))
    with pytest.raises(ModelError, match="a loss that calls the network once, for one tensor, got 2 calls"):
        gauss_newton(twice)
