"""How λ̂ depends on γ and nβ, measured from one run, against the derivative of the closed form."""

import numpy as np
import pytest

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.theory.quadrature import exact_llc_of_crossing

HMC = {"sampler": "hmc(leapfrogs=6, adapt_steps=60)", "chains": 32, "burn_in": 60, "mode": "vmap", "seed": 5}


def meets(found, name, truth):
    value, se = found.figures[name], found.figures[f"{name}_se"]
    return abs(value - truth) < 4 * se and se < 0.05


@pytest.mark.parametrize("gamma", [2.0, 60.0, 600.0])
def test_quadratic(gamma):
    h, nbeta = np.array([1.0, 0.3, 2.0] * 10), 100.0
    x = nbeta * h / (nbeta * h + gamma)
    settings = bn.Settings(step_size=0.07, gamma=gamma, nbeta=nbeta, draws=200, **HMC)
    found = estimate(sample(toys.quadratic(list(h)), settings))
    assert abs(found.llc - x.sum() / 2) < 4 * found.se
    assert meets(found, "gamma_slope", -(x * (1 - x)).sum() / x.sum())
    assert meets(found, "nbeta_slope", (x * (1 - x)).sum() / x.sum())


def test_flat_directions_add_no_noise():
    """A thousand of them beside ten curved ones."""
    settings = bn.Settings(step_size=0.07, gamma=10.0, nbeta=100.0, draws=400, **HMC)
    found = estimate(sample(toys.quadratic([1.0] * 10 + [0.0] * 1000), settings))
    x = 100 / 110
    assert meets(found, "gamma_slope", -(1 - x))


def test_crossing():
    """w₁²w₂²: no power law, λ̂ keeps depending on both."""
    nbeta, gamma, step = 300.0, 2.0, 1e-3
    exact = {
        "gamma_slope": [exact_llc_of_crossing(nbeta=nbeta, gamma=gamma * (1 + s * step)) for s in (-1, 1)],
        "nbeta_slope": [exact_llc_of_crossing(nbeta=nbeta * (1 + s * step), gamma=gamma) for s in (-1, 1)],
    }
    truth = exact_llc_of_crossing(nbeta=nbeta, gamma=gamma)
    settings = bn.Settings(step_size=0.1, gamma=gamma, nbeta=nbeta, draws=1200, **HMC)
    found = estimate(sample(toys.normal_crossing([1, 1]), settings))
    assert abs(found.llc - truth) < 4 * found.se
    for name, (low, high) in exact.items():
        assert meets(found, name, (high - low) / (2 * step) / truth), name


def test_mini_batches_use_the_distance(wave_task):
    """Losses of small batches share their luck with the gradient: nothing is said of nβ then."""
    settings = bn.Settings(step_size=1e-5, gamma=100.0, nbeta=20.0, batch_size=16, draws=50, chains=2)
    figures = estimate(sample(wave_task, settings)).figures
    assert "gamma_slope" in figures
    assert "nbeta_slope" not in figures
