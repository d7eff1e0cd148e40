"""What every observable in the registry must do."""

import numpy as np
import pytest
import torch

from bitsandnats import observables
from bitsandnats.errors import InputError
from bitsandnats.observables import reducers
from bitsandnats.run import sample
from bitsandnats.settings import Settings

NAMES = list(observables.registry.entries())
FIELDS = {"nbeta": 20.0, "gamma": 10.0, "step_size": 1e-4, "batch_size": 16, "chains": 3, "draws": 9, "burn_in": 4}
FIELDS |= {"mode": "vmap"}  # not by timing: other modes, other last bits


@pytest.fixture
def position(wave_task):
    g = torch.Generator().manual_seed(0)
    return {k: torch.randn(3, *w.shape, generator=g, dtype=w.dtype) for k, w in wave_task.center.items()}


@pytest.mark.parametrize("name", NAMES)
def test_leading_axis_is_the_chain(name, wave_task, position):
    look = observables.registry.build(name)
    copied = {k: w.clone() for k, w in position.items()}
    value = look(wave_task.center, position)
    assert value.shape[0] == 3
    assert value.is_floating_point()
    assert all(torch.equal(w, copied[k]) for k, w in position.items())
    for c in range(3):  # chains do not mix
        alone = look(wave_task.center, {k: w[c : c + 1] for k, w in position.items()})
        assert torch.allclose(alone[0], value[c], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_tag_names_a_reducer(name, wave_task):
    (kind,) = observables.registry.entry(name).tags
    reducers.build(kind)
    tree = sample(wave_task, Settings(**FIELDS), observables={name: kind})
    assert any(key.startswith(f"{name}_") for key in tree["observables"].dataset)


def test_distance_is_the_recorded_one_and_seen_before_the_step(wave_task):
    tree = sample(wave_task, Settings(**FIELDS), observables={"distance": "trace", "weights": "trace"})
    seen = tree["observables"].dataset
    squares = tree["draws"].dataset["distance_squared"].values
    assert seen["distance_trace"].dims == ("chain", "draw")
    assert np.allclose(seen["distance_trace"].values ** 2, squares, rtol=1e-9)
    assert np.allclose((seen["weights_trace"].values ** 2).sum(-1), squares, rtol=1e-9)


def test_moments_are_those_of_the_trace(wave_task):
    trace = sample(wave_task, Settings(**FIELDS), observables={"weights": "trace"})["observables"].dataset
    moments = sample(wave_task, Settings(**FIELDS), observables={"weights": "moments"})["observables"].dataset
    thin = sample(wave_task, Settings(**FIELDS), observables={"weights": "thin(4)"})["observables"].dataset
    values = trace["weights_trace"].values
    assert np.allclose(moments["weights_mean"].values, values.mean(1), rtol=1e-10, atol=1e-14)
    assert np.allclose(moments["weights_variance"].values, values.var(1, ddof=1), rtol=1e-8)
    assert np.array_equal(thin["weights_trace"].values, values[:, 3::4])


def test_unknown_names_are_refused(wave_task):
    with pytest.raises(InputError, match="did you mean 'distance'"):
        sample(wave_task, Settings(**FIELDS), observables={"distanse": "trace"})
    with pytest.raises(InputError, match="expected reducer trace, moments or thin"):
        sample(wave_task, Settings(**FIELDS), observables={"distance": "median"})
