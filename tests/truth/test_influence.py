"""Influence and loss kernel where every covariance is known: sums of quadratics, whose posterior is Gaussian."""

import numpy as np
import pytest

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.errors import InputError
from bitsandnats.estimators.bif import bif
from bitsandnats.estimators.covariance import covariance, standard_error
from bitsandnats.estimators.intervals import chain_intervals
from bitsandnats.settings import Settings
from bitsandnats.theory.gaussian_losses import loss_covariance, posterior_covariance

NBETA, GAMMA = 2.0, 2.0
HMC = {"sampler": "hmc(leapfrogs=3)", "nbeta": NBETA, "gamma": GAMMA, "mode": "vmap", "statistics": "none"}


def random_items(random, count, d):
    factors = random.standard_normal((count, d, d)) / d**0.5
    return factors @ np.swapaxes(factors, 1, 2) + 0.2 * np.eye(d), random.standard_normal((count, d))


def exact(task, rows, columns):
    """Covariances of the losses of items given as (hessians, minima), at nβ and γ of this file."""
    center = task.center["w"].numpy()
    hessian = task.data.stacked[0].mean(0).numpy()
    sigma = posterior_covariance(hessian, nbeta=NBETA, gamma=GAMMA)
    (h, a), (k, b) = rows, columns
    return loss_covariance(h, np.einsum("nij,nj->ni", h, center - a), k, np.einsum("nij,nj->ni", k, center - b), sigma)


@pytest.fixture(scope="module")
def measured():
    """One run over ten items with three queries: ℓ_i and φ are quadratics in three weights."""
    random = np.random.default_rng(0)
    items, queries = random_items(random, 10, 3), random_items(random, 3, 3)
    task = toys.item_quadratics(*items)
    settings = Settings(**HMC, step_size=0.27, chains=400, burn_in=6, draws=100)
    run = bn.observe(
        task,
        {"train": range(10), "query": toys.items(*queries), "inputs": range(10)},
        pairs=[("query", "train"), ("inputs", "inputs")],
        settings=settings,
        looks=100,
    )
    return task, items, queries, run


def agrees(found, se, truth):
    """Every entry within 4 standard errors (one in a thousand may be outside of that), which are below 5 % of scale."""
    scale = np.abs(truth).max()
    assert (np.abs(found - truth) < 4 * se).mean() > 0.999
    assert np.median(se) < 0.05 * np.median(np.abs(truth))
    assert se.max() < 0.05 * scale


def test_the_three_candidates_of_the_methods_note():
    """L = w²/2 at nβ = γ = 2 and the query (w − 1)²/2: ½σ⁴ + aσ² for candidates (w − a)²/2."""
    task = toys.item_quadratics([[[1.0]]] * 2, [[0.0]] * 2)
    candidates, query = toys.items([[[1.0]]] * 3, [[0.0], [-1.0], [1.0]]), toys.items([[[1.0]]], [[1.0]])
    settings = Settings(**HMC, step_size=0.27, chains=400, burn_in=6, draws=100)
    found = bn.influence(task, candidates, query, settings=settings, looks=100)
    truth = -np.array([[0.03125, -0.21875, 0.28125]])
    minima = np.array([[0.0], [-1.0], [1.0]])
    assert np.allclose(exact(task, (np.ones((1, 1, 1)), np.array([[1.0]])), (np.ones((3, 1, 1)), minima)), -truth)
    se = found.dataset["bif_se"].values
    assert (np.abs(found.bif - truth) < 4 * se).all()
    assert (se[0, 1:] < 0.05 * np.abs(truth[0, 1:])).all()
    assert np.allclose(found.dataset["per_weight"].values, NBETA / 2 * found.bif)


def test_influence_on_quadratics(measured):
    task, items, queries, run = measured
    found = bn.influence(task, run=run)
    truth = -exact(task, queries, items)
    agrees(found.bif, found.dataset["bif_se"].values, truth)
    own = np.diag(exact(task, items, items))
    correlations = truth / np.sqrt(np.outer(np.diag(exact(task, queries, queries)), own))
    assert np.abs(found.normalised - correlations).max() < 0.05
    assert np.allclose(found.dataset["self_influence"].values, -own, rtol=0.1)
    assert found.verdict.status == "usable"


