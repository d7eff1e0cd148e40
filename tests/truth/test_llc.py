"""λ̂ against known answers at the same nβ and γ.

The criterion: |estimate − truth| < 4 s.e. and s.e. < 5 % of truth, with the estimator's own error bar.
"""

import numpy as np
import pytest
import torch
from scipy import integrate, special
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.estimators.llc import as_record, estimate, excess_trace
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.theory.quadrature import exact_llc, exact_llc_of_crossing


def meets(found, truth):
    return abs(found.llc - truth) < 4 * found.se and found.se < 0.05 * truth


# --- the oracles themselves


@pytest.mark.parametrize(
    ("nbeta", "gamma"), [(30.0, 1.0), (30.0, 300.0), (30.0, 30.0), (1000.0, 10.0), (5.0, 3.0), (1e4, 300.0)]
)
def test_quadrature_is_the_closed_form_of_the_crossing(nbeta, gamma):
    closed = exact_llc_of_crossing(nbeta=nbeta, gamma=gamma)
    assert exact_llc(lambda x, y: x**2 * y**2, 2, nbeta=nbeta, gamma=gamma) == pytest.approx(closed, rel=1e-6)


def test_published_values_of_the_crossing():
    assert exact_llc_of_crossing(nbeta=30.0, gamma=1.0) == pytest.approx(0.3255, abs=5e-5)
    assert exact_llc_of_crossing(nbeta=30.0, gamma=300.0) == pytest.approx(0.0003, abs=5e-5)


def test_closed_form_of_the_crossing_by_one_integral():
    """Integrating w₂ out by hand leaves p(w₁) ∝ exp(−γw₁²/2)/√(2nβw₁²+γ) and nβ E[L | w₁] = nβw₁²/(2nβw₁²+γ)."""
    nbeta, gamma = 40.0, 6.0

    def p(x):
        return np.exp(-gamma * x**2 / 2) / np.sqrt(2 * nbeta * x**2 + gamma)

    top = integrate.quad(lambda x: p(x) * nbeta * x**2 / (2 * nbeta * x**2 + gamma), -5, 5)[0]
    assert exact_llc_of_crossing(nbeta=nbeta, gamma=gamma) == pytest.approx(top / integrate.quad(p, -5, 5)[0], rel=1e-7)


def test_quadrature_on_a_quadratic_and_a_quartic():
    nbeta, gamma = 50.0, 10.0
    one = exact_llc(lambda x: 0.5 * x**2, 1, nbeta=nbeta, gamma=gamma)
    assert one == pytest.approx(0.5 * nbeta / (nbeta + gamma), rel=1e-9)
    two = exact_llc(lambda x, y: 0.5 * x**2 + 0.05 * y**2, 2, nbeta=nbeta, gamma=gamma)
    assert two == pytest.approx(one + 0.5 * 5 / 15, rel=1e-9)
    # L = w⁴: λ̂ → 1/4 as γ/√nβ → 0
    assert exact_llc(lambda x: x**4, 1, nbeta=1e6, gamma=1.0) == pytest.approx(0.25, abs=1e-3)
    moments = [special.gamma(k / 4) for k in (1, 5)]
    assert moments[1] / moments[0] == pytest.approx(0.25)


# --- sampled


def copies_of(potential, copies, dimension):
    """The sum of independent copies of a potential: λ̂ adds, the scatter does not."""

    class Points(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(dimension, copies, dtype=torch.float64))

        def forward(self):
            return self.w

    return bn.Task.from_module(
        Points(), lambda model, batch: potential(*model()).sum().expand(len(batch)), torch.zeros(2, 1)
    )


def measured(task, **fields):
    settings = Settings(**{"chains": 8, "mode": "vmap", "start": "noise", "seed": 11, **fields})
    return estimate(sample(task, settings))


