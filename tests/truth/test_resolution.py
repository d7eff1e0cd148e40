"""The resolution curve against closed forms: λ and multiplicity where the curve carries them."""

import math

import numpy as np
import pytest

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.estimators.resolution import ResolutionPoint, resolution
from bitsandnats.theory.quadrature import exact_llc_of_crossing


def curve(function, nbetas, share, seed=0):
    random = np.random.default_rng(seed)
    points = []
    for nbeta in nbetas:
        value = function(nbeta)
        points.append(
            ResolutionPoint(float(nbeta), value * (1 + share * float(random.standard_normal())), share * value)
        )
    return resolution(points)


def test_a_crossing_carries_its_multiplicity():
    """w₁²w₂²: λ = ½, m = 2; the largest λ̂ of the curve is still 20 % below."""
    found = curve(lambda nbeta: exact_llc_of_crossing(nbeta=nbeta, gamma=1.0), np.geomspace(1e2, 1e6, 9), 0.005)
    assert found.multiplicity == 2
    assert abs(found.llc - 0.5) < 4 * found.se
    assert found.se < 0.05 * 0.5
    assert found.points[-1].llc < 0.46


@pytest.mark.parametrize("seed", range(5))
def test_a_regular_model_has_multiplicity_one(seed):
    found = curve(lambda nbeta: 5.0, np.geomspace(1e2, 1e5, 7), 0.001, seed)
    assert found.multiplicity == 1
    assert abs(found.llc - 5) < 4 * found.se


def test_noise_hides_the_multiplicity_and_says_so():
    found = curve(lambda nbeta: exact_llc_of_crossing(nbeta=nbeta, gamma=1.0), np.geomspace(1e3, 1e4, 4), 0.2)
    assert found.multiplicity is None
    assert abs(found.llc - 0.5) < 4 * found.se


def test_two_points_are_no_curve():
    assert math.isnan(curve(lambda nbeta: 5.0, [1e2, 1e3], 0.01).llc)


def test_sampled_curve():
    settings = bn.Settings(
        sampler="hmc(leapfrogs=8, adapt_steps=50)", step_size=0.05, gamma=0.5, nbeta=200.0, burn_in=50, draws=200,
        chains=16, mode="vmap", seed=3,
    )  # fmt: skip
    found = bn.estimate_llc(toys.quadratic([1.0] * 10), settings=settings, controls=["resolution"]).resolution
    assert found is not None
    assert [p.nbeta for p in found.points] == [200.0 / 64, 200.0 / 16, 50.0, 200.0, 800.0]
    for point in found.points:
        assert abs(point.llc - 5 * point.nbeta / (point.nbeta + 0.5)) < 4 * point.se
