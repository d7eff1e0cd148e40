"""Traced evaluations are those of the functions themselves, bit for bit."""

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior, graphs

OFTEN = 4


def draws(task, sampler, monkeypatch, often):
    monkeypatch.setattr(graphs, "_OFTEN", often)
    settings = Settings(
        sampler=sampler,
        step_size=1e-3,
        gamma=1.0,
        nbeta=20.0,
        batch_size=64,
        chains=3,
        draws=15,
        burn_in=3,
        mode="vmap",
    )
    return sample(task, settings)


@pytest.mark.parametrize("sampler", ["sgld", "rmsprop_sgld", "hmc(leapfrogs=3)"])
def test_a_run_is_the_same_with_and_without_traces(wave_task, sampler, monkeypatch):
    plain = draws(wave_task, sampler, monkeypatch, 10**9)
    traced = draws(wave_task, sampler, monkeypatch, OFTEN)
    assert plain["draws"].dataset.equals(traced["draws"].dataset)


def evaluations(task, batch, monkeypatch):
    monkeypatch.setattr(graphs, "_OFTEN", OFTEN)
    target = LocalPosterior(task, 1.0, 1.0, "vmap")
    generator = torch.Generator().manual_seed(0)
    for _ in range(3 * OFTEN):
        position = {
            k: torch.stack([w + 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for _ in range(2)])
            for k, w in task.center.items()
        }
        found = target.evaluate(position, batch)
        afresh = LocalPosterior(task, 1.0, 1.0, "vmap").evaluate(position, batch)
        assert torch.equal(found.item_losses, afresh.item_losses)
        assert all(torch.equal(found.gradient[k], afresh.gradient[k]) for k in position)
    return list(target._graphs._traced.values())


def net(loss):
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2)).double()
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return bn.Task.from_module(model, loss, (x, (x.sum(1) > 0).long()))


def test_a_network_is_traced(monkeypatch):
    task = net(bn.losses.cross_entropy())
    assert all(evaluations(task, None, monkeypatch))
    assert all(evaluations(task, task.batch(torch.arange(16).view(2, 8)), monkeypatch))


def test_a_loss_that_branches_on_its_data_is_run_by_itself(monkeypatch):
    def loss(model, batch):
        inputs, labels = batch
        scale = 2.0 if inputs.abs().max() > 100 else 1.0
        return scale * nn.functional.cross_entropy(model(inputs), labels, reduction="none")

    assert evaluations(net(loss), None, monkeypatch) == [None]


def test_shapes_are_traced_apart(monkeypatch):
    monkeypatch.setattr(graphs, "_OFTEN", 2)
    known = graphs.Graphs()
    for size in (3, 3, 3, 4, 4, 4, 3):
        x = torch.arange(float(size))
        assert torch.equal(known.run(lambda w, b: (w[0] * b,), [x], x)[0], x * x)
    assert len(known._traced) == 2
