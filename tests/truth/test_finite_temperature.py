"""λ̂(nβ, γ) by integrals in logarithms: against closed forms, finer sums, and grids in the weights themselves."""

import numpy as np
import pytest
from scipy import integrate

from bitsandnats.errors import InputError
from bitsandnats.theory.finite_temperature import (
    conditional_llc,
    lengths_llc,
    product_llc,
    quadratic_llc,
    quartic_llc,
    two_unit_llc,
)
from bitsandnats.theory.quadrature import exact_llc, exact_llc_of_crossing

CORNERS = [(30.0, 0.1), (30.0, 1e3), (2000.0, 1.0), (2000.0, 50.0), (1e5, 0.1), (1e5, 1e3)]


@pytest.mark.parametrize(("nbeta", "gamma"), CORNERS)
def test_closed_forms(nbeta, gamma):
    at = {"nbeta": nbeta, "gamma": gamma}
    assert lengths_llc(lambda r: 0.5 * r**2, (3,), **at) == pytest.approx(quadratic_llc(np.ones(3), **at), rel=1e-12)
    assert lengths_llc(lambda r: r**4, (1,), **at) == pytest.approx(quartic_llc(**at), rel=1e-8)
    crossing = conditional_llc(lambda r: 2 * r**2, 1, (1,), **at)
    assert lengths_llc(lambda x, y: x**2 * y**2, (1, 1), **at) == pytest.approx(crossing, rel=1e-10)
    assert crossing == pytest.approx(exact_llc_of_crossing(**at), rel=1e-6)


@pytest.mark.parametrize(("nbeta", "gamma"), CORNERS)
def test_finer_sums_change_nothing(nbeta, gamma):
    at = {"nbeta": nbeta, "gamma": gamma}

    def triple(x, y):
        return 2 * x**2 * y**2

    value = conditional_llc(triple, 1, (1, 1), **at)
    assert conditional_llc(triple, 1, (1, 1), step=0.053, **at) == pytest.approx(value, rel=1e-9)
    assert lengths_llc(lambda x, y, z: x**2 * y**2 * z**2, (1, 1, 1), step=0.4, **at) == pytest.approx(value, rel=2e-3)
    uneven = lengths_llc(lambda x, y: x**2 * y**4, (1, 1), **at)
    assert lengths_llc(lambda x, y: x**2 * y**4, (1, 1), step=0.05, **at) == pytest.approx(uneven, rel=1e-9)
    assert conditional_llc(lambda y: 2 * y**4, 1, (1,), **at) == pytest.approx(uneven, rel=1e-9)
    tanh = conditional_llc(lambda b: np.tanh(2 * b) ** 2, 1, (1,), **at)
    assert conditional_llc(lambda b: np.tanh(2 * b) ** 2, 1, (1,), step=0.007, **at) == pytest.approx(tanh, rel=1e-9)
    assert two_unit_llc(3, 3, step=0.07, **at) == pytest.approx(two_unit_llc(3, 3, **at), rel=1e-9)


@pytest.mark.parametrize(("nbeta", "gamma"), [(30.0, 1.0), (100.0, 300.0)])
def test_grids_in_the_weights(nbeta, gamma):
    at = {"nbeta": nbeta, "gamma": gamma}
    both = exact_llc(lambda x, y: 0.5 * ((1 + x) * (1 + y) - 1) ** 2, 2, **at)
    assert product_llc(**at) == pytest.approx(both, rel=1e-8)
    neuron = exact_llc(lambda a, b: 0.5 * a**2 * np.tanh(b) ** 2, 2, **at)
    assert conditional_llc(lambda b: np.tanh(b) ** 2, 1, (1,), **at) == pytest.approx(neuron, rel=1e-6)


def test_the_other_branch_of_a_product_does_not_count():
    """w* = (1, 1), and a, b < 0 realises the same map: at γ = 1 with a share of e^{−4}, near enough the same λ̂."""
    near = [product_llc(nbeta=1e4, gamma=g) for g in (1.0, 10.0, 100.0)]
    assert near == pytest.approx([0.5] * 3, abs=0.02)


@pytest.mark.parametrize(("inputs", "outputs", "nbeta", "gamma"), [(2, 3, 20.0, 3.0), (3, 4, 50.0, 1.0)])
def test_two_hidden_units_by_adaptive_integration(inputs, outputs, nbeta, gamma):
    def density(small, large):
        kappa = (nbeta * large**2 + gamma) * (nbeta * small**2 + gamma)
        volume = (large**2 - small**2) * (large * small) ** (inputs - 2)
        return volume * kappa ** (-outputs / 2) * np.exp(-gamma / 2 * (small**2 + large**2))

    def seen(small, large):
        return outputs / 2 * sum(nbeta * s**2 / (nbeta * s**2 + gamma) for s in (small, large)) * density(small, large)

    reach = 9 / gamma**0.5
    total = integrate.dblquad(density, 0, reach, 0, lambda large: large)[0]
    value = integrate.dblquad(seen, 0, reach, 0, lambda large: large)[0] / total
    assert two_unit_llc(inputs, outputs, nbeta=nbeta, gamma=gamma) == pytest.approx(value, rel=1e-6)


def test_two_hidden_units_by_weights_drawn_from_the_pull():
    random = np.random.default_rng(0)
    nbeta, gamma, draws = 5.0, 3.0, 200_000
    first = random.standard_normal((draws, 2, 3)) / gamma**0.5
    second = random.standard_normal((draws, 2, 2)) / gamma**0.5
    loss = 0.5 * ((second @ first) ** 2).sum((1, 2))
    weight = np.exp(-nbeta * loss)
    value = nbeta * (loss * weight).sum() / weight.sum()
    se = nbeta * np.sqrt((weight**2 * (loss - value / nbeta) ** 2).sum()) / weight.sum()
    assert se < 0.01 * value
    assert abs(two_unit_llc(3, 2, nbeta=nbeta, gamma=gamma) - value) < 4 * se


def test_groups_that_cannot_be_integrated_are_refused():
    with pytest.raises(InputError, match="one to three groups"):
        lengths_llc(lambda *r: sum(r), (1, 1, 1, 1), nbeta=1.0, gamma=1.0)
    with pytest.raises(InputError, match="two inputs"):
        two_unit_llc(1, 3, nbeta=1.0, gamma=1.0)
