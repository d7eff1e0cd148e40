"""What cannot be attributed is refused in one sentence, before anything is sampled."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.errors import BitsAndNatsError, DataError, InputError, StoreError
from bitsandnats.observables.subsets import Subset, as_subset
from bitsandnats.recipes.attribution import observation as room
from bitsandnats.settings import Settings

FIELDS = {"nbeta": 2.0, "gamma": 2.0, "step_size": 0.1, "batch_size": 4, "chains": 2, "draws": 8, "mode": "loop"}


@pytest.fixture
def task():
    return toys.item_quadratics(np.stack([np.eye(2)] * 4), np.arange(8.0).reshape(4, 2))


@pytest.fixture
def sequences():
    """Two outputs an item, the second one of the last item padding."""
    x, y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 2)
    mask = torch.ones(4, 2)
    mask[3, 1] = 0

    def loss(model, batch):
        return (model(batch["x"]) - batch["y"]).square()

    data = {"x": x, "y": y, "mask": mask}
    return bn.Task.from_module(nn.Linear(3, 2).eval(), loss, data, weight=masked)


def masked(batch: Any) -> torch.Tensor:
    return batch["mask"]


def too_long(batch: Any) -> torch.Tensor:
    return torch.ones(len(batch["x"]), 3)


def refused(kind, said, call):
    with pytest.raises(kind, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BitsAndNatsError)


def settings(**changes):
    return Settings(**{**FIELDS, **changes})


def test_units(task, sequences):
    other = toys.item_quadratics([np.eye(3)], [[0.0] * 3])
    refused(InputError, "whose losses have one unit, got train in nats a sample, query in nats a token",
            lambda: bn.influence(task, None, sequences))  # fmt: skip
    refused(InputError, "expected a task for query at the same weights", lambda: bn.influence(task, None, other))


def test_queries_and_items(task):
    refused(InputError, "expected queries, got none", lambda: bn.influence(task))
    refused(InputError, "indices from 0 to 3, the items of the data, got 4", lambda: bn.influence(task, None, [4]))
    refused(InputError, "at least 2 inputs, got 1", lambda: bn.loss_kernel(task, [0]))
    refused(InputError, "2 labels for train|4 labels for train",
            lambda: bn.influence(task, None, [0], settings=settings(), train_labels=[1, 2]))  # fmt: skip


def test_form(task):
    refused(DataError, "query of the form that the task's data have, tuple of", lambda: bn.influence(
        task, None, torch.zeros(3, 2), settings=settings()))  # fmt: skip
    wrong = toys.items(np.stack([np.eye(3)] * 2), np.zeros((2, 3)))
    refused(DataError, "items of query that the task's loss can take",
            lambda: bn.influence(task, None, wrong, settings=settings()))  # fmt: skip


def test_tokens_where_there_are_none(task):
    refused(InputError, "losses \\[sample, token\\] for tokens of train, got one loss a sample",
            lambda: bn.influence(task, None, [0], tokens="train", settings=settings()))  # fmt: skip


def test_padding(sequences):
    named = Subset(sequences.data, "token", ((0, 0), (3, 1)))
    refused(DataError, r"positions .* of query that have a loss, got \(3, 1\), which is padding",
            lambda: bn.influence(sequences, None, named, settings=settings()))  # fmt: skip
    outside = Subset(sequences.data, "token", ((0, 2),))
    refused(DataError, r"got \(0, 2\), which is outside",
            lambda: bn.influence(sequences, None, outside, settings=settings()))  # fmt: skip
    import dataclasses

    misaligned = dataclasses.replace(sequences, weight=too_long)
    refused(DataError, r"weights of the shape of the losses of train, \(4, 2\), got \(4, 3\)", lambda: bn.observe(
        misaligned, {"train": as_subset(misaligned, range(4))}, settings=settings()))  # fmt: skip


def test_losses_that_never_move():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x * self.w[0]

    task = bn.Task.from_module(Half(), bn.losses.gaussian(), (torch.ones(4, 1), torch.ones(4, 1)))
    still = (torch.zeros(2, 1), torch.ones(2, 1))  # w does not reach them
    refused(DataError, "expected losses of query that vary over the draws, got variance 0 in every row",
            lambda: bn.influence(task, None, still, settings=settings()))  # fmt: skip
    mixed = (torch.tensor([[0.0], [1.0]]), torch.ones(2, 1))
    found = bn.influence(task, None, mixed, settings=settings(draws=200))
    assert found.reliability.still == (0,)
    assert "1 of 2 queries stand still" in str(found.verdict)
    assert (found.normalised[0] == 0).all()


def test_rank(task):
    kernel = bn.loss_kernel(task, settings=settings(draws=2, chains=1))
    assert kernel.features(1).shape == (4, 1)
    refused(InputError, "expected a rank from 1 to 1, which draws less chains allow, got 3", lambda: kernel.features(3))
    assert kernel.verdict.status == "not usable"


def test_draws_and_rules(task):
    refused(InputError, "at least 2 draws a chain, got 1", lambda: bn.loss_kernel(task, settings=settings(draws=1)))
    refused(InputError, "at least 2 looks", lambda: bn.loss_kernel(task, settings=settings(), looks=1))
    refused(InputError, "one rule for when to stop", lambda: bn.loss_kernel(task, draws=5, target_reliability=0.9))
    refused(InputError, "target reliability between 0 and 1", lambda: bn.loss_kernel(task, target_reliability=2.0))


def test_components(task):
    refused(InputError, "or a pattern over its parameters, got 'layer.9'", lambda: bn.observe(
        task, {"train": range(4)}, components=["layer.9"], settings=settings()))  # fmt: skip


def test_traces_that_do_not_fit(task, monkeypatch):
    assert room.predicted_bytes(10, settings(), looks=4) == 4 * 10 * 2 * 4
    monkeypatch.setattr(room, "memory", lambda: 100)
    refused(InputError, "traces of at most 0.0 GiB, a quarter of memory, got", lambda: bn.observe(
        task, {"train": range(4)}, settings=settings(), traces=True))  # fmt: skip


def test_pairs_and_names(task):
    run = bn.observe(task, {"train": range(4), "query": range(2)}, pairs=[("query", "train")], settings=settings())
    refused(StoreError, "the covariance of inputs with inputs among those kept, got query × train",
            lambda: bn.loss_kernel(task, run=run))  # fmt: skip
    refused(InputError, "names of letters and digits for subsets, got 'a_b'",
            lambda: bn.observe(task, {"a_b": range(4)}, settings=settings()))  # fmt: skip
    refused(InputError, "pairs of the subsets train, got 'query'", lambda: bn.observe(
        task, {"train": range(4)}, pairs=[("query", "train")], settings=settings()))  # fmt: skip


def test_a_chain_that_diverged_gives_no_matrix(task):
    wild = settings(step_size=50.0, draws=400)
    refused(StoreError, "a chain diverged", lambda: bn.influence(task, None, [0], settings=wild))
