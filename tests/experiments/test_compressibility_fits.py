"""Fits beside their controls by hand, bootstrap intervals, and the answer drawn from them."""

import numpy as np
import pytest

from bitsandnats.estimators.fits import partial_correlation
from bitsandnats.experiments.compressibility.findings import beyond, verdict
from bitsandnats.experiments.compressibility.fits import partial_given, series_fits

STEPS = np.arange(1.0, 11.0)


def columns(llc, noise=None, loss=None):
    random = np.random.default_rng(5)
    noise = random.normal(size=len(STEPS)) if noise is None else noise
    return {"llc": llc, "noise_only": noise, "loss": -STEPS if loss is None else loss, "log_step": STEPS}


def test_a_line_is_found_with_its_sign_and_an_interval_around_it():
    random = np.random.default_rng(0)
    x = random.normal(size=10)
    found = series_fits(columns(x), 3.0 + 2.0 * x + 0.1 * random.normal(size=10), 0)
    llc = found["llc"]
    assert llc.slope == pytest.approx(2.0, abs=0.2)
    assert llc.intercept == pytest.approx(3.0, abs=0.2)
    assert llc.r2 > 0.98
    assert 0.9 < llc.r2_interval[0] <= llc.r2 <= llc.r2_interval[1] <= 1.0
    assert llc.partial > 0.95
    assert llc.partial_interval[0] > 0.8
    assert llc.gain is None
    for name in ("noise_only", "loss", "log_step"):
        assert found[name].gain == pytest.approx(llc.r2 - found[name].r2)
        assert found[name].gain_interval[0] < found[name].gain
        assert found[name].points == 10
    assert found["log_step"].partial is None
    assert found["loss"].slope == pytest.approx(-found["log_step"].slope)


def test_resamples_are_the_same_for_the_same_seed():
    x = np.random.default_rng(1).normal(size=10)
    first, again, other = (series_fits(columns(x), x**3, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["llc"].r2_interval != other["llc"].r2_interval


def test_intervals_of_unrelated_quantities_reach_far_and_include_no_gain():
    random = np.random.default_rng(2)
    found = series_fits(columns(random.normal(size=10)), random.normal(size=10), 0)
    low, high = found["llc"].partial_interval
    assert low < 0 < high
    low, high = found["noise_only"].gain_interval
    assert low < 0 < high


def test_too_few_checkpoints_or_a_constant_level_have_no_fit():
    few = {name: x[:3] for name, x in columns(STEPS**2).items()}
    assert series_fits(few, STEPS[:3], 0) == {}
    assert series_fits(columns(STEPS**2), np.ones(10), 0) == {}
    assert "loss" not in series_fits(columns(STEPS**2, loss=np.ones(10)), STEPS, 0)


def test_partial_correlation_given_one_variable_is_that_of_the_estimators_and_given_three_takes_all_of_them():
    random = np.random.default_rng(3)
    x, y, a, b, c = random.normal(size=(5, 12))
    assert partial_given(x, y, [a]) == pytest.approx(partial_correlation(x, y, a))
    hidden = 2 * a - b + 0.5 * c
    both = partial_given(x + hidden, x - 3 * hidden, [a, b, c])
    assert both == pytest.approx(1.0)
    assert partial_given(hidden, y, [a, b, c]) is None
    assert partial_given(x[:6], y[:6], [a[:6], b[:6], c[:6]]) is None


def rows(fits, settings="local", part="late"):
    place = {"suite": "s", "range": part, "settings": settings, "scheme": "quantize", "tolerance": 0.5}
    return [{**place, "response": "level", "predictor": k, **fit._asdict()} for k, fit in fits.items()]


def test_the_answer_needs_every_control_to_be_left_behind():
    random = np.random.default_rng(4)
    x = random.normal(size=10)
    y = x + 0.05 * random.normal(size=10)
    good = rows(series_fits(columns(x), y, 0))
    assert beyond({row["predictor"]: row for row in good})
    assert verdict(good, "quantize", 0.5)["status"] == "beyond the controls"
    follows = rows(series_fits(columns(x, noise=x + 0.01 * random.normal(size=10)), y, 0))
    assert not beyond({row["predictor"]: row for row in follows})
    assert verdict(follows, "quantize", 0.5)["status"] == "not beyond the controls"
    falling = rows(series_fits(columns(-x), y, 0))
    assert not beyond({row["predictor"]: row for row in falling})
    mixed = [*good, *rows(series_fits(columns(-x), y, 0), part="full")]
    said = verdict(mixed, "quantize", 0.5)
    assert said["status"] == "in part"
    assert "in 1 of 2 combinations of suite and range" in said["text"]
    assert verdict([], "quantize", 0.5)["status"] == "not judged"