def test_regular():
    """d/2 per direction of curvature: λ̂ = ½ Σ nβh/(nβh+γ), near d/2 at small γ."""
    h = np.array([1.0, 0.5, 2.0, 1.0, 0.3, 1.5])
    nbeta, gamma = 100.0, 0.1
    found = measured(toys.quadratic(h.tolist()), nbeta=nbeta, gamma=gamma, step_size=4e-4, chains=64, start="center",
                     burn_in=300, draws=1500)  # fmt: skip
    truth = float(0.5 * (nbeta * h / (nbeta * h + gamma)).sum())
    assert truth == pytest.approx(3.0, rel=0.01)
    assert meets(found, truth), (found.llc, found.se, truth)


def test_minimally_singular():
    """(d − 1)/2: the flat direction moves and adds nothing."""
    task = toys.minimally_singular(5)
    found = measured(task, nbeta=100.0, gamma=1.0, step_size=5e-4, chains=64, burn_in=300, draws=1500)
    truth = 0.5 * 4 * 100 / 101
    assert meets(found, truth), (found.llc, found.se, truth)
    assert abs(found.llc - 2.5) > 4 * found.se


@pytest.mark.parametrize(("gamma", "step_size", "burn_in", "draws"), [(5.0, 2e-3, 400, 1600), (30.0, 1e-3, 150, 1200)])
def test_crossing(gamma, step_size, burn_in, draws):
    found = measured(
        toys.normal_crossing([1, 1]), nbeta=30.0, gamma=gamma, step_size=step_size, chains=128, burn_in=burn_in,
        draws=draws,
    )  # fmt: skip
    truth = exact_llc_of_crossing(nbeta=30.0, gamma=gamma)
    assert meets(found, truth), (found.llc, found.se, truth)
    assert abs(found.llc - 0.5) > 4 * found.se  # λ itself is not what is sampled at this γ


def test_a_large_pull_erases_the_crossing():
    task = copies_of(lambda x, y: x**2 * y**2, 200, 2)
    found = measured(task, nbeta=30.0, gamma=300.0, step_size=1e-4, burn_in=50, draws=1500)
    truth = 200 * exact_llc_of_crossing(nbeta=30.0, gamma=300.0)
    assert truth < 0.1
    assert meets(found, truth), (found.llc, found.se, truth)


@pytest.mark.parametrize(
    ("potential", "dimension", "nbeta", "gamma", "step_size"),
    [
        (lambda x, y: x**2 * y**4, 2, 100.0, 10.0, 8e-4),
        (lambda x: x**4, 1, 1000.0, 4.0, 2e-4),
        (lambda x, y: x**2 + y**4, 2, 200.0, 4.0, 1e-4),
    ],
    ids=["w1²w2⁴", "w⁴", "w1²+w2⁴"],
)
def test_other_singularities(potential, dimension, nbeta, gamma, step_size):
    exact = exact_llc(potential, dimension, nbeta=nbeta, gamma=gamma)
    task = copies_of(potential, 50, dimension)
    found = measured(task, nbeta=nbeta, gamma=gamma, step_size=step_size, burn_in=600, draws=1500, start="center")
    assert meets(found, 50 * exact), (found.llc / 50, found.se / 50, exact)


def test_toys_are_the_potentials_they_say():
    batch = torch.zeros(2, 1)
    w = {"w": torch.tensor([0.5, -2.0], dtype=torch.float64)}
    assert torch.equal(toys.normal_crossing([1, 2]).item_losses(w, batch), torch.full((2,), 0.25 * 16.0).double())
    assert torch.equal(toys.quadratic([2.0, 1.0]).item_losses(w, batch), torch.full((2,), 0.25 + 2.0).double())
    assert torch.equal(toys.minimally_singular(2).item_losses(w, batch), torch.full((2,), 0.125).double())


# --- linear regression, minibatches


