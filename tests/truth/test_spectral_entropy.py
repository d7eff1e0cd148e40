"""Spectral entropy: known values, finite differences, repeated singular values; weight noise as published."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bitsandnats.errors import InputError, ModelError
from bitsandnats.regularisers import effective_rank, matrix_entropy, spectral_entropy, weight_noise


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def number(tensor):
    return tensor.detach().item()


def orthogonal(n, seed=0):
    return torch.linalg.qr(random(n, n, seed=seed)).Q


@pytest.mark.parametrize(
    ("matrix", "rank"),
    [
        (torch.eye(7, dtype=torch.float64), 7),
        (orthogonal(9), 9),
        (3 * orthogonal(9)[:, :4], 4),
        (random(8, 1) @ random(1, 5), 1),
        (torch.diag(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)), math.exp(1.5 * math.log(2))),
        (torch.zeros(3, 4), 0),
    ],
)
def test_known_ranks(matrix, rank):
    assert effective_rank(matrix) == pytest.approx(rank, rel=1e-9)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7)])
def test_gradient_against_finite_differences(shape):
    w = random(*shape).requires_grad_()
    assert torch.autograd.gradcheck(matrix_entropy, (w,))


@pytest.mark.parametrize("values", [[1, 1, 1, 1], [2, 2, 1, 1], [3, 2, 2, 0.5]])
def test_gradient_with_repeated_singular_values(values):
    """Where a differentiated decomposition divides by zero, the directional derivatives are still right."""
    left, right = orthogonal(4, 1), orthogonal(4, 2)
    w = (left * torch.tensor(values, dtype=torch.float64) @ right).requires_grad_()
    (gradient,) = torch.autograd.grad(matrix_entropy(w), w)
    assert torch.isfinite(gradient).all()
    for seed in range(5):
        d = random(4, 4, seed=10 + seed)
        step = 1e-5
        difference = float(matrix_entropy(w.detach() + step * d) - matrix_entropy(w.detach() - step * d)) / (2 * step)
        assert float((gradient * d).sum()) == pytest.approx(difference, abs=1e-6)


def test_low_rank_and_zero_have_finite_gradients():
    for w in (random(6, 2) @ random(2, 6), torch.zeros(4, 4, dtype=torch.float64)):
        w.requires_grad_()
        (gradient,) = torch.autograd.grad(matrix_entropy(w), w)
        assert torch.isfinite(gradient).all()


def test_entropy_is_that_of_the_values():
    w = random(6, 9)
    share = np.linalg.svd(w.numpy(), compute_uv=False)
    share /= share.sum()
    assert float(matrix_entropy(w)) == pytest.approx(-(share * np.log(share)).sum(), rel=1e-12)


def test_mean_over_matrices_and_descent():
    """Biases, fixed and tied matrices do not count twice; a few steps down lower it."""
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)).double()
    module[1].weight = module[0].weight
    expected = (matrix_entropy(module[0].weight) + matrix_entropy(module[2].weight)) / 2
    assert number(spectral_entropy(module)) == pytest.approx(number(expected), rel=1e-12)
    module[2].weight.requires_grad_(False)
    before = number(spectral_entropy(module))
    assert before == pytest.approx(number(matrix_entropy(module[0].weight)), rel=1e-12)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        spectral_entropy(module).backward()
        optimizer.step()
    assert number(spectral_entropy(module)) < before - 0.05


def test_half_precision_is_measured_in_single():
    w = random(5, 5)
    assert number(matrix_entropy(w.bfloat16())) == pytest.approx(float(matrix_entropy(w)), abs=0.02)


def test_refusals():
    with pytest.raises(ModelError, match="matrices"):
        spectral_entropy(nn.LayerNorm(4))
    with pytest.raises(InputError, match="sigma"), weight_noise(nn.Linear(2, 2), -1.0, torch.Generator()):
        pass


def test_noise_moves_the_gradient_and_not_the_weights():
    """L = ½ Σ w⁴/12·… by hand: the gradient at w + σξ, applied to w."""
    module = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        module.weight.fill_(0.7)
    sigma, source = 0.25, torch.Generator().manual_seed(3)
    xi = float(torch.empty(1, 1).normal_(generator=torch.Generator().manual_seed(3)))
    with weight_noise(module, sigma, source):
        assert number(module.weight) == pytest.approx(0.7 + sigma * xi)
        (module.weight**3).sum().backward()
    assert module.weight.tolist() == [[0.7]]
    assert number(module.weight.grad) == pytest.approx(3 * (0.7 + sigma * xi) ** 2)


def test_noise_has_the_published_variance_and_ties_share_it():
    module = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100))
    module[1].weight = module[0].weight
    before = module[0].weight.detach().clone()
    with weight_noise(module, 0.5, torch.Generator().manual_seed(0)):
        moved = module[0].weight.detach() - before
        assert float(moved.std()) == pytest.approx(0.5, rel=0.03)
    assert torch.equal(module[0].weight, before)


def test_a_backward_pass_outside_is_refused():
    module = nn.Linear(3, 3)
    with weight_noise(module, 0.1, torch.Generator().manual_seed(0)):
        loss = module(module(torch.ones(3))).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_weights_come_back_after_an_error():
    module = nn.Linear(3, 3)
    before = module.weight.detach().clone()
    with pytest.raises(ValueError, match="stop"), weight_noise(module, 0.1, torch.Generator().manual_seed(0)):
        raise ValueError("stop")
    assert torch.equal(module.weight, before)
