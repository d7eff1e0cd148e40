"""Description lengths and bounds by hand."""

import math

import pytest

from bitsandnats.errors import InputError
from bitsandnats.theory import description_length as theory


def test_description_length_by_hand():
    """800 bits and a hundred fair coins: 900 bits."""
    assert theory.description_length(800, math.log(2), 100) == pytest.approx(900)
    assert theory.description_length(0, 0.0, 10) == 0


def test_optimal_tolerance_by_hand():
    """ε = 1 saves 500 bits and costs 1/ln 2 bits a unit: worth it for 100 units, not for 1,000."""
    arguments = ([0.1, 1.0], [1000.0, 500.0], [0.0, 1.0])
    assert theory.optimal_tolerance(*arguments, n=100) == (1.0, pytest.approx(500 + 100 / math.log(2)))
    assert theory.optimal_tolerance(*arguments, n=1000) == (0.1, 1000.0)


def test_bound_by_hand():
    """K = 8, n = 1000, δ = 1/e: (8 ln 2 + 2 ln 8 + 1)/2000 = (14 ln 2 + 1)/2000."""
    expected = 0.1 + 2 * math.sqrt((14 * math.log(2) + 1) / 2000)
    assert theory.finite_hypothesis_bound(0.1, 8, 1000, loss_range=2, delta=math.exp(-1)) == pytest.approx(expected)
    shorter = 0.1 + math.sqrt((8 * math.log(2) + 1) / 2000)
    found = theory.finite_hypothesis_bound(0.1, 8, 1000, delta=math.exp(-1), prefix_free=True)
    assert found == pytest.approx(shorter)


def test_where_the_bound_says_nothing():
    """At n = 2,553 the error rate's bound exceeds 1 above about 920 bytes."""
    bits = theory.largest_bits(2553)
    assert bits / 8 == pytest.approx(920, abs=10)
    assert theory.finite_hypothesis_bound(0, bits, 2553) == pytest.approx(1, abs=1e-6)


def test_smoothing_by_hand():
    """Half of the guess among four: certain and right costs −ln(1/2 + 1/8), certain and wrong −ln(1/8)."""
    assert theory.smoothed_loss(0.0, 4, 0.5) == pytest.approx(-math.log(0.625))
    assert theory.smoothed_loss(1e3, 4, 0.5) == pytest.approx(math.log(8))
    assert theory.smoothed_range(4, 0.5) == pytest.approx(math.log(5))
    assert theory.smoothed_loss(1e3, 4, 0.5) - theory.smoothed_loss(0.0, 4, 0.5) == pytest.approx(math.log(5))


def test_bound_on_the_rest_by_hand():
    """A bound of 0.5 on all ten, four of them without error: 5 errors at most among the other six."""
    assert theory.bound_on_the_rest(0.5, 0.0, 4, 10) == pytest.approx(5 / 6)


def test_prequential_by_hand():
    """8 units at the guess among 4, then 8 at one bit: 16 + 8 bits."""
    assert theory.prequential_bits([(8, math.log(4)), (8, math.log(2))]) == pytest.approx(24)
    assert theory.prequential_bits([]) == 0


def test_decay_of_a_power_law():
    tolerances = [2.0**k for k in range(-4, 3)]
    found = theory.rate_distortion_decay(tolerances, [300 * e**-0.4 for e in tolerances])
    assert found == (pytest.approx(300), pytest.approx(0.4), pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.description_length(-1, 0, 1),
        lambda: theory.optimal_tolerance([], [], [], 1),
        lambda: theory.finite_hypothesis_bound(0, 1, 10),
        lambda: theory.finite_hypothesis_bound(0, 8, 10, delta=1),
        lambda: theory.smoothed_range(4, 0),
        lambda: theory.bound_on_the_rest(1, 0, 4, 4),
        lambda: theory.prequential_bits([(0, 1.0)]),
        lambda: theory.rate_distortion_decay([1.0, 1.0], [2, 3]),
    ],
)
def test_refusals(call):
    with pytest.raises(InputError, match="expected"):
        call()