@pytest.fixture(scope="module")
def regression():
    """Least squares in 20 dimensions with noise: the posterior is exactly Gaussian."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(600, 20, generator=generator, dtype=torch.float64)
    y = x @ torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    y = y + 0.5 * torch.randn(600, 1, generator=generator, dtype=torch.float64)
    module = nn.Linear(20, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.linalg.lstsq(x, y).solution.T)
    task = bn.Task.from_module(module, bn.losses.gaussian(0.5), (x, y))
    h = torch.linalg.eigvalsh(x.T @ x / 600 / 0.25).numpy()
    return task, h


LOCAL = {"nbeta": 20.0, "gamma": 10.0, "step_size": 5e-4, "batch_size": 300, "burn_in": 200, "draws": 1500}


def test_linear_regression(regression):
    task, h = regression
    found = estimate(sample(task, Settings(**LOCAL, chains=8, mode="vmap", start="noise", seed=1)))
    truth = float(0.5 * (20 * h / (20 * h + 10)).sum())
    assert meets(found, truth), (found.llc, found.se, truth)


# a strong pull and small batches: the batch's luck dwarfs what the draws cost
PULLED = {"nbeta": 20.0, "gamma": 1000.0, "step_size": 1e-4, "batch_size": 30, "burn_in": 100, "draws": 800}


@pytest.fixture(scope="module")
def regression_runs(regression):
    task, _ = regression
    return {
        kind: sample(task, Settings(**PULLED, chains=8, mode="vmap", start="noise", seed=1, baseline=kind))
        for kind in ("all", "batch", "none")
    }


def test_baselines_agree_and_pairing_pays_when_local(regression, regression_runs):
    _, h = regression
    kappa = 20 * h + 1000
    truth = float(0.5 * (20 * h / (kappa * (1 - 1e-4 * kappa / 4))).sum())
    found = {kind: estimate(tree) for kind, tree in regression_runs.items()}
    # the same draws: L(w*) once for all items or again for each batch is the same baseline
    base = regression_runs["all"]["draws"].dataset["baseline"].values
    assert np.allclose(base, regression_runs["batch"]["draws"].dataset["baseline"].values)
    assert np.array_equal(
        regression_runs["all"]["draws"].dataset["loss"].values, regression_runs["none"]["draws"].dataset["loss"].values
    )
    assert not regression_runs["none"].attrs["paired"]
    assert meets(found["all"], truth), (found["all"].llc, found["all"].se, truth)
    assert abs(found["batch"].llc - truth) < 4 * found["batch"].se
    assert found["all"].se < 0.75 * found["none"].se
    sd = {kind: excess_trace(tree).std() for kind, tree in regression_runs.items()}
    assert sd["all"] < 0.6 * sd["none"]


def test_unpaired_error_bar_holds_the_error_of_the_center_loss(regression, regression_runs):
    """Without pairing L(w*) comes from eight batches: its own error belongs into the error bar."""
    task, h = regression
    truth = float(0.5 * (20 * h / (20 * h + 1000)).sum())
    found = estimate(regression_runs["none"])
    items = float(task.all_item_losses(task.center).std())
    assert found.se > 0.5 * 20 * items / np.sqrt(8 * 30)
    assert abs(found.llc - truth) < 4 * found.se


def test_pairing_never_hurts(regression):
    """Far from w* the batch's luck at w* says little: the regression coefficient keeps pairing harmless."""
    task, _ = regression
    fields = {**LOCAL, "nbeta": 1.0, "gamma": 0.3, "batch_size": 20, "step_size": 0.01, "draws": 400}
    sd = {}
    for kind in ("all", "none"):
        tree = sample(task, Settings(**fields, chains=4, mode="vmap", start="noise", baseline=kind))
        sd[kind] = excess_trace(tree).std()
    assert sd["all"] <= 1.001 * sd["none"]


# --- burn-in and divergence


def test_burn_in_is_not_averaged():
    task = toys.quadratic([1.0] * 50)
    fields = {"nbeta": 50.0, "gamma": 5.0, "step_size": 5e-3, "draws": 600}
    # from w* the first steps are far too low
    cold = sample(task, Settings(**fields, chains=8, mode="vmap", start="center", burn_in=120))
    found = estimate(cold)
    kappa = 55.0
    truth = 25 * 50 / (kappa * (1 - 5e-3 * kappa / 4))
    assert meets(found, truth), (found.llc, found.se, truth)
    assert cold["burn_in"].dataset["loss"].values[:, :5].mean() * 50 < 0.5 * truth
    assert cold["burn_in"].sizes["draw"] == 120
    assert cold["draws"].sizes["draw"] == 600
    # and what is stored as burn-in is never read
    spoiled = cold.copy()
    spoiled["burn_in"] = cold["burn_in"].dataset.map(lambda v: v * 0 + 1e9)
    again = estimate(spoiled)
    assert (again.llc, again.se, again.verdict) == (found.llc, found.se, found.verdict)
    # the same chains, cut later: burn-in and draws are one path
    later = sample(task, Settings(**{**fields, "draws": 500}, chains=8, mode="vmap", start="center", burn_in=220))
    assert np.array_equal(later["draws"].dataset["loss"].values, cold["draws"].dataset["loss"].values[:, 100:])


