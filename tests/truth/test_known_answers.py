"""Learning coefficients in closed form, and the toys that have them."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from bitsandnats import toys
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.theory.learning_coefficient import (
    LearningCoefficient,
    copies,
    deep_linear,
    independent,
    minimally_singular,
    normal_crossing,
    reduced_rank,
    regular,
)

PANEL = toys.panel()

# --- closed forms


@pytest.mark.parametrize(
    ("widths", "rank", "llc", "multiplicity", "half_dimension"),
    [
        ((1, 1, 1), 0, 0.5, 2, 1),
        ((4, 2, 4), 1, 5, 2, 8),
        ((10, 10, 10), 5, 47, 2, 100),
        ((5, 10, 7, 4), 2, 10, 1, 74),
        ((20, 30, 25, 40, 15), 8, 149.5, 1, 1475),
        ((50, 20, 35, 50, 45, 50), 12, 620, 1, 3975),
        ((8, 8, 8, 8, 8), 4, 29, 1, 128),
        ((5, 3, 5), 3, 10.5, 1, 15),
    ],
)
def test_published_values_of_deep_linear_networks(widths, rank, llc, multiplicity, half_dimension):
    assert deep_linear(widths, rank) == LearningCoefficient(float(llc), multiplicity)
    assert sum(a * b for a, b in itertools.pairwise(widths)) / 2 == half_dimension
    assert llc <= half_dimension


def test_two_published_formulas_agree_on_two_layers():
    for widths in itertools.product(range(1, 7), repeat=3):
        for rank in range(min(widths) + 1):
            assert reduced_rank(*widths, rank) == deep_linear(widths, rank)


def test_deep_linear_networks_do_not_depend_on_the_order_of_hidden_widths_and_one_layer_is_regular():
    assert deep_linear((3, 7, 5, 6, 4), 2) == deep_linear((3, 5, 6, 7, 4), 2)
    assert deep_linear((3, 4), 2) == regular(12)
    assert deep_linear((3, 100, 4), 3) == regular(12)  # wide enough to be any map of 3 to 4


def test_normal_crossings_and_sums():
    assert normal_crossing([1, 1]) == LearningCoefficient(0.5, 2)
    assert normal_crossing([1, 2]) == LearningCoefficient(0.25, 1)
    assert normal_crossing([3, 0, 3, 1]) == LearningCoefficient(1 / 6, 2)
    assert normal_crossing([1, 1], [1, 0]) == LearningCoefficient(0.5, 1)
    assert independent(normal_crossing([1]), normal_crossing([2])) == LearningCoefficient(0.75, 1)
    assert copies(normal_crossing([1, 1]), 20) == LearningCoefficient(10.0, 21)
    assert independent(regular(4), LearningCoefficient(1.0, None)) == LearningCoefficient(3.0, None)
    assert minimally_singular(5) == LearningCoefficient(2.0, 1)
    # in polar coordinates ‖w‖² is a normal crossing with h = d − 1
    assert normal_crossing([1], [6]) == regular(7)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: regular(-1),
        lambda: minimally_singular(0),
        lambda: normal_crossing([0, 0]),
        lambda: normal_crossing([1, 1], [0]),
        lambda: deep_linear((3,), 0),
        lambda: deep_linear((3, 4), 4),
        lambda: reduced_rank(3, 0, 4, 0),
    ],
)
def test_what_has_no_coefficient_is_refused(wrong):
    with pytest.raises(InputError, match=r"expected .*, got .*; "):
        wrong()


# --- the toys


def losses_at(toy, params):
    task = toy.task
    return float(task.mean_loss(task.item_losses(params, task.batch(torch.arange(len(task.data))))))


def moved(toy, size=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: w + size * torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in toy.task.center.items()
    }


def hessian(toy):
    """Eigenvalues at w*, ascending, relative to the largest."""
    center = toy.task.center
    sizes = [w.numel() for w in center.values()]

    def loss(flat):
        parts = zip(center.items(), flat.split(sizes), strict=True)
        params = {name: part.view_as(w) for (name, w), part in parts}
        return toy.task.item_losses(params, toy.task.batch(torch.arange(len(toy.task.data)))).mean()

    flat = torch.cat([w.flatten() for w in center.values()])
    assert float(torch.autograd.functional.jacobian(loss, flat).abs().max()) < 1e-8  # w* is critical
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))
    return values / values[-1]


@pytest.mark.parametrize("name", PANEL)
def test_every_toy_of_the_panel_is_minimal_and_travels(name):
    toy = PANEL[name]
    at_center = losses_at(toy, toy.task.center)
    for seed in range(5):
        assert losses_at(toy, moved(toy, seed=seed)) > at_center
    assert pickle.loads(pickle.dumps(toy)).exact(50.0, 2.0) == toy.exact(50.0, 2.0)
    assert toy.nbeta == pytest.approx(toy.samples / math.log(toy.samples))
    assert toy.summary


def test_the_panel_is_large_and_singular_enough():
    singular = [toy for toy in PANEL.values() if toy.coefficient.llc < toy.task.dimension / 2]
    assert len(PANEL) >= 14
    assert len(singular) >= 7


@pytest.mark.parametrize("name", PANEL)
def test_exact_values_tend_to_the_learning_coefficient(name):
    r"""λ̂ = λ − (m − 1)/(ln nβ + c) + …: the inverse of the distance grows by 1/(m − 1) with each unit of ln nβ."""
    toy = PANEL[name]
    llc, multiplicity = toy.coefficient.llc, toy.coefficient.multiplicity
    if multiplicity == 1:
        assert toy.exact(1e12, 1.0) == pytest.approx(llc, rel=2e-3)
        return
    below = [llc - toy.exact(nbeta, 1.0) for nbeta in (1e9, 1e13)]
    slope = (1 / below[1] - 1 / below[0]) / math.log(1e4)
    assert slope == pytest.approx(1 / (multiplicity - 1), rel=0.02)


@pytest.mark.parametrize(
    ("name", "step_size"),
    [("vector crossing", 4e-4), ("two hidden units at 0", 4e-4), ("linear pair at 1", 5e-5), ("tanh neuron", 4e-4)],
)
def test_exact_values_are_what_is_sampled(name, step_size):
    toy = PANEL[name]
    settings = Settings(
        nbeta=200.0, gamma=20.0, step_size=step_size, chains=40, burn_in=200, draws=450, start="noise", mode="vmap",
        seed=2,
    )  # fmt: skip
    found = estimate(sample(toy.task, settings))
    truth = toy.exact(200.0, 20.0)
    assert abs(found.llc - truth) < 4 * found.se, (found.llc, found.se, truth)
    assert found.se < 0.05 * truth
    assert abs(found.llc - toy.coefficient.llc) > 4 * found.se or name == "linear pair at 1"


def test_monomials_and_products_are_the_losses_they_say():
    toy = toys.sum_of_monomials(toys.monomial([1, 2], [2, 1]), toys.monomial([1]), count=3)
    w = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 2.0]], dtype=torch.float64)
    assert losses_at(toy, {"w": w}) == pytest.approx((5 * 81 + 16) + (1 + 1) + (0 + 4))
    toy = toys.unit_products(count=2)
    weights = {"first": torch.tensor([2.0, 3.0]), "second": torch.tensor([1.0, -1.0])}
    assert losses_at(toy, {k: v.double()[:, None, None] for k, v in weights.items()}) == pytest.approx(0.5 + 8)
    toy = toys.zero_products(3, 2, 4)
    moved_toy = moved(toy)
    product = moved_toy["second"][0] @ moved_toy["first"][0]
    assert losses_at(toy, moved_toy) == pytest.approx(float(product.square().sum()) / 2)
    with pytest.raises(InputError, match="one or two hidden units"):
        toys.zero_products(3, 3, 3)


def test_regression_is_quadratic():
    toy = toys.linear_regression(6, samples=200, spread=4.0)
    params = moved(toy, 1.0)
    x = toy.task.data.batch(torch.arange(200))[0]
    step = (params["weight"] - toy.task.center["weight"])[0]
    expected = float((x @ step).square().mean()) / (2 * 0.5**2)
    assert losses_at(toy, params) - losses_at(toy, toy.task.center) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_relu_pairs_are_flat_along_their_rescalings_only(seed):
    toy = toys.relu_pair(3, 4, 2, seed=seed)
    values = hessian(toy)
    assert float(values[:4].abs().max()) < 1e-12
    assert float(values[4]) > 1e-5
    assert toy.coefficient == regular(toy.task.dimension - 4)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_rescaled_relu_pairs_are_the_same_function(scale):
    toy = toys.relu_pair()
    other = toys.rescaled(toy, scale)
    batch = toy.task.batch(torch.arange(50))
    inputs = batch[0]
    targets = torch.ones(50, 2, dtype=torch.float64)
    first, second = (t.task.item_losses(t.task.center, (inputs, targets)) for t in (toy, other))
    assert torch.allclose(first, second, rtol=1e-9)
    assert other.coefficient == toy.coefficient
    assert float(other.task.center["first"].abs().max()) == pytest.approx(
        scale * float(toy.task.center["first"].abs().max())
    )
    with pytest.raises(InputError, match="scale > 0"):
        toys.rescaled(toy, -1.0)


# --- superposition


def expected_loss(weight, bias):
    """½E‖x − relu(WᵀWx + b)‖² over x = u e_i, u uniform in [0, 1], by integrals over u in closed form."""
    features = weight.shape[1]
    slope = weight.T @ weight
    slope = torch.where(slope.abs() < 1e-12, torch.full_like(slope, 1e-12), slope)
    shift, own = bias[:, None].expand_as(slope), torch.eye(features, dtype=weight.dtype)
    root = (-shift / slope).clamp(0, 1)
    low = torch.where(slope > 0, root, torch.zeros_like(root))
    high = torch.where(slope > 0, torch.ones_like(root), root)

    def square(p, q, u):  # antiderivative of (pu + q)²
        return p * p * u**3 / 3 + p * q * u**2 + q * q * u

    on = square(own - slope, -shift, high) - square(own - slope, -shift, low)
    off = own * (1 / 3 - (high**3 - low**3) / 3)
    return 0.5 * (on + off).sum() / features


@pytest.mark.parametrize(("features", "corners"), [(6, 6), (6, 5), (5, 5), (8, 7), (8, 8)])
def test_polygons_of_superposition_are_flat_along_what_is_free(features, corners):
    toy = toys.superposition(features, corners)
    assert float(hessian(toy)[0]) > -1e-6  # a critical point of the task's own loss, and no saddle
    # of the expected loss: critical by symmetry once distance and bias are right
    angles = 2 * math.pi * torch.arange(corners, dtype=torch.float64) / corners
    ring = torch.stack([angles.cos(), angles.sin()])

    def place(length, bias):
        weight = torch.zeros(2, features, dtype=torch.float64)
        weight[:, :corners] = length * ring
        shift = torch.full((features,), -0.5, dtype=torch.float64)
        shift[:corners] = bias
        return torch.cat([weight.flatten(), shift])

    def loss(flat):
        return expected_loss(flat[: 2 * features].view(2, features), flat[2 * features :])

    found = minimize(
        lambda p: float(loss(place(*p))), np.array([1.2, -0.3]), method="Nelder-Mead",
        options={"xatol": 1e-12, "fatol": 1e-17, "maxiter": 4000},
    ).x  # fmt: skip
    center = place(*found)
    assert float(torch.autograd.functional.jacobian(loss, center).abs().max()) < 1e-7
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, center))
    rank = 3 * corners - 1
    assert float(values[-rank]) > 1e-3 > 1e-7 > float(values[:-rank].abs().max())
    assert toy.coefficient == regular(rank)
    # and flat to all orders: turning the plane, and moving what is not represented
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    weight, bias = center[: 2 * features].view(2, features), center[2 * features :]
    other = turn @ weight
    other[:, corners:] += 0.05 * torch.randn(
        2, features - corners, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    shift = bias.clone()
    shift[corners:] += 0.1
    assert float(expected_loss(other, shift)) == pytest.approx(float(expected_loss(weight, bias)), rel=1e-12)
    # the toy's grid is close to it
    assert losses_at(toy, toy.task.center) == pytest.approx(float(loss(center)), rel=0.02)


def test_published_coefficients_of_the_hexagon_and_the_pentagon():
    assert toys.superposition(6, 6).coefficient.llc == 8.5
    assert toys.superposition(6, 5).coefficient.llc == 7
    with pytest.raises(InputError, match="corners"):
        toys.superposition(6, 4)
