"""Deep linear networks whose data enter through second moments: the same loss as with the samples themselves."""

import itertools
import pickle

import numpy as np
import pytest
import torch

from bitsandnats import toys
from bitsandnats.curvature import top_curvature
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.theory.deep_linear import generic_ranks, has_minimal_ranks, local_coefficient, product_ranks
from bitsandnats.theory.learning_coefficient import deep_linear
from bitsandnats.theory.learning_coefficient import reduced_rank as closed_form_of_two_layers
from bitsandnats.toys.deep_linear import second_moment
from bitsandnats.toys.size_classes import SIZE_CLASSES, architecture


def everything(task):
    return task.batch(torch.arange(len(task.data)))


def perturbed(task, seed=0, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: w + size * torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in task.center.items()
    }


def inputs_of(width, samples, seed):
    """The inputs that the second moment stands for, in one piece."""
    return torch.as_tensor(np.random.default_rng([seed, 1]).uniform(-10, 10, (samples, width)))


def apply(params, x):
    for name in sorted(params):
        x = x @ params[name].T
    return x


@pytest.mark.parametrize(("convention", "factor"), [("gaussian", 0.5), ("mean_squared_error", 1 / 4)])
def test_loss_is_that_of_the_samples(convention, factor):
    toy = toys.random_deep_linear([5, 7, 3, 4], 2, samples=300, seed=3, convention=convention)
    task, x = toy.task, inputs_of(5, 300, 3)
    assert len(task.data) == 5
    for seed in range(3):
        params = perturbed(task, seed)
        errors = apply(params, x) - apply(task.center, x)
        direct = factor * float(errors.square().sum(1).mean())
        assert float(task.mean_loss(task.item_losses(params, everything(task)))) == pytest.approx(direct, rel=1e-12)
    assert float(task.item_losses(task.center, everything(task)).abs().max()) < 1e-20
    assert toy.samples == 300


def test_gradient_is_that_of_the_matrices():
    """∂L/∂W_k = (W_L⋯W_{k+1})ᵀ (W − W*) S (W_{k−1}⋯W₁)ᵀ."""
    toy = toys.random_deep_linear([4, 3, 5], 2, samples=100, seed=1)
    task = toy.task
    params = perturbed(task)
    gradient = torch.func.grad(lambda p: task.item_losses(p, everything(task)).mean())(params)
    first, second = params["layers.0"], params["layers.1"]
    moment = torch.as_tensor(second_moment(4, samples=100, seed=1))
    error = (second @ first - task.center["layers.1"] @ task.center["layers.0"]) @ moment
    assert torch.allclose(gradient["layers.0"], second.T @ error, rtol=1e-10)
    assert torch.allclose(gradient["layers.1"], error @ first.T, rtol=1e-10)


def test_second_moments_in_blocks_and_from_their_limit():
    x = inputs_of(3, 120_000, 5).numpy()  # more than one block
    assert np.allclose(second_moment(3, samples=120_000, seed=5), x.T @ x / 120_000, rtol=1e-12)
    limit = [second_moment(20, samples=1000, seed=s, moments="gaussian") for s in range(20)]
    drawn = [second_moment(20, samples=1000, seed=s) for s in range(20)]
    off = ~np.eye(20, dtype=bool)
    for values in (limit, drawn):
        stack = np.stack(values)
        assert np.allclose(stack, stack.transpose(0, 2, 1))
        assert stack[:, off].std() == pytest.approx(100 / 3 / 1000**0.5, rel=0.05)
        diagonal = np.diagonal(stack, axis1=1, axis2=2)
        assert diagonal.mean() == pytest.approx(100 / 3, rel=0.01)
        assert diagonal.std() == pytest.approx((8000 / 9 / 1000) ** 0.5, rel=0.15)
    with pytest.raises(InputError, match="at least 20 samples"):
        second_moment(20, samples=19)