SEED = 0  # of a run whose boldest chain is bold after burn-in


class Trap(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4, dtype=torch.float64))

    def forward(self):
        return self.w


def trap_task(wall, value):
    """A quadratic whose loss is `value` beyond a wall."""

    def loss(model, batch):
        w = model()
        inside = 0.5 * w.square().sum()
        return torch.where(w[0] > wall, inside * 0 + value, inside).expand(len(batch))

    return bn.Task.from_module(Trap(), loss, torch.zeros(2, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("mode", ["vmap", "loop"])
def test_a_dead_chain_is_never_averaged(value, mode):
    settings = Settings(nbeta=20.0, gamma=5.0, step_size=0.01, chains=6, draws=200, burn_in=20, mode=mode, seed=SEED)
    # a wall that the boldest chain alone hits
    whole = settings.model_copy(update={"burn_in": 0, "draws": 220})
    free = sample(trap_task(1e9, 0.0), whole, observables={"weights": "trace"})
    paths = free["observables"].dataset["weights_trace"].values[:, :, 0].max(1)
    wall = float(np.sort(paths)[-2:].mean())
    tree = sample(trap_task(wall, value), settings)
    diverged = tree["draws"].dataset["diverged_at"].values
    dead = int(np.argmax(paths))
    assert diverged[dead] >= 20  # the seed is chosen so: it dies after burn-in
    assert (np.delete(diverged, dead) == -1).all()
    loss = tree["draws"].dataset["loss"].values
    at = int(diverged[dead]) - 20
    assert np.isnan(loss[dead, at:]).all()
    assert np.isfinite(loss[dead, :at]).all()
    # the others are not touched by it
    assert np.array_equal(np.delete(loss, dead, 0), np.delete(free["draws"].dataset["loss"].values[:, 20:], dead, 0))
    found = estimate(tree)
    assert np.isnan(found.llc)
    assert np.isnan(found.se)
    assert found.verdict.status == "not usable"
    assert f"chain {dead} diverged" in found.verdict.reasons[0]
    assert str(found).startswith("λ̂ = nan")
    assert "not usable" in str(found)
    record = as_record(found)
    assert record["llc"] is None
    assert record["se"] is None
    assert record["interval"] == [None, None]


def test_too_large_a_step_diverges_and_says_so(regression):
    task, _ = regression
    found = bn.estimate_llc(task, nbeta=100.0, gamma=1.0, step_size=1.0, chains=2, draws=300, burn_in=10, batch_size=20)
    assert found.verdict.status == "not usable"
    assert "reduce the step size" in str(found.verdict)
    assert np.isnan(found.llc) or found.llc > task.dimension


@pytest.mark.parametrize("baseline", ["all", "batch", "none"])
@pytest.mark.parametrize("sampler", ["sgld", "rmsprop_sgld"])
def test_every_chain_dead_from_the_first_step(baseline, sampler):
    """Nothing to average at all is an answer, not an exception."""

    def loss(model, batch):
        w = model()
        return torch.where(w.abs().max() > 0, w.sum() * float("nan"), w.sum()) * torch.ones(len(batch))

    task = bn.Task.from_module(Trap(), loss, torch.zeros(40, 1))
    settings = Settings(
        sampler=sampler, nbeta=20.0, gamma=5.0, step_size=0.01, chains=2, draws=20, burn_in=5, start="noise",
        batch_size=4, baseline=baseline, mode="loop",
    )  # fmt: skip
    found = bn.estimate_llc(task, settings=settings)
    assert np.isnan(found.llc)
    assert "chain 0, 1 diverged" in found.verdict.reasons[0]
