"""Cross-moments: any grouping of parts gives what numpy makes of all draws at once, in memory that does not grow."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsandnats.errors import InputError
from bitsandnats.observables import cross_moments as room
from bitsandnats.observables.cross_moments import cross_moments, layout_of

SLICES = {"a": slice(0, 3), "b": slice(3, 7)}


def layout(block, **options):
    weights = {"a": torch.tensor([1.0, 2.0, 1.0]), "b": torch.ones(4)}
    return layout_of(SLICES, weights, [("a", "b"), ("b", "b")], block=block, **options)


def drawn(draws, seed=0):
    return np.random.default_rng(seed).standard_normal((draws, 2, 7)) + 5


def fold(reducer, draws):
    state = reducer.init()
    for value in draws:
        state = reducer.update(state, torch.from_numpy(value))
    return state


def whole(result):
    """Sum of cross-products about the mean over all blocks of each chain, and the mean."""
    count, mean = result["count"].numpy(), result["mean"].numpy()
    total = (count[..., None] * mean).sum(1) / count.sum(1)[:, None]
    away = mean - total[:, None]
    cross = result["cross0"].numpy().sum(1)
    cross = cross + np.einsum("cb,cbi,cbj->cij", count, away[..., SLICES["a"]], away[..., SLICES["b"]])
    return cross, total


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_any_grouping_of_parts(draws, block, cuts, from_the_right):
    values, reducer = drawn(draws), cross_moments(layout(block))
    places = sorted(np.random.default_rng(cuts).integers(0, draws // block + 1, size=cuts) * block)
    pieces = [fold(reducer, values[a:b]) for a, b in itertools.pairwise([0, *places, draws])]
    joined = 8 * block
    if any(b - a >= joined for a, b in itertools.pairwise([0, *places, draws])) and cuts:
        pieces = [fold(reducer, values)]  # blocks of several lengths: cut elsewhere than at their ends
    total = pieces[-1] if from_the_right else pieces[0]
    try:
        for piece in reversed(pieces[:-1]) if from_the_right else pieces[1:]:
            total = reducer.merge(piece, total) if from_the_right else reducer.merge(total, piece)
    except InputError as error:  # an earlier part that was joined in the middle of a block
        assert "multiple of" in str(error)  # noqa: PT017
        return
    cross, mean = whole(reducer.result(total))
    away = values - values.mean(0)
    expected = np.einsum("tci,tcj->cij", away[..., SLICES["a"]], away[..., SLICES["b"]])
    assert np.allclose(mean, values.mean(0))
    assert np.allclose(cross, expected, atol=1e-9)


@pytest.mark.parametrize("draws", [1, 7, 64, 65, 200, 1000])
def test_against_all_draws_at_once(draws):
    values, reducer = drawn(draws), cross_moments(layout(8, sketch=(1, 4)))
    found = reducer.result(fold(reducer, values))
    cross, _ = whole(found)
    away = values - values.mean(0)
    assert np.allclose(cross, np.einsum("tci,tcj->cij", away[..., :3], away[..., 3:]), atol=1e-8)
    assert found["count"].sum(1).tolist() == [draws, draws]
    assert np.allclose(found["sketch"].numpy(), np.swapaxes(values[..., [1, 4]], 0, 1), atol=1e-5)
    block = values[: int(found["count"][0, 0])]
    own = block - block.mean(0)
    assert np.allclose(found["squares"][:, 0], (own**2).sum(0))
    loss = own[..., :3] @ np.array([0.25, 0.25, 0.25])
    assert np.allclose(found["losses"][:, 0, 0], np.einsum("tc,tci->ci", loss, own))


def test_memory_does_not_grow_with_draws():
    reducer = cross_moments(layout(4))
    sizes = []
    state = reducer.init()
    for value in drawn(2000):
        state = reducer.update(state, torch.from_numpy(value))
        sizes.append(len(state.blocks) + len(state.buffer))
    assert max(len(b) for b in (state.blocks,)) < 2 * room.BLOCKS
    assert max(sizes) <= 2 * room.BLOCKS + 64
    assert not state.kept


def test_parts_cut_inside_a_block_are_refused():
    reducer = cross_moments(layout(5))
    with pytest.raises(InputError, match="expected parts of a multiple of 5 draws, got one with 2 more"):
        reducer.merge(fold(reducer, drawn(7)), fold(reducer, drawn(5)))


def test_pairs_must_be_followed():
    with pytest.raises(InputError, match="expected subsets among a, b, got 'c'"):
        layout_of(SLICES, {"a": torch.ones(3), "b": torch.ones(4)}, [("a", "c")], block=2)
