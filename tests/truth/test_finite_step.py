"""Exact law of the discretised chain on quadratics, at any step size.

The criterion: |estimate − truth| < 4 s.e. and s.e. < 1 % of truth. The same criterion must refuse the continuous-time
law where the two differ by more than 25 %.
"""

import numpy as np
import pytest
import torch

from bitsandnats import toys
from bitsandnats._rng import streams
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.samplers.rmsprop_sgld import rmsprop_sgld
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.finite_step import (
    discretisation_share,
    finite_step_llc,
    noise_only_variance,
    relaxation_steps,
    stationary_variance,
)

COPIES = 100
CURVATURES = (0.0, 0.1, 1.0)
CHAINS = 32
# (nβ, γ, ε): εκ of the stiffest direction is 0.6, 2.4, 3.1, 3.0
SETTINGS = [(50.0, 10.0, 0.01), (50.0, 10.0, 0.04), (200.0, 5.0, 0.015), (1.0, 100.0, 0.03)]
DRAWS = {SETTINGS[2]: 900}


def meets(value: float, se: float, truth: float) -> bool:
    """The criterion for exact laws."""
    return abs(value - truth) < 4 * se and se < 0.01 * truth


def autocorrelation_time(step_times_kappa: np.ndarray | float) -> np.ndarray | float:
    """Of the square of an AR(1) coordinate with ρ = 1 − εκ/2."""
    rho2 = (1 - np.asarray(step_times_kappa) / 2) ** 2
    return (1 + rho2) / (1 - rho2)


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def run(request):
    nbeta, gamma, step = request.param
    curvature = [h for h in CURVATURES for _ in range(COPIES)]
    settings = Settings(
        nbeta=nbeta, gamma=gamma, step_size=step, chains=CHAINS, mode="vmap",
        burn_in=int(10 * relaxation_steps(step * gamma)) + 20, draws=DRAWS.get(request.param, 500), seed=4,
    )  # fmt: skip
    return settings, sample(toys.quadratic(curvature), settings, observables={"weights": "moments"})


def second_moment(tree, draws):
    """E[w²] of each coordinate and chain about w*, from the stored moments."""
    seen = tree["observables"].dataset
    return seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2


def test_variance_of_each_coordinate(run):
    settings, tree = run
    squares = second_moment(tree, settings.draws).reshape(CHAINS, len(CURVATURES), COPIES)
    refused = 0
    for i, h in enumerate(CURVATURES):
        options = {"nbeta": settings.nbeta, "gamma": settings.gamma, "step_size": settings.step_size}
        truth = float(stationary_variance(np.array([h]), **options)[0])
        kappa = settings.nbeta * h + settings.gamma
        time = autocorrelation_time(settings.step_size * kappa)
        se = truth * float(np.sqrt(2 * time / (CHAINS * COPIES * settings.draws)))
        value = float(squares[:, i].mean())
        assert meets(value, se, truth), (h, value, se, truth)
        # the error bar is right too: independent copies scatter as it says
        scatter = float(squares[:, i].std(ddof=1)) / np.sqrt(CHAINS * COPIES)
        assert scatter == pytest.approx(se, rel=0.15)
        if settings.step_size * kappa >= 1:
            assert truth * kappa > 1.25
            assert not meets(value, se, 1 / kappa)
            refused += 1
    assert refused > 0 or settings.step_size * (settings.nbeta + settings.gamma) < 1


def test_llc(run):
    settings, tree = run
    curvature = np.repeat(CURVATURES, COPIES)
    truth = finite_step_llc(curvature, nbeta=settings.nbeta, gamma=settings.gamma, step_size=settings.step_size)
    found = estimate(tree)
    assert meets(found.llc, found.se, truth), (found.llc, found.se, truth)
    kappa = settings.nbeta * curvature + settings.gamma
    continuous = float(0.5 * (settings.nbeta * curvature / kappa).sum())
    assert finite_step_llc(curvature, nbeta=settings.nbeta, gamma=settings.gamma, step_size=1e-12) == pytest.approx(
        continuous, rel=1e-9
    )
    if truth > 1.25 * continuous:
        assert not meets(found.llc, found.se, continuous)


def test_the_settings_above_include_large_steps():
    """At least two where finite-step and continuous answers differ by more than 25 %, for λ̂ itself."""
    h = np.repeat(CURVATURES, COPIES)
    differ = 0
    for nbeta, gamma, step in SETTINGS:
        continuous = float(0.5 * (nbeta * h / (nbeta * h + gamma)).sum())
        differ += finite_step_llc(h, nbeta=nbeta, gamma=gamma, step_size=step) > 1.25 * continuous
    assert differ >= 2


def test_transient_from_the_center():
    """From w*, E[w_t²] = v (1 − ρ^{2t})."""
    settings = Settings(nbeta=1e-9, gamma=20.0, step_size=0.01, chains=4, draws=40, mode="vmap", seed=1)
    tree = sample(toys.quadratic([1.0] * 20000), settings)
    seen = tree["draws"].dataset["distance_squared"].values.mean(0) / 20000
    rho2 = (1 - 0.1) ** 2
    v = 1 / (20 * (1 - 0.2 / 4))
    exact = v * (1 - rho2 ** np.arange(40))
    assert seen[0] == 0
    assert np.abs(seen[1:] / exact[1:] - 1).max() < 4.5 * np.sqrt(2 / 80000)


