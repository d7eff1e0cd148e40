"""λ̂ with a variate of known mean: the same number, a smaller error, and no harm where the loss is not quadratic."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.estimators.diagnostics import convergence
from bitsandnats.estimators.llc import estimate, excess_trace
from bitsandnats.estimators.variate import adjusted
from bitsandnats.run import sample

NBETA, GAMMA = 100.0, 5.0


def run(task, **fields):
    settings = {
        "sampler": "hmc(leapfrogs=6, adapt_steps=60)", "step_size": 0.07, "nbeta": NBETA, "gamma": GAMMA, "chains": 4,
        "burn_in": 60, "draws": 200, "mode": "vmap", "variates": "quadratic",
    }  # fmt: skip
    return sample(task, bn.Settings(**{**settings, **fields}))


def plain(tree):
    return estimate(tree.assign(draws=xr.DataTree(tree["draws"].dataset.drop_vars("variate"))))


def agree(one, other):
    return abs(one.llc - other.llc) < 4 * np.hypot(one.se, other.se)


@pytest.mark.parametrize(("sampler", "step_size"), [("hmc(leapfrogs=6, adapt_steps=60)", 0.07), ("mala", 0.01)])
def test_a_quadratic_is_exact(sampler, step_size):
    """Nothing is left to scatter; flat directions take no part."""
    h = np.array([1.0, 0.3, 2.0, 0.0])
    found = estimate(run(toys.quadratic(list(h)), sampler=sampler, step_size=step_size))
    assert found.llc == pytest.approx((NBETA * h / (NBETA * h + GAMMA)).sum() / 2, rel=1e-12)
    assert found.se < 1e-12
    assert found.figures["variate_coefficient"] == pytest.approx(1, rel=1e-12)


class Point(nn.Module):
    """A bare vector of weights at the origin."""

    def __init__(self, dimension):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(dimension, dtype=torch.float64))

    def forward(self):
        return self.w


H, CUBIC, QUARTIC = (torch.tensor(c, dtype=torch.float64) for c in ([2.0, 1, 0.5, 0.2], [2.0, 1, 0.5, -0.2], [2.0] * 4))


def anharmonic(w):
    """Of each coordinate; its minimum is at 0."""
    return H / 2 * w.square() + CUBIC * w**3 / 3 + QUARTIC * w**4 / 4


def test_intervals_cover_the_truth():
    """Forty estimates of four chains each, against quadrature: the coefficient and its choice cost no honesty."""
    groups, chains = 40, 4
    task = bn.Task.from_module(Point(4), lambda m, b: anharmonic(m()).sum().expand(len(b)), torch.zeros(2, 1))
    grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)[:, None].expand(-1, 4)
    losses = anharmonic(grid)
    weights = torch.exp(-NBETA * losses - GAMMA / 2 * grid.square())
    truth = NBETA * float(((losses * weights).sum(0) / weights.sum(0)).sum())
    tree = run(task, chains=groups * chains, draws=50, burn_in=40, sampler="hmc(leapfrogs=5, adapt_steps=40)")
    parts = [tree.isel(chain=slice(chains * i, chains * (i + 1)), missing_dims="ignore") for i in range(groups)]
    raw = [convergence(excess_trace(part)) for part in parts]
    found = [adjusted(part, excess_trace(part), known)[0] for part, known in zip(parts, raw, strict=True)]
    off = np.array([NBETA * known.mean - truth for known in found])
    se = np.array([NBETA * known.se for known in found])
    assert np.mean(abs(off) < 1.96 * se) >= 0.85
    error, without = (np.sqrt(np.mean([(NBETA * k.mean - truth) ** 2 for k in each])) for each in (found, raw))
    assert error < 0.6 * without
    assert abs(off.mean()) < 4 * error / groups**0.5


def test_a_network(build_mlp):
    """Of random labels, where the loss is curved in many directions and in none quadratic."""
    x = torch.randn(150, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x[:, 0] > 0).long() + (x[:, 1] + x[:, 2] > 0.5).long()
    model = build_mlp(4, 6, 3, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def objective():
        optimizer.zero_grad()
        penalty = 1e-2 * sum(w.square().sum() for w in model.parameters())
        loss = nn.functional.cross_entropy(model(x), y) + penalty
        loss.backward()
        return loss

    optimizer.step(objective)
    task = bn.Task.from_module(model, bn.losses.cross_entropy(), (x, y))
    tree = run(task, gamma=10.0, draws=250, chains=8)
    found, bare = estimate(tree), plain(tree)
    assert agree(found, bare)
    assert found.figures["variate_ratio"] == pytest.approx((bare.se / found.se) ** 2)
    assert found.figures["variate_ratio"] > 1.5
    assert abs(found.figures["variate_mean"]) < 4 * found.figures["variate_mean_se"]
    assert (found.figures["rhat"], found.figures["drift"]) == (bare.figures["rhat"], bare.figures["drift"])


@pytest.mark.parametrize("task", ["deep linear", "crossing"])
def test_harmless_where_the_loss_is_not_quadratic(task):
    """All of C itself would make it far worse: the coefficient is what makes it harmless."""
    if task == "crossing":
        tree = run(toys.normal_crossing([1, 1]), chains=16, draws=120, gamma=1.0)
    else:
        toy = toys.random_deep_linear([4, 5, 5, 4], 3, samples=1000, seed=1)
        tree = run(toy.task, nbeta=1000.0, gamma=1.0, step_size=1e-3, chains=8)
    found, bare = estimate(tree), plain(tree)
    assert found.se <= bare.se
    assert agree(found, bare)
    excess, variate = excess_trace(tree), tree["draws"].dataset["variate"].values
    if variate.any():
        whole = convergence(excess - variate / tree.attrs["nbeta"])
        assert whole.se * tree.attrs["nbeta"] > 2 * bare.se


def test_chains_on_their_way_are_named():
    """From w*, by steps so short that the law is not reached."""
    tree = run(toys.quadratic([1.0] * 6), sampler="hmc(leapfrogs=1)", step_size=2e-3, burn_in=0)
    found = estimate(tree)
    assert found.figures["variate_mean"] < -4 * found.figures["variate_mean_se"]
    assert any("the chains are not stationary" in reason for reason in found.verdict.reasons)