def test_teachers_of_minimal_ranks():
    layers = toys.minimal_rank_teacher([6, 9, 5, 7], 3, seed=2)
    assert [w.shape for w in layers] == [(9, 6), (5, 9), (7, 5)]
    assert has_minimal_ranks(product_ranks(layers))
    for w in layers:
        values = np.linalg.svd(w, compute_uv=False)
        assert 0.7 <= values[2] <= values[0] <= 1.3
        assert values[3:].max() < 1e-12
    assert all(
        np.array_equal(a, b) for a, b in zip(layers, toys.minimal_rank_teacher([6, 9, 5, 7], 3, seed=2), strict=True)
    )
    with pytest.raises(InputError, match="a rank between 0 and the smallest"):
        toys.minimal_rank_teacher([6, 3], 4)
    toy = toys.random_deep_linear([6, 9, 5, 7], 3)
    assert toy.coefficient == deep_linear([6, 9, 5, 7], 3)
    assert toys.reduced_rank(6, 9, 5, 3).coefficient == closed_form_of_two_layers(6, 9, 5, 3)


def test_teachers_of_mixed_ranks():
    layers = toys.mixed_rank_teacher([6, 9, 5, 7], [4, 2, 5], seed=2)
    assert product_ranks(layers) == generic_ranks([4, 2, 5]) == ((4, 2, 2), (2, 2), (5,))
    toy = toys.deep_linear_network(layers)
    assert toy.coefficient == local_coefficient([6, 9, 5, 7], generic_ranks([4, 2, 5]))
    assert toy.coefficient.llc > deep_linear([6, 9, 5, 7], 2).llc
    seen = [toys.mixed_ranks([6, 9, 5, 7], seed=s) for s in range(200)]
    full = np.array([6, 5, 5])
    assert (np.array(seen) <= full).all()
    # full with probability ½, and once more when 0 … full is drawn
    assert (np.array(seen) == full).mean() == pytest.approx(0.5 + 0.5 * np.mean(1 / (full + 1)), abs=0.06)


@pytest.mark.parametrize("name", SIZE_CLASSES)
def test_size_classes(name):
    chosen = SIZE_CLASSES[name]
    for seed in range(20):
        widths, rank = architecture(name, seed)
        assert chosen.layers[0] <= len(widths) - 1 <= chosen.layers[1]
        assert all(chosen.widths[0] <= h <= chosen.widths[1] for h in widths)
        assert 0.5 <= sum(a * b for a, b in itertools.pairwise(widths)) / chosen.weights <= 2
        assert 1 <= rank <= min(widths)
        assert architecture(name, seed) == (widths, rank)


@pytest.mark.parametrize("teacher", ["minimal_rank", "mixed_rank"])
def test_networks_of_a_size_class(teacher):
    for seed in range(5):
        toy = toys.size_class("1k", seed, teacher=teacher, samples=2000)
        widths, rank = architecture("1k", seed)
        layers = [w.numpy() for w in toy.task.center.values()]
        ranks = product_ranks(layers)
        assert toy.task.dimension == sum(w.size for w in layers)
        assert toy.coefficient == local_coefficient(widths, ranks)
        assert teacher == "mixed_rank" or toy.coefficient == deep_linear(widths, rank)
        assert pickle.loads(pickle.dumps(toy)).summary == toy.summary
    single = toys.size_class("1k", 0, dtype=torch.float32)
    assert {w.dtype for w in single.task.center.values()} == {torch.float32}
    assert float(single.task.item_losses(single.task.center, everything(single.task)).max()) < 1e-8
    with pytest.raises(InputError, match="one of 1k, 10k"):
        toys.size_class("2k", 0)


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="layer 2 to take 4 inputs"):
        toys.deep_linear_network([np.ones((4, 3)), np.ones((2, 5))])
    with pytest.raises(InputError, match="a rank for each layer, at most 3, 2"):
        toys.mixed_rank_teacher([3, 4, 2], [3, 3])


def test_sampled_network():
    """Aoyagi's λ, with exact gradients at a temperature where what is left of nβ → ∞ is below the error bar."""
    toy = toys.random_deep_linear([5, 10, 7, 4], 2, seed=1)
    nbeta, gamma = 60.0, 10.0
    top = top_curvature(toy.task, items=len(toy.task.data)).value
    settings = Settings(
        nbeta=nbeta, gamma=gamma, step_size=0.15 / (nbeta * top + gamma), chains=16, burn_in=500, draws=1200,
        batch_size=100, start="noise", mode="vmap", seed=3,
    )  # fmt: skip
    found = estimate(sample(toy.task, settings))
    assert abs(found.llc - toy.coefficient.llc) < 4 * found.se, (found.llc, found.se)
    assert found.se < 0.05 * toy.coefficient.llc