def test_chain_intervals_hold_the_truth_as_often_as_they_say(measured):
    """Entries of 400 chains in groups: the share of intervals with the exact covariance in them."""
    task, items, queries, run = measured
    truth = exact(task, queries, items)
    for size, level, least, most in ((16, 0.95, 0.93, 0.97), (16, 0.8, 0.77, 0.83), (4, 0.95, 0.83, 0.92)):
        held = []
        for start in range(0, 400 - size + 1, size):
            group = run.isel(chain=slice(start, start + size))
            low, high = chain_intervals(group, "query", "train", level=level, seed=start)
            held.append((low <= truth) & (truth <= high))
        assert least < np.mean(held) < most
    found = bif(run)
    low, high = found.interval(1)
    assert low.shape == (1, 10)
    assert (low < found.bif[1]).all()
    assert (found.bif[1] < high).all()
    widths = (high - low)[0] / found.dataset["bif_se"].values[1]
    assert np.allclose(widths, 2 * 1.96, rtol=0.15)  # of 400 chains
    with pytest.raises(InputError, match="a query from 0 to 2"):
        found.interval(3)
    with pytest.raises(InputError, match="level 2"):
        found.interval(0, level=2.0)


def test_kernel_on_quadratics(measured):
    task, items, _, run = measured
    found = bn.loss_kernel(task, run=run)
    agrees(found.kernel, found.dataset["kernel_se"].values, exact(task, items, items))
    assert found.spectrum().min() > -1e-9 * found.spectrum().max()
    assert np.allclose(np.diag(found.correlation), 1)


def test_influence_is_the_derivative_in_a_samples_weight(measured):
    """β·BIF against a finite difference of E[φ] in the weight of an item, by the exact Gaussian."""
    task, (h, a), (k, b), run = measured
    n, center, found = len(h), task.center["w"].numpy(), bn.influence(task, run=run)

    def expected(weights):
        precision = NBETA / n * np.einsum("n,nij->ij", weights, h) + GAMMA * np.eye(3)
        mean = np.linalg.solve(precision, NBETA / n * np.einsum("n,nij,nj->i", weights, h, a) + GAMMA * center)
        away = mean - b
        return 0.5 * np.einsum("qi,qij,qj->q", away, k, away) + 0.5 * np.einsum(
            "qij,ji->q", k, np.linalg.inv(precision)
        )

    step = 1e-4
    nudge = np.eye(n) * step
    difference = np.stack([(expected(1 + e) - expected(1 - e)) / (2 * step) for e in nudge], 1)
    se = NBETA / n * found.dataset["bif_se"].values
    assert (np.abs(found.dataset["per_weight"].values - difference) < 4 * se).mean() > 0.999


def test_chains_that_differ_in_their_means_do_not_leak(measured):
    """A constant added to one chain's losses changes no covariance: chains are centred one by one."""
    _, _, _, run = measured
    shifted = run.copy(deep=True)
    shifted["moments"].dataset["mean_train"].values[0] += 100
    assert np.allclose(covariance(shifted, "query", "train"), covariance(run, "query", "train"), rtol=1e-6)
    assert np.allclose(standard_error(shifted, "query", "train"), standard_error(run, "query", "train"), rtol=1e-5)


def test_large_pull_is_gradient_similarity():
    """γ → ∞: BIF → −∇φ·∇ℓ/γ."""
    random = np.random.default_rng(1)
    (h, a), (k, b) = random_items(random, 6, 3), random_items(random, 2, 3)
    task = toys.item_quadratics(h, a)
    gamma = 1e4
    settings = Settings(
        sampler="hmc(leapfrogs=3)", nbeta=1.0, gamma=gamma, step_size=0.5 / gamma**0.5, mode="vmap", chains=400,
        burn_in=6, draws=100, statistics="none",
    )  # fmt: skip
    found = bn.influence(task, None, toys.items(k, b), settings=settings, looks=100)
    center = task.center["w"].numpy()
    products = np.einsum("qij,qj->qi", k, center - b) @ np.einsum("nij,nj->ni", h, center - a).T
    agrees(gamma * found.bif, gamma * found.dataset["bif_se"].values, -products)
