"""SGNHT on quadratics: its law at a finite and at a small step, and the friction its thermostat finds.

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
from bitsandnats.run import sample
from bitsandnats.samplers.sgnht import sgnht
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.finite_step import sghmc_variance, sgnht_law

CURVATURES = np.array([0.1, 1.0])
COPIES, CHAINS = 400, 16
NBETA, GAMMA = 50.0, 10.0
KAPPA = NBETA * CURVATURES + GAMMA


def meets(value, se, truth):
    return abs(value - truth) < 4 * se and se < 0.01 * truth


def run(task, friction, **fields):
    settings = {"nbeta": NBETA, "gamma": GAMMA, "mode": "vmap", "batch_size": 2, "seed": 8, "chains": CHAINS, **fields}
    return sample(task, Settings(sampler=f"sgnht(friction={friction})", **settings), observables={"weights": "moments"})


def second_moments(tree, draws, curvatures):
    """E[w²] of each chain and curvature."""
    seen = tree["observables"].dataset
    squares = seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2
    return squares.reshape(CHAINS, len(curvatures), -1).mean(2)


# εκ of the stiffest direction is 0.12, 2.4, 3; the last two differ from continuous time by more than 25 %
@pytest.mark.parametrize(
    ("step_size", "friction", "burn_in", "draws", "differs"),
    [(0.002, 0.02, 200, 700, False), (0.04, 0.2, 150, 350, True), (0.05, 0.1, 150, 350, True)],
)
def test_law_and_thermostat(step_size, friction, burn_in, draws, differs):
    h = np.repeat(CURVATURES, COPIES)
    tree = run(toys.quadratic(h.tolist()), friction, step_size=step_size, burn_in=burn_in, draws=draws, start="noise")
    options = {"nbeta": NBETA, "gamma": GAMMA, "step_size": step_size, "friction": friction}
    truth, zeta = sgnht_law(h, **options)
    truth = truth[[0, -1]]
    refused = 0
    for i, own in enumerate(second_moments(tree, draws, CURVATURES).T):
        value, se = float(own.mean()), float(own.std(ddof=1)) / CHAINS**0.5
        assert meets(value, se, truth[i]), (KAPPA[i], value / truth[i], se / truth[i])
        if abs(truth[i] * KAPPA[i] - 1) > 0.25:
            assert not meets(value, se, 1 / KAPPA[i])
            refused += 1
        elif not differs:
            assert value * KAPPA[i] == pytest.approx(1, abs=0.03)
    assert (refused > 0) == differs
    draws_ = tree["draws"].dataset
    assert float(draws_["thermostat"].mean()) == pytest.approx(zeta, rel=0.02)
    assert float(draws_["kinetic_temperature"].mean()) == pytest.approx(1, abs=0.01)
    if not differs:
        assert zeta == pytest.approx(1 - (1 - 2 * friction) ** 0.5, rel=0.1)


def means(items, copies, variance):
    """ℓᵢ = ½‖w − xᵢ‖² at the mean of x: gradient noise of the same variance Var(x)/B everywhere."""
    x = torch.randn(items, copies, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x -= x.mean(0)
    x *= (variance / x.square().mean(0)).sqrt()

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(copies, dtype=torch.float64))

        def forward(self, x):
            return x - self.w

    return bn.Task.from_module(Mean(), lambda model, batch: model(batch).square().sum(-1) / 2, x)


def test_the_thermostat_takes_up_gradient_noise():
    """At a friction where SGHMC would be heated by 60 %: ζ settles at α + h²V/2 instead."""
    batch, draws, step_size, friction = 4, 600, 0.002, 0.05
    noise = NBETA**2 * 0.1 / batch
    tree = run(means(1200, COPIES, 0.1), friction, step_size=step_size, burn_in=300, draws=draws, batch_size=batch)
    options = {"nbeta": NBETA, "gamma": GAMMA, "step_size": step_size, "friction": friction, "noise_variance": noise}
    truth, zeta = sgnht_law(np.ones(1), **options)
    assert sghmc_variance(np.ones(1), **options)[0] * KAPPA[1] > 1.6
    assert truth[0] * KAPPA[1] == pytest.approx(1, abs=0.06)
    own = second_moments(tree, draws, [1.0])[:, 0]
    value, se = float(own.mean()), float(own.std(ddof=1)) / CHAINS**0.5
    assert meets(value, se, truth[0]), (value / truth[0], se / truth[0])
    seen = float(tree["draws"].dataset["thermostat"].mean())
    assert seen == pytest.approx(zeta, rel=0.03)
    assert seen == pytest.approx(friction + step_size / 4 * noise, rel=0.1)


def test_law_without_a_force():
    """A friction alone: ζ(2−ζ) = 2α."""
    for friction in (0.01, 0.1, 0.3):
        variance, zeta = sgnht_law(np.array([1e-9]), nbeta=1.0, gamma=1e-6, step_size=1e-3, friction=friction)
        assert zeta == pytest.approx(1 - (1 - 2 * friction) ** 0.5, rel=1e-4)
        assert float(variance[0]) * 1e-6 == pytest.approx(1 - zeta / 2, rel=1e-2)


def test_a_temperature_that_no_friction_keeps():
    with pytest.raises(InputError, match=r"expected a friction that keeps the temperature, got .*; reduce the step"):
        sgnht_law(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=0.04, friction=0.9)
    with pytest.raises(InputError, match="reduce the step size"):
        sgnht_law(CURVATURES, nbeta=NBETA, gamma=GAMMA, step_size=0.2, friction=0.1)


def test_bad_options(wave_task):
    for friction in (0.0, -0.1, 1.1):
        with pytest.raises(InputError, match=r"expected 0 < friction ≤ 1, .*; change that option of sgnht"):
            sgnht(LocalPosterior(wave_task, 1.0, 1.0), step_size=0.01, friction=friction)