@pytest.mark.parametrize(("start", "variance"), [("center", 0.0), ("noise", 1 / 30.0)])
@pytest.mark.parametrize(("burn_in", "draws"), [(0, 30), (7, 25)])
def test_noise_only_variance(start, variance, burn_in, draws):
    gamma, step, copies = 30.0, 0.02, 20000
    settings = Settings(
        nbeta=1e-9, gamma=gamma, step_size=step, chains=8, burn_in=burn_in, draws=draws, mode="vmap", start=start
    )
    tree = sample(toys.quadratic([1.0] * copies), settings)
    per_chain = tree["draws"].dataset["distance_squared"].values.mean(1) / copies
    truth = noise_only_variance(gamma=gamma, step_size=step, burn_in=burn_in, draws=draws, start_variance=variance)
    # the mean over draws scatters at most as one draw does
    se = truth * float(np.sqrt(2 / (8 * copies)))
    assert meets(float(per_chain.mean()), se, truth)
    rho2 = (1 - step * gamma / 2) ** 2
    v = 1 / (gamma * (1 - step * gamma / 4))
    closed = v + (variance - v) * rho2**burn_in * (1 - rho2**draws) / (1 - rho2) / draws
    assert truth == pytest.approx(closed, rel=1e-12)


def test_noise_only_variance_without_a_pull_grows_with_time():
    value = noise_only_variance(gamma=0.0, step_size=0.1, burn_in=10, draws=1, start_variance=0.0)
    assert value == pytest.approx(1.0)


@pytest.mark.parametrize("initial", ["zero", "one"])
@pytest.mark.parametrize("adapt_steps", [0, 60])
def test_frozen_preconditioner(initial, adapt_steps):
    """With A frozen: w_i has variance 1/[κ_i (1 − ε A_i κ_i / 4)], A read back from the sampler's memory."""
    nbeta, gamma, delta = 50.0, 10.0, 0.1
    curvature = torch.tensor([h for h in (0.1, 1.0) for _ in range(200)], dtype=torch.float64)
    kappa = (nbeta * curvature + gamma).numpy()
    task = toys.quadratic(curvature.tolist())
    # the stiffest εAκ is about 1.5 to 3 in each case
    step_size = {("zero", 0): 0.004, ("one", 0): 0.04, ("zero", 60): 0.01, ("one", 60): 0.05}[initial, adapt_steps]
    target = LocalPosterior(task, nbeta, gamma, "vmap")
    sampler = rmsprop_sgld(target, step_size=step_size, delta=delta, initial=initial, adapt_steps=adapt_steps)
    chains, burn_in, draws = 16, 300, 1200
    rng = streams(5, range(chains))
    state = sampler.init(rng, {"w": torch.zeros(chains, len(curvature), dtype=torch.float64)})
    for _ in range(adapt_steps + burn_in):
        state, _ = sampler.step(rng, state, None)
    memory = state.memory["w"].clone()
    squares = torch.zeros_like(memory)
    for _ in range(draws):
        squares += state.position["w"].square()
        state, info = sampler.step(rng, state, None)
    assert torch.equal(state.memory["w"], memory)
    correction = 1 - 0.99**adapt_steps if initial == "one" and adapt_steps else 1.0
    a = 1 / (np.sqrt(memory.numpy() / correction) + delta)
    if adapt_steps == 0:
        assert np.allclose(a, 1 / delta if initial == "zero" else 1 / (1 + delta))
    assert float(info.statistics["preconditioner_max"][0]) == pytest.approx(a[0].max(), rel=1e-9)
    assert float(info.statistics["preconditioner_mean"][0]) == pytest.approx(a[0].mean(), rel=1e-9)
    stiffness = step_size * a * kappa
    assert 1 < stiffness[:, 200:].mean() < 3.5
    seen = (squares / draws).numpy()
    relative = seen * kappa * (1 - stiffness / 4)  # 1 in expectation, by the law
    for part in (slice(0, 200), slice(200, 400)):
        se = float(np.sqrt((2 * autocorrelation_time(stiffness[:, part]) / draws).sum())) / relative[:, part].size
        assert meets(float(relative[:, part].mean()), se, 1.0)
    continuous = (seen * kappa)[:, 200:]
    assert not meets(float(continuous.mean()), se, 1.0)


def test_unstable_steps_are_refused():
    for step_size in (0.04, 0.05):
        with pytest.raises(InputError, match=r"expected ε·κ < 4 .* got .*; reduce the step size"):
            stationary_variance(np.array([0.1, 1.0]), nbeta=90.0, gamma=10.0, step_size=step_size)
        with pytest.raises(InputError, match="reduce the step size"):
            finite_step_llc(np.array([1.0]), nbeta=90.0, gamma=10.0, step_size=step_size)
    assert discretisation_share(4.0) == float("inf")
    assert discretisation_share(2.0) == 1.0
    assert relaxation_steps(4.0) == float("inf")
    assert relaxation_steps(2.0) == 0.0
    assert relaxation_steps(0.002) == pytest.approx(1000, rel=1e-3)


def test_an_unstable_chain_runs_away():
    """The stability limit of the theory is the sampler's own."""
    settings = Settings(nbeta=90.0, gamma=10.0, step_size=0.041, chains=2, draws=500, mode="vmap")
    stable = settings.model_copy(update={"step_size": 0.039})
    task = toys.quadratic([1.0] * 10)
    far = sample(task, settings)["draws"].dataset["distance_squared"].values
    near = sample(task, stable)["draws"].dataset["distance_squared"].values
    assert not np.isfinite(far[:, -1]).all() or far[:, -1].min() > 1e3 * near.max()
