"""The kernel's controls: no likelihood at all, and copies of the network that share no weights."""

import dataclasses

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.errors import DataError, InputError
from bitsandnats.estimators.covariance import chain_sums, covariance, standard_error
from bitsandnats.estimators.kernel_blocks import block_energies, energy_ratio, ratios_differ
from bitsandnats.estimators.loss_kernel import loss_kernel as read_kernel
from bitsandnats.recipes.attribution.comparisons import (
    each_on_its_copy,
    noise_settings,
    side_by_side,
    with_penalty,
    without_likelihood,
)
from bitsandnats.settings import Settings, changed


def network() -> bn.Task:
    """A tiny classifier in double precision on 24 items of two groups."""
    random = torch.Generator().manual_seed(1)
    net = torch.nn.Linear(3, 2).double()
    with torch.no_grad():
        for w in net.parameters():
            w.copy_(torch.empty_like(w).normal_(generator=random))
    x = torch.randn(24, 3, generator=random).double()
    return bn.Task.from_module(net, bn.losses.cross_entropy(), (x, (x[:, 0] > 0).long()))


GROUPS = [i % 2 for i in range(24)]
SETTINGS = Settings(
    sampler="hmc(leapfrogs=3, adapt_steps=20)", step_size=0.2, gamma=4.0, nbeta=24.0, batch_size=24,
    chains=64, burn_in=30, draws=250, mode="vmap", seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def kernel():
    return bn.loss_kernel(network(), groups=GROUPS, settings=SETTINGS, looks=250)


def test_with_its_penalty_a_network_trained_with_decay_is_at_rest_and_covariances_are_those_of_ridge_regression():
    """Squared losses: Cov(ℓ, ℓ') = g·Σg' + ½ tr(hΣh'Σ) about the mean, which is w* with the penalty alone."""
    random, decay = torch.Generator().manual_seed(4), 0.3
    x = torch.randn(24, 3, generator=random).double()
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.3 * torch.randn(24, generator=random).double()
    net = torch.nn.Linear(3, 1, bias=False).double()
    hessian = x.T @ x / 24 + decay * torch.eye(3)
    with torch.no_grad():
        net.weight.copy_(torch.linalg.solve(hessian, x.T @ y / 24)[None])
    task = bn.Task.from_module(net, lambda model, batch: (model(batch[0])[:, 0] - batch[1]).square() / 2, (x, y))
    inverse = torch.linalg.inv(SETTINGS.nbeta * hessian + SETTINGS.gamma * torch.eye(3))
    gradients = (x @ net.weight[0] - y)[:, None].detach() * x
    truth = (gradients @ inverse @ gradients.T + (x @ inverse @ x.T).square() / 2).numpy()
    away = []
    for own in (with_penalty(task, decay), task):
        settings = changed(SETTINGS, {"chains": 16, "draws": 200})
        tree = bn.observe(own, {"inputs": task}, pairs=[("inputs", "inputs")], settings=settings, looks=200)
        found, se = covariance(tree, "inputs", "inputs"), standard_error(tree, "inputs", "inputs")
        away.append(np.sqrt((((found - truth) / se) ** 2).mean()))
        share = se.mean() / np.abs(truth).mean()
    assert away[0] < 1.5  # in standard errors from sixteen chains
    assert away[1] > 8  # the bare loss pushes the weights away
    assert share < 0.05


def test_without_likelihood_weights_are_normal_with_variance_one_over_gamma(kernel):
    """Losses linear in the weights have covariance g·g'/γ: here of a linear loss followed beside the real task."""
    task = network()
    linear = dataclasses.replace(task, loss=lambda params, batch: batch[0] @ params["weight"][0])
    settings = noise_settings(SETTINGS)
    tree = bn.observe(
        without_likelihood(task), {"inputs": linear}, pairs=[("inputs", "inputs")], settings=settings, looks=250
    )
    x = task.batch(torch.arange(24))[0].numpy()
    found, se = covariance(tree, "inputs", "inputs"), standard_error(tree, "inputs", "inputs")
    truth = x @ x.T / SETTINGS.gamma
    top = np.trace(truth)
    assert abs(np.trace(found) - top) < 4 * np.trace(se)
    assert abs(np.trace(found) / top - 1) < 0.08
    assert kernel.controls["noise"].kernel.shape == (24, 24)
    # at nβ = 0 losses vary more than where the data hold the weights
    assert np.trace(kernel.controls["noise"].kernel) > 2 * np.trace(kernel.kernel)


def test_copies_share_nothing_across_groups_and_keep_the_law_within(kernel):
    apart = kernel.controls["disjoint"]
    ratio = energy_ratio(block_energies(apart, GROUPS))
    assert ratio.low < 0 < ratio.high
    assert ratio.high < 0.05
    own = energy_ratio(block_energies(kernel, GROUPS))
    assert own.low > 0.3  # one small network: everything is shared
    same = np.equal.outer(GROUPS, GROUPS)
    error = np.hypot(kernel.dataset["kernel_se"].values, apart.dataset["kernel_se"].values)[same]
    z = (kernel.kernel - apart.kernel)[same] / error
    assert np.sqrt((z**2).mean()) < 2
    assert error.mean() < 0.25 * np.abs(kernel.kernel[same]).mean()
    assert ratios_differ(block_energies(kernel, GROUPS), block_energies(apart, GROUPS)) < 0.001
    assert ratios_differ(block_energies(apart, GROUPS), block_energies(apart, GROUPS)) > 0.5


def test_slow_chains_leave_nothing_across_copies_though_halves_of_one_chain_do():
    task = network()
    together = side_by_side(task, 2)
    each = each_on_its_copy(together, task, task.data, torch.tensor(GROUPS))
    slow = {"sampler": "hmc(leapfrogs=1)", "step_size": 0.12, "chains": 600, "burn_in": 150, "draws": 40}
    tree = bn.observe(
        together, {"inputs": each}, pairs=[("inputs", "inputs")], settings=changed(SETTINGS, slow), looks=40
    )
    pairs = block_energies(read_kernel(tree), GROUPS).cross
    assert abs(pairs.mean()) < 3 * pairs.std() / len(pairs) ** 0.5
    first, last = (chain_sums(tree, "inputs", "inputs", blocks=half)[0] for half in ([0, 1], [2, 3]))
    scale = [np.sqrt(np.einsum("cii,cjj->cij", one, one)) for one in (first, last)]
    halves = (first * last / scale[0] / scale[1])[:, np.not_equal.outer(GROUPS, GROUPS)].mean(1)
    assert halves.mean() > 4 * halves.std() / len(halves) ** 0.5  # the ends of halves that touch are alike


def test_copies_start_as_the_network_and_groups_must_fit():
    task = network()
    together = side_by_side(task, 2)
    batch = task.batch(torch.arange(24))
    assert torch.allclose(together.loss(together.center, batch), 2 * task.loss(task.center, batch))
    each = each_on_its_copy(together, task, task.data, torch.tensor(GROUPS))
    moved = {k: 2 * w if k.startswith("1.") else w for k, w in together.center.items()}
    losses = each.loss(moved, each.batch(torch.arange(24)))
    assert torch.allclose(losses[::2], task.loss(task.center, batch)[::2])
    assert not torch.allclose(losses[1::2], task.loss(task.center, batch)[1::2])
    with pytest.raises(InputError, match="a group for each of the 24 inputs, whole items, and two groups at least"):
        bn.loss_kernel(task, groups=[0] * 24, settings=SETTINGS)
    short = bn.loss_kernel(task, settings=changed(SETTINGS, {"draws": 8}), looks=8)
    with pytest.raises(DataError, match="a group for each of the 24 inputs"):
        block_energies(short, GROUPS[:3])
