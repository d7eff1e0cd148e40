"""Exact law of finite-step SGHMC on quadratics, and what gradient noise does to it.

The criterion: |estimate − truth| < 4 s.e. and s.e. < 1 % of truth. The same criterion must refuse the continuous-time
law where the two differ by more than 25 %.
"""

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.samplers.sghmc import sghmc
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.finite_step import sghmc_variance, stationary_variance

CURVATURES = np.array([0.1, 1.0])
COPIES, CHAINS = 150, 32
NBETA, GAMMA = 50.0, 10.0


def meets(value, se, truth):
    return abs(value - truth) < 4 * se and se < 0.01 * truth


def run(task, sampler, **fields):
    settings = {"nbeta": NBETA, "gamma": GAMMA, "mode": "vmap", "batch_size": 2, "seed": 6, "chains": CHAINS, **fields}
    return sample(task, Settings(sampler=sampler, **settings), observables={"weights": "moments"})


def second_moments(tree, draws, curvatures):
    """E[w²] of each chain and curvature."""
    seen = tree["observables"].dataset
    squares = seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2
    return squares.reshape(CHAINS, len(curvatures), -1).mean(2)


# εκ of the stiffest direction is 2.4, 1.5, 1.2
@pytest.mark.parametrize(("step_size", "friction", "draws"), [(0.04, 0.5, 200), (0.025, 0.1, 400), (0.02, 1.0, 200)])
def test_law(step_size, friction, draws):
    h = np.repeat(CURVATURES, COPIES)
    tree = run(
        toys.quadratic(h.tolist()), f"sghmc(friction={friction})", step_size=step_size, burn_in=100, draws=draws,
        start="noise",
    )  # fmt: skip
    options = {"nbeta": NBETA, "gamma": GAMMA, "step_size": step_size, "friction": friction}
    kappa = NBETA * CURVATURES + GAMMA
    truth = sghmc_variance(CURVATURES, **options)
    for i, own in enumerate(second_moments(tree, draws, CURVATURES).T):
        value, se = float(own.mean()), float(own.std(ddof=1)) / CHAINS**0.5
        assert meets(value, se, truth[i]), (kappa[i], value / truth[i], se / truth[i])
        if truth[i] * kappa[i] > 1.25:
            assert not meets(value, se, 1 / kappa[i])
    assert truth[-1] * kappa[-1] > 1.15
    found, exact = estimate(tree), 0.5 * NBETA * float((h * np.repeat(truth, COPIES)).sum())
    assert meets(found.llc, found.se, exact), (found.llc, found.se, exact)
    if friction < 1:  # E[r²] = 2/(2−α) / [1 − εκ/4(2−α)]
        held = 2 / (2 - friction) / (1 - step_size * kappa / 4 / (2 - friction))
        seen = tree["draws"].dataset["kinetic_temperature"].values
        assert float(seen.mean()) == pytest.approx(held.mean(), rel=0.01)


def test_settings_above_include_large_steps():
    kappa = NBETA * CURVATURES[-1] + GAMMA
    differ = [
        sghmc_variance(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=e, friction=a)[-1] * kappa
        for e, a in ((0.04, 0.5), (0.025, 0.1), (0.02, 1.0))
    ]
    assert sum(ratio > 1.25 for ratio in differ) >= 2


@pytest.mark.parametrize(("step_size", "friction"), [(0.04, 0.5), (0.01, 0.1), (0.1, 0.05)])
def test_lyapunov_equation_and_closed_form(step_size, friction):
    h = np.array([0.0, 0.3, 1.0])
    kappa = NBETA * h + GAMMA
    for noise in (0.0, 30.0):
        found = sghmc_variance(
            h, nbeta=NBETA, gamma=GAMMA, step_size=step_size, friction=friction, noise_variance=noise
        )
        closed = (1 + step_size * noise / 4 / friction) / (kappa * (1 - step_size * kappa / 4 / (2 - friction)))
        assert found == pytest.approx(closed, rel=1e-9)


def test_full_friction_is_sgld():
    law = sghmc_variance(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=0.03, friction=1.0)
    assert law == pytest.approx(stationary_variance(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=0.03), rel=1e-10)


def test_unstable_steps_are_refused():
    with pytest.raises(InputError, match=r"expected a stable step .*; reduce the step size"):
        sghmc_variance(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=4 * 1.51 / 60, friction=0.5)
    sghmc_variance(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=4 * 1.49 / 60, friction=0.5)


def means(items, copies):
    """ℓᵢ = ½‖w − xᵢ‖² at the mean of x: gradient noise of the same variance Var(x)/B everywhere."""
    x = torch.randn(items, copies, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x -= x.mean(0)
    x /= x.square().mean(0).sqrt()

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(copies, dtype=torch.float64))

        def forward(self, x):
            return x - self.w

    return bn.Task.from_module(Mean(), lambda model, batch: model(batch).square().sum(-1) / 2, x)


@pytest.mark.parametrize("known", [False, True])
def test_friction_needs_the_gradient_noise(known):
    """Noise of variance V in the gradient heats the weights by εV/4α, unless the sampler is told V."""
    batch, draws, step_size, friction = 25, 500, 0.0035, 0.1
    noise = NBETA**2 / batch
    option = f", noise_variance={noise if known else 0.0}"
    tree = run(
        means(300, 60), f"sghmc(friction={friction}{option})", step_size=step_size, burn_in=200, draws=draws,
        batch_size=batch,
    )  # fmt: skip
    options = {"nbeta": NBETA, "gamma": GAMMA, "step_size": step_size, "friction": friction}
    cold = float(sghmc_variance(np.array([1.0]), **options)[0])
    hot = float(sghmc_variance(np.array([1.0]), **options, noise_variance=noise)[0])
    assert hot / cold == pytest.approx(1 + step_size * noise / 4 / friction)
    assert hot > 1.8 * cold
    own = second_moments(tree, draws, [1.0])[:, 0]
    value, se = float(own.mean()), float(own.std(ddof=1)) / CHAINS**0.5
    assert meets(value, se, cold if known else hot), (value / cold, se / value)
    assert not meets(value, se, hot if known else cold)


def test_bad_options(wave_task):
    target = LocalPosterior(wave_task, 1.0, 1.0)
    for options in ({"friction": 0.0}, {"friction": 1.5}, {"noise_variance": -1.0}, {"noise_variance": 41.0}):
        with pytest.raises(InputError, match=r"expected 0 < friction ≤ 1, .*; change that option of sghmc"):
            sghmc(target, step_size=0.01, **options)
