"""Activation checkpointing changes no number, and keeps less."""

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.curvature import hessian_vector
from bitsandnats.hf.checkpointing import checkpoint_layers
from bitsandnats.target import LocalPosterior, kept_bytes


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama"])
def test_same_numbers(name, build_transformer):
    tokens = torch.randint(40, (4, 16), generator=torch.Generator().manual_seed(0))
    tasks = []
    for again in (False, True):
        model = build_transformer(name, torch.float64)
        if again:
            assert checkpoint_layers(model) == 3
        tasks.append(bn.Task.from_module(model, bn.hf.CausalLMLoss(), tokens))
    position = {k: 1.1 * w[None] for k, w in tasks[0].center.items()}  # not the weights that the module holds itself
    plain, checked = (LocalPosterior(t, 1.0, 1.0).evaluate(position, None) for t in tasks)
    torch.testing.assert_close(checked, plain)
    products = [hessian_vector(t, {k: w[0] for k, w in position.items()}, tokens, t.center) for t in tasks]
    torch.testing.assert_close(products[1], products[0])
    assert kept_bytes(tasks[1], 4) < 0.6 * kept_bytes(tasks[0], 4)


def test_refused():
    with pytest.raises(bn.errors.ModelError, match="layers"):
        checkpoint_layers(nn.Linear(2, 2))
