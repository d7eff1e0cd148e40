"""EK-FAC where its Kronecker factors are exact: all inputs alike, so that every gradient is δ ⊗ x."""

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.data import as_data
from bitsandnats.errors import InputError
from bitsandnats.gradients import ekfac
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.settings import Settings


@pytest.fixture
def alike():
    """A linear classifier of one input under several labels."""
    random = torch.Generator().manual_seed(0)
    net = torch.nn.Linear(4, 3)
    with torch.no_grad():
        for w in net.parameters():
            w.copy_(torch.empty_like(w).normal_(generator=random))
    x = torch.randn(1, 4, generator=random).repeat(30, 1)
    y = torch.randint(3, (30,), generator=random)
    return bn.Task.from_module(net, bn.losses.cross_entropy(), (x, y)), as_data((x[:2], torch.tensor([0, 2])))


def test_exact_where_all_inputs_are_alike(alike):
    pytest.importorskip("kronfluence")
    task, query = alike
    state = torch.get_rng_state()
    found = ekfac.ekfac_influence(task, task.data, query, damping=0.2, labels="given")
    assert torch.equal(torch.get_rng_state(), state)
    asked, own = (item_gradients(task, data).numpy() for data in (query, task.data))
    inverse = np.linalg.inv(own.T @ own / len(own) + 0.2 * np.eye(own.shape[1]))
    truth = -asked @ inverse @ own.T
    assert np.allclose(found.raw, truth, rtol=1e-4, atol=1e-5)
    lengths = [np.einsum("ij,jk,ik->i", g, inverse, g) for g in (asked, own)]
    assert np.allclose(found.normalised, truth / np.sqrt(np.outer(*lengths)), atol=1e-4)
    with pytest.raises(InputError, match="damping above 0"):
        ekfac.ekfac_influence(task, task.data, query, damping=0.0)


def test_beside_influence_and_refused_for_other_losses(alike):
    pytest.importorskip("kronfluence")
    task, query = alike
    settings = Settings(nbeta=5.0, gamma=5.0, step_size=0.05, chains=2, draws=8, mode="loop", batch_size=30)
    found = bn.influence(task, None, query.batch(torch.arange(2)), settings=settings, baselines=["ekfac"]).dataset
    assert found["ekfac"].shape == found["ekfac_normalised"].shape == (2, 30)
    regression = bn.Task.from_module(torch.nn.Linear(4, 1), bn.losses.gaussian(), (torch.ones(5, 4), torch.ones(5, 1)))
    with pytest.raises(InputError, match=r"a classifier under losses.cross_entropy\(\) for EK-FAC"):
        ekfac.ekfac_influence(regression, regression.data, regression.data, damping=0.1)


def test_one_sentence_where_it_is_not_installed(alike, monkeypatch):
    import sys

    task, query = alike
    monkeypatch.setitem(sys.modules, "kronfluence", None)
    with pytest.raises(InputError, match=r"run: pip install 'bitsandnats\[ekfac\]'"):
        ekfac.ekfac_influence(task, task.data, query, damping=0.1)
