"""Tables of residues, networks trained together and alone, logits at one place, and spectral entropies at once."""

import itertools
import math

import numpy as np
import pytest
import torch

from bitsandnats.errors import InputError
from bitsandnats.experiments.grokking.arithmetic import OPERATIONS, split, whole_table
from bitsandnats.experiments.grokking.networks import Network, fresh
from bitsandnats.experiments.grokking.plan import regime
from bitsandnats.experiments.grokking.stack import Entropy, Stack
from bitsandnats.experiments.grokking.training import Recipe, growing_epochs, train
from bitsandnats.regularisers import spectral_entropy

TRANSFORMER = Network("transformer", 2, 8, 2, 16)
MLP = Network("mlp", 1, 8, 2, 16)


def test_tables_hold_every_equation():
    p = 7
    for operation in OPERATIONS:
        table = whole_table(operation, p)
        a, sign, b, equals = table.inputs.T.tolist()
        assert len(set(zip(a, b, strict=True))) == len(a) == (42 if operation == "division" else 49)
        assert set(sign) == {p}
        assert set(equals) == {p + 1}
        for x, y, z in zip(a, b, table.labels.tolist(), strict=True):
            known = {"addition": x + y, "subtraction": x - y, "multiplication": x * y}
            assert 0 <= z < p
            assert (z * y) % p == x if operation == "division" else z == known[operation] % p
    for operation, modulus in (("addition", 9), ("power", 7)):
        with pytest.raises(InputError):
            whole_table(operation, modulus)


def test_a_split_uses_every_pair_once():
    table = whole_table("addition", 7)
    train_set, test_set = split(table, 0.4, 3)
    assert (len(train_set.labels), len(test_set.labels)) == (19, 30)
    seen = torch.cat([train_set.inputs, test_set.inputs]).tolist()
    assert sorted(seen) == sorted(table.inputs.tolist())
    assert not torch.equal(train_set.inputs, split(table, 0.4, 4)[0].inputs)


def test_the_last_place_alone_gives_the_logits_of_all_places():
    tokens = whole_table("addition", 7).inputs
    one, all_places = TRANSFORMER.build(7), TRANSFORMER.build(7, places=4)
    params = fresh(one, 0)
    found = [torch.func.functional_call(module, params, (tokens,)) for module in (one, all_places)]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert found[0].std() > 0.1


def test_a_perceptron_looked_up_is_the_one_multiplied_out():
    """Logits and gradients of W·[E(a), E(b)] + c, which the network takes from tables of W's halves."""
    tokens = whole_table("subtraction", 7).inputs
    module = MLP.build(7)
    params = {name: p.requires_grad_() for name, p in fresh(module, 0).items()}
    pair = torch.cat([params["token.weight"][tokens[:, 0]], params["token.weight"][tokens[:, 2]]], -1)
    hidden = torch.relu(pair @ params["rise.weight"].T + params["rise.bias"])
    expected = hidden @ params["fall.weight"].T + params["fall.bias"]
    found = torch.func.functional_call(module, params, (tokens,))
    assert torch.allclose(found, expected, atol=1e-5)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    slopes = [torch.autograd.grad((logits * weights).sum(), list(params.values())) for logits in (found, expected)]
    for own, other in zip(*slopes, strict=True):
        assert torch.allclose(own, other, atol=1e-4)
        assert other.norm() > 0.1


@pytest.mark.parametrize("network", [TRANSFORMER, MLP])
def test_networks_trained_together_are_those_trained_alone(network):
    recipe = Recipe("division", 7, 0.5, network, 1e-3, batch_size=8, epochs=6)
    runs = [(regime("none", "addition"), 0), (regime("entropy", "addition"), 0), (regime("decay", "addition"), 1)]
    together = train(recipe, runs)
    for run, kept in zip(runs, together, strict=True):
        (alone,) = train(recipe, [run])
        assert kept.epochs == alone.epochs == growing_epochs(6)
        # a first step of Adam is as long for the smallest gradient, whose sign may be rounding
        assert np.quantile(np.abs(kept.weights - alone.weights), 0.99) < 1e-6
        assert np.allclose(kept.weights, alone.weights, atol=5e-3)
        assert np.allclose(kept.test_loss, alone.test_loss, atol=1e-4)
    assert not np.allclose(together[0].weights, together[1].weights, atol=1e-3)


def test_the_steps_are_those_of_a_plain_loop():
    recipe = Recipe("addition", 7, 0.5, TRANSFORMER, 1e-3, batch_size=None, epochs=8)
    (kept,) = train(recipe, [(regime("decay", "addition"), 5)])
    module = TRANSFORMER.build(7)
    values = fresh(module, 5)
    module = module.to_empty(device="cpu")
    module.load_state_dict(values)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)
    inputs, labels = split(whole_table("addition", 7), 0.5, 5)[0]
    for _ in range(8):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    row = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert np.quantile(np.abs(kept.weights[-1] - row.numpy()), 0.99) < 1e-6
    assert np.allclose(kept.weights[-1], row.numpy(), atol=5e-3)


def test_entropies_of_a_stack_have_the_gradients_of_single_ones():
    module = TRANSFORMER.build(7)
    stack = Stack(module)
    rows = torch.stack([stack.layout.row(fresh(module, seed)) for seed in (0, 1)])
    entropy = Entropy(stack.layout)
    entropy.refresh(rows)
    found = entropy.gradient(rows)
    for row, own in zip(rows, found, strict=True):
        single = TRANSFORMER.build(7).to_empty(device="cpu")
        single.load_state_dict(stack.layout.params(row))
        value = spectral_entropy(single)
        gradients = torch.autograd.grad(value, list(single.parameters()), materialize_grads=True)
        assert torch.allclose(own, torch.cat([g.flatten() for g in gradients]), atol=1e-6)
        assert own.norm() > 1e-3


def test_epochs_grow_by_three_tenths():
    epochs = growing_epochs(1000)
    assert epochs[:9] == (1, 2, 3, 4, 6, 8, 10, 13, 17)
    assert epochs[-1] == int(1.3**26)
    assert all(b / a < 1.31 + 1 / a for a, b in itertools.pairwise(epochs))
    assert math.isclose(epochs[-1] / epochs[-2], 1.3, abs_tol=0.01)
