"""What finite steps and gradient noise add to λ̂, against the exact answer on linear regression."""

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.estimators.llc import estimate
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.run import sample
from bitsandnats.settings import Settings

NBETA, GAMMA = 150.0, 1.0


@pytest.fixture(scope="module")
def regression() -> tuple[bn.Task, float]:
    """Linear regression at its least-squares weights, and λ̂(nβ, γ) = ½ Σ nβh/(nβh+γ)."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 6, generator=random, dtype=torch.float64)
    y = x @ torch.randn(6, 1, generator=random, dtype=torch.float64)
    y = y + torch.randn(1000, 1, generator=random, dtype=torch.float64)
    net = nn.Linear(6, 1, bias=False).double()
    net.weight.data = torch.linalg.lstsq(x, y).solution.T.clone()
    h = np.linalg.eigvalsh((x.T @ x / len(x)).numpy())
    return bn.Task.from_module(net, bn.losses.gaussian(), (x, y)), float(0.5 * np.sum(NBETA * h / (NBETA * h + GAMMA)))


@pytest.mark.parametrize(("batch_size", "step_size"), [(1000, 4e-3), (128, 1e-3), (32, 1e-3)])
def test_the_bound_accounts_for_the_excess_over_the_exact_answer(
    regression: tuple[bn.Task, float], batch_size: int, step_size: float
) -> None:
    task, exact = regression
    settings = Settings(
        step_size=step_size,
        gamma=GAMMA,
        nbeta=NBETA,
        batch_size=batch_size,
        chains=8,
        burn_in=400,
        draws=2500,
        mode="vmap",
    )
    found = estimate(sample(task, settings))
    bias = found.figures["step_share"] * found.llc
    assert found.se < 0.05 * exact
    # γ ≪ nβh here: the bound is all but an equality, to first order in the bias
    assert bias > 3 * found.se, "the case must show a bias, or it tests nothing"
    assert abs(found.llc - bias - exact) < 4 * found.se + 0.25 * bias
    assert found.llc - exact < bias + 4 * found.se


def test_under_a_strong_pull_the_bound_stays_close(regression: tuple[bn.Task, float]) -> None:
    """Where the pull dominates, gradient noise counts by the curvature that it points to, not in full."""
    task, _ = regression
    gamma = 2000.0
    settings = Settings(
        step_size=4e-4, gamma=gamma, nbeta=NBETA, batch_size=4, chains=8, burn_in=200, draws=4000, mode="vmap"
    )
    found = estimate(measure_llc(task, settings))
    h = torch.linalg.eigvalsh(hessian(task)).numpy()
    exact = float(0.5 * np.sum(NBETA * h / (NBETA * h + gamma)))
    added = found.llc - exact
    bound = found.figures["step_share"] * found.llc
    assert added > 4 * found.se, "the case must show a bias, or it tests nothing"
    assert added < bound + 4 * found.se
    assert bound < 3 * added + 4 * found.se  # without the curvature it would be a dozen times as large
    tree = found.tree.copy()
    del tree.attrs["gradient_noise_curvature"]
    assert estimate(tree).figures["step_share"] > 3 * found.figures["step_share"]


def hessian(task: bn.Task) -> torch.Tensor:
    x = task.batch(torch.arange(len(task.data)))[0]
    return x.T @ x / len(x)
