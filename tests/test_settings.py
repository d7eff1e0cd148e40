import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bitsandnats.errors import InputError
from bitsandnats.recipes.published import published_settings
from bitsandnats.settings import Settings, changed, settings_from, to_toml

NEEDED = {"step_size": 1e-4, "gamma": 10.0, "nbeta": 30.0}


def test_frozen_and_equal_by_value():
    a, b = Settings(**NEEDED), settings_from(NEEDED)
    assert a == b
    with pytest.raises(ValidationError):
        a.gamma = 5.0
    assert a.steps == a.burn_in + a.draws


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step_size", 0.0), ("step_size", -1e-4), ("step_size", float("nan")), ("step_size", float("inf")),
        ("gamma", -1.0), ("gamma", float("inf")), ("nbeta", 0.0), ("nbeta", -3.0), ("nbeta", float("nan")),
        ("batch_size", 0), ("batch_size", 2.5), ("chains", 0), ("chains", -1), ("draws", 0), ("burn_in", -1),
        ("seed", -1), ("start", "middle"), ("mode", "fast"), ("baseline", "some"), ("gamma", "strong"), ("colour", 1),
    ],
)  # fmt: skip
def test_out_of_range(field, value):
    with pytest.raises(InputError, match=rf"expected {field}: .*, got {field} = .*; change {field}"):
        settings_from({**NEEDED, field: value})


@pytest.mark.parametrize("field", list(NEEDED))
def test_missing(field):
    with pytest.raises(InputError, match=rf"expected {field}: .*, got nothing; change {field}"):
        settings_from({k: v for k, v in NEEDED.items() if k != field})


def test_changed_validates_and_ignores_none():
    settings = settings_from({**NEEDED, "reasons": {"gamma": "because"}})
    new = changed(settings, {"gamma": 5.0, "nbeta": None})
    assert (new.gamma, new.nbeta, settings.gamma) == (5.0, 30.0, 10.0)
    with pytest.raises(InputError, match="gamma"):
        changed(settings, {"gamma": -5.0})


def test_values_leave_out_reasons():
    settings = settings_from({**NEEDED, "reasons": {"gamma": "because"}})
    assert "reasons" not in settings.values()
    assert settings_from(settings.values()) == Settings(**NEEDED)


def test_published():
    assert published_settings("local", 0) is None
    settings = published_settings("2510.12077", 3)
    assert (settings.gamma, settings.nbeta, settings.step_size, settings.seed) == (300.0, 30.0, 1e-3, 3)
    assert settings.sampler == "rmsprop_sgld"
    with pytest.raises(InputError, match=r"expected recipe local or 2510.12077, got 'paper'"):
        published_settings("paper", 0)


# --- TOML

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), text)
tables = st.recursive(
    st.dictionaries(text, st.one_of(scalars, st.lists(scalars, max_size=4)), max_size=4),
    lambda inner: st.dictionaries(text, st.one_of(scalars, inner), max_size=4),
    max_leaves=8,
)


@hypothesis_settings(deadline=None, max_examples=200)
@given(tables)
def test_toml_round_trip(table):
    assert tomllib.loads(to_toml(table)) == table


def test_toml_leaves_out_none():
    assert tomllib.loads(to_toml({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


def test_toml_of_settings():
    settings = Settings(**NEEDED, sampler="rmsprop_sgld(initial='one')", reasons={"γ": 'said "so"\n'})
    assert tomllib.loads(to_toml(settings.model_dump())) == settings.model_dump()


@pytest.mark.parametrize("value", [np.float64(0.5), np.float32(0.5), np.int64(5), np.bool_(True)])
def test_toml_of_numpy_numbers(value):
    """What users compute settings with."""
    assert tomllib.loads(to_toml({"a": value, "b": [value]})) == {"a": value.item(), "b": [value.item()]}
