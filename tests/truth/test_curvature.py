import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.curvature import gradient_noise, hessian_vector, top_curvature
from bitsandnats.differences import Differences


def dense(task, batch):
    """The Hessian of the mean loss as one matrix, by forward over reverse differentiation."""
    names = list(task.center)
    shapes = [task.center[k].shape for k in names]
    sizes = [s.numel() for s in shapes]

    def loss(flat):
        parts = [p.view(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        return task.mean_loss(task.item_losses(dict(zip(names, parts, strict=True)), batch))

    flat = torch.cat([task.center[k].flatten() for k in names])
    return torch.func.hessian(loss)(flat)


@pytest.fixture(scope="module")
def task(build_mlp):
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.sin(2 * x[:, :2])
    return bn.Task.from_module(build_mlp(3, 5, 2, dtype=torch.float64), bn.losses.gaussian(0.5), (x, y))


ours_not = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own


@ours_not
def test_hessian_vector(task):
    batch = task.batch(torch.arange(40))
    matrix = dense(task, batch)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        vector = {k: torch.randn(p.shape, generator=generator, dtype=p.dtype) for k, p in task.center.items()}
        product = hessian_vector(task, task.center, batch, vector)
        flat = torch.cat([v.flatten() for v in product.values()])
        expected = matrix @ torch.cat([v.flatten() for v in vector.values()])
        assert torch.allclose(flat, expected, rtol=1e-10, atol=1e-12)
        assert not any(p.requires_grad for p in product.values())


@ours_not
def test_largest_eigenvalue(task):
    exact = float(torch.linalg.eigvalsh(dense(task, task.batch(torch.arange(40)))).max())
    found = top_curvature(task, items=40, iterations=300, tolerance=1e-7)
    assert found.value == pytest.approx(exact, rel=1e-3)
    assert found.relative_change < 1e-7
    rough = top_curvature(task, items=40)
    assert rough.value == pytest.approx(exact, rel=0.1)
    assert rough.iterations <= 30


class Point(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(dimension, dtype=torch.float64))

    def forward(self):
        return self.w


@pytest.mark.parametrize(
    ("eigenvalues", "largest"),
    [([-5.0, 2.0, 1.0, 0.5], 2.0), ([-9.0, -8.5, 0.3], 0.3), ([3.0, 1.0, -1.0], 3.0), ([-2.0, -1.0], -1.0)],
)
def test_largest_modulus_negative(eigenvalues, largest):
    """A saddle: the largest eigenvalue is wanted, not the one of largest modulus."""
    n = len(eigenvalues)
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))
    matrix = torch.tensor(q @ np.diag(eigenvalues) @ q.T)
    task = bn.Task.from_module(
        Point(n), lambda model, batch: (0.5 * model() @ matrix @ model()).expand(len(batch)), torch.zeros(2, 1)
    )
    found = top_curvature(task, iterations=2000, tolerance=1e-10)
    assert found.value == pytest.approx(largest, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("large", [False, True])
def test_hessian_that_bends_down_more_than_up(large, monkeypatch):
    """As of an untrained network: without a gap at either end of the spectrum, and the longer end below 0."""
    if large:
        monkeypatch.setattr("bitsandnats.curvature._LARGE", 0)
    eigenvalues = torch.cat([torch.linspace(-4.4, 4.0, 399, dtype=torch.float64), torch.tensor([-4.5])])
    task = bn.Task.from_module(
        Point(400), lambda model, batch: (0.5 * model().square() @ eigenvalues).expand(len(batch)), torch.zeros(2, 1)
    )
    found = top_curvature(task)
    assert found.value == pytest.approx(4.0, rel=0.1)
    assert found.iterations < 25


def test_flat_loss_has_no_curvature():
    task = bn.Task.from_module(Point(3), lambda model, batch: (0 * model().sum()).expand(len(batch)), torch.zeros(2, 1))
    assert top_curvature(task).value == 0.0
    linear = bn.Task.from_module(Point(3), lambda model, batch: model().sum().expand(len(batch)), torch.zeros(2, 1))
    assert top_curvature(linear).value == 0.0


def test_second_derivatives_that_are_not_finite():
    task = bn.Task.from_module(
        Point(3), lambda model, batch: model().abs().pow(1.5).sum().expand(len(batch)), torch.zeros(2, 1)
    )
    assert np.isnan(top_curvature(task).value)


def test_large_models_by_differences(digit_task, monkeypatch):
    """What large models get instead of second derivatives agrees with them."""
    exact = top_curvature(digit_task, items=64), gradient_noise(digit_task, batch_size=16, batches=60, items=64)
    monkeypatch.setattr("bitsandnats.curvature._LARGE", 0)
    found = top_curvature(digit_task, items=64), gradient_noise(digit_task, batch_size=16, batches=60, items=64)
    assert found[0].value == pytest.approx(exact[0].value, rel=0.02)
    assert found[1].trace == pytest.approx(exact[1].trace, rel=0.3)
    assert found[1].curvature == pytest.approx(exact[1].curvature, rel=0.5)


def test_arrays_of_large_models_are_freed_at_once(digit_task):
    """Chains follow: what waits for the garbage collector would lie beside them."""
    products = Differences(digit_task, digit_task.center)
    products.aim(1.0)
    products.multiply(digit_task.batch(torch.arange(2)))
    kept = [weakref.ref(t) for t in (*products._leaves.values(), *products.sum.values())]
    gc.disable()
    try:
        del products
        assert not any(ref() is not None for ref in kept)
    finally:
        gc.enable()
