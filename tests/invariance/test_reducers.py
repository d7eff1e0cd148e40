"""Reducers: merging parts in any grouping gives what one uninterrupted fold gives."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitsandnats.errors import InputError
from bitsandnats.observables import reducers

values = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 24), st.integers(1, 3), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)  # fmt: skip


def fold(reducer, draws):
    state = reducer.init()
    for value in draws:
        state = reducer.update(state, torch.from_numpy(value))
    return state


def cut(data, draws, parts, every=1):
    """Cut points at multiples of `every`."""
    places = data.draw(st.lists(st.integers(0, len(draws) // every), max_size=parts).map(sorted))
    edges = [0, *(every * p for p in places), len(draws)]
    return [draws[a:b] for a, b in itertools.pairwise(edges)]


def merged(reducer, pieces, from_the_right):
    states = [fold(reducer, piece) for piece in pieces]
    if from_the_right:
        total = states[-1]
        for state in reversed(states[:-1]):
            total = reducer.merge(state, total)
        return total
    total = states[0]
    for state in states[1:]:
        total = reducer.merge(total, state)
    return total


@settings(deadline=None, max_examples=60)
@given(values, st.data(), st.booleans())
def test_moments(draws, data, from_the_right):
    reducer = reducers.moments()
    whole = reducer.result(fold(reducer, draws))
    parts = reducer.result(merged(reducer, cut(data, draws, 4), from_the_right))
    assert np.allclose(whole["mean"], draws.mean(0), rtol=1e-10, atol=1e-9)
    if len(draws) > 1:
        assert np.allclose(whole["variance"], draws.var(0, ddof=1), rtol=1e-8, atol=1e-7)
    else:
        assert (whole["variance"] == 0).all()
    assert torch.allclose(parts["mean"], whole["mean"], rtol=1e-10, atol=1e-9)
    assert torch.allclose(parts["variance"], whole["variance"], rtol=1e-8, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(values, st.data(), st.booleans())
def test_trace(draws, data, from_the_right):
    reducer = reducers.trace()
    parts = reducer.result(merged(reducer, cut(data, draws, 4), from_the_right))
    assert np.array_equal(parts["trace"].numpy(), np.moveaxis(draws, 0, 1))


@settings(deadline=None, max_examples=60)
@given(values, st.data(), st.booleans(), st.integers(1, 5))
def test_thin(draws, data, from_the_right, every):
    reducer = reducers.thin(every)
    if len(draws) < every:
        return
    expected = np.moveaxis(draws[every - 1 :: every], 0, 1)
    assert np.array_equal(reducer.result(fold(reducer, draws))["trace"].numpy(), expected)
    parts = reducer.result(merged(reducer, cut(data, draws, 4, every), from_the_right))
    assert np.array_equal(parts["trace"].numpy(), expected)


def test_thin_refuses_parts_cut_elsewhere():
    reducer = reducers.thin(3)
    draws = np.zeros((4, 1, 1))
    with pytest.raises(InputError, match="expected parts of a multiple of 3 draws, got one of 4"):
        reducer.merge(fold(reducer, draws), fold(reducer, draws))


def test_a_fold_keeps_copies():
    """What it kept does not change with the tensor that was shown."""
    value = torch.zeros(2, 1)
    for reducer in (reducers.trace(), reducers.thin(1), reducers.moments()):
        state = reducer.update(reducer.init(), value.zero_())
        value.fill_(5)
        result = reducer.result(state)
        assert float(next(iter(result.values())).abs().max()) == 0


@pytest.mark.parametrize("kind", ["mean", "thin", "thin()", "thin(x)", "thin(-1)", "thin(0)", ""])
def test_unknown_reducers(kind):
    with pytest.raises(InputError, match="expected"):
        reducers.build(kind)


def test_build():
    assert set(reducers.build("moments").result(fold(reducers.build("moments"), np.ones((3, 1, 1))))) == {
        "mean",
        "variance",
    }
    assert reducers.build("thin(2)").result(fold(reducers.thin(2), np.ones((5, 1, 1))))["trace"].shape == (1, 2, 1)
