"""A pull so strong that only the quadratic part of the loss is felt: a plateau of λ̂ that is not λ."""

import pytest
import torch

import bitsandnats as bn
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.toys import deep_linear

STRONG = 1e4  # a reach of 0.01, a twentieth of the weights' root mean square


@pytest.fixture(scope="module")
def toy():
    return deep_linear.random_deep_linear((8, 4, 7, 6), 2, samples=1_000_000)


def hessian_eigenvalues(task):
    shapes = {name: w.shape for name, w in task.center.items()}
    batch = task.batch(torch.arange(len(task.data)))

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes.values()])
        weights = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
        return task.mean_loss(task.item_losses(weights, batch))

    flat = torch.cat([w.reshape(-1) for w in task.center.values()])
    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).clamp(min=0)


def calibrated(task, nbeta):
    """λ̂ with nothing set, without the controls."""
    return estimate(sample(task, bn.calibrate(task, given={"nbeta": nbeta, "seed": 1})))


def test_strong_pull_shows_the_quadratic_part_and_says_so(toy):
    found = bn.estimate_llc(toy.task, nbeta=toy.nbeta, gamma=STRONG, seed=1)
    h = toy.nbeta * hessian_eigenvalues(toy.task)
    quadratic = float((h / (h + STRONG)).sum() / 2)
    assert abs(found.llc - quadratic) < 4 * found.se
    assert found.se < 0.05 * quadratic
    assert quadratic < 0.8 * toy.coefficient.llc
    assert found.verdict.status != "usable"
    assert any("more at γ" in reason for reason in found.verdict.reasons)


def test_calibration_does_not_stop_there(toy):
    found = calibrated(toy.task, toy.nbeta)
    assert float(found.tree.attrs["gamma"]) < STRONG / 10
    assert abs(found.llc - toy.coefficient.llc) < 4 * found.se + 0.05 * toy.coefficient.llc
    assert found.se < 0.05 * toy.coefficient.llc


def test_no_pull_decides_where_the_likelihood_forgets_the_weights():
    """λ/nβ is most of the way to chance: no pull both keeps the draws near w* and is weak against the likelihood."""
    toy = deep_linear.random_deep_linear((30, 16, 20), 1, samples=1_000_000)
    way = toy.task.chance_loss - toy.task.mean_loss(
        toy.task.item_losses(toy.task.center, toy.task.batch(torch.arange(8)))
    )
    nbeta = toy.coefficient.llc / float(way)
    found = calibrated(toy.task, nbeta)
    assert abs(found.llc - toy.coefficient.llc) < 4 * found.se + 0.05 * toy.coefficient.llc
    assert found.se < 0.05 * toy.coefficient.llc
    assert found.verdict.status == "not usable"
    assert any("left the basin" in reason and "nbeta" in reason for reason in found.verdict.reasons)
