"""Truncated singular value decompositions: by hand, and optimal by Eckart and Young."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import compressors
from bitsandnats.compressors.factorize import factorize, factorize_energy
from bitsandnats.errors import InputError, ModelError


def task_of(module, inputs):
    x = torch.randn(6, inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return bn.Task.from_module(module.double().eval(), bn.losses.cross_entropy(), (x, torch.zeros(6, dtype=torch.long)))


def net(*weights, bias=False):
    """Linear layers with the given weights, one behind the other."""
    layers = []
    for w in weights:
        layer = nn.Linear(w.shape[1], w.shape[0], bias=bias, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(w)
        layers.append(layer)
    return nn.Sequential(*layers)


def random(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prepare(*weights, compressor=None, **options):
    return (compressor or factorize)(**options).prepare(task_of(net(*weights), weights[0].shape[1]))


def test_by_hand():
    """Diagonal matrices: the largest entries stay. Four of four values, two, one, and halves rounded up."""
    middle = torch.diag(torch.tensor([1.0, -4.0, 2.0, 3.0]))
    prepared = prepare(random(4, 4), middle, random(3, 4))
    for level, expected in ((1.0, [1, -4, 2, 3]), (0.5, [0, -4, 0, 3]), (0.25, [0, -4, 0, 0]), (0.375, [0, -4, 0, 3])):
        out = prepared.compress(level)["1.weight"]
        assert torch.allclose(out, torch.diag(torch.tensor(expected, dtype=torch.float64)), atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(20, 12), (12, 20), (16, 16)])
def test_optimal_truncation(rows, columns):
    """The error has the norms of the singular values left out, and no other matrix of that rank has less."""
    middle = random(rows, columns, 1)
    prepared = prepare(random(columns, 3), middle, random(2, rows))
    values = np.linalg.svd(middle.numpy(), compute_uv=False)
    generator = torch.Generator().manual_seed(3)
    for level in prepared.levels.values:
        rank = math.floor(level * min(rows, columns) + 0.5)
        out = prepared.compress(level)["1.weight"]
        assert np.linalg.matrix_rank(out.numpy()) == rank
        error = (middle - out).numpy()
        assert np.linalg.norm(error) == pytest.approx(np.linalg.norm(values[rank:]), rel=1e-9, abs=1e-12)
        assert np.linalg.norm(error, 2) == pytest.approx([*values, 0][rank], rel=1e-9, abs=1e-12)
        for _ in range(20):  # the best matrix of that rank with a given column space
            basis = torch.linalg.qr(torch.randn(rows, rank, generator=generator, dtype=torch.float64)).Q
            assert torch.norm(middle - basis @ (basis.T @ middle)) >= np.linalg.norm(error) - 1e-9


@pytest.mark.parametrize(
    ("share", "rank"), [(0.1, 1), (0.66, 1), (0.67, 2), (5 / 6, 2), (0.84, 3), (0.999, 3), (1.0, 3)]
)
def test_energy_by_hand(share, rank):
    """σ = 2, 1, 1, 0: two thirds of Σσ² with one value, five sixths with two, all with three."""
    prepared = prepare(
        random(4, 4), torch.diag(torch.tensor([1.0, 2.0, 0.0, 1.0])), random(3, 4), compressor=factorize_energy
    )
    assert prepared.details(share)["ranks"] == rank
    assert np.linalg.matrix_rank(prepared.compress(share)["1.weight"].numpy()) == rank


def test_energy_is_taken_matrix_by_matrix():
    flat, steep = torch.eye(8, dtype=torch.float64), torch.diag(0.1 ** torch.arange(8, dtype=torch.float64))
    weights = random(8, 8), flat, random(8, 8), steep, random(3, 8)
    prepared = prepare(*weights, compressor=factorize_energy)
    out = prepared.compress(0.75)
    assert [np.linalg.matrix_rank(out[f"{i}.weight"].numpy()) for i in (1, 3)] == [6, 1]
    assert prepared.details(0.75)["kept_energy"] == pytest.approx((6 + 1) / (8 + sum(0.01**k for k in range(8))))


def test_bits_by_hand():
    """10 × 6 at half rank: 3 (10 + 6 + 1) = 51 numbers; 8 in front and 20 behind, and a bias each."""
    torch_task = task_of(net(random(6, 4), random(10, 6), random(2, 10), bias=True), 4)
    prepared = factorize().prepare(torch_task)
    left = 6 * 4 + 6 + 10 + 2 * 10 + 2
    assert prepared.bits(0.5) == 32 * (51 + left) + 32 + 3
    assert prepared.details(0.5)["compression_fraction"] == (51 + left) / (60 + left)
    assert prepared.details(0.5)["grown"] == 0
    assert prepared.bits(1.0) == 32 * (6 * 17 + left) + 32 + 3
    assert prepared.details(1.0)["grown"] == 1
    energy = factorize_energy().prepare(torch_task)
    assert energy.bits(1.0) == 32 * (6 * 17 + left) + math.log2(6) + 3


def test_fixed_parameters_are_charged_and_left():
    module = net(random(6, 4), random(10, 6), random(2, 10))
    module[0].weight.requires_grad_(False)
    prepared = factorize().prepare(task_of(module, 4))
    assert set(prepared.compress(0.5)) == {"1.weight", "2.weight"}
    assert prepared.bits(0.5) == 32 * (51 + 20 + 24) + 32 + 3
    assert prepared.details(0.5)["compression_fraction"] == (51 + 20 + 24) / (60 + 20 + 24)


@pytest.mark.parametrize(
    ("count", "layers", "expected"),
    [(3, "spaced", {1}), (4, "spaced", {1}), (5, "spaced", {1, 3}), (6, "spaced", {1, 3}), (7, "spaced", {1, 3, 5}),
     (2, "all", {0, 1}), (4, "all", {0, 1, 2, 3}), (4, (0, 3), {0, 3})],
)  # fmt: skip
def test_choice_of_layers(count, layers, expected):
    prepared = prepare(*[random(5, 5, i) for i in range(count)], layers=layers)
    center, out = prepared.compress(1.0), prepared.compress(prepared.levels.values[0])
    assert {i for i in range(count) if not torch.allclose(center[f"{i}.weight"], out[f"{i}.weight"])} == expected
    assert prepared.details(1.0)["factorized"] == len(expected)


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama"])
def test_language_models(name, build_transformer):
    """The middle one of three layers by default; embeddings on request, a tied one once."""
    task = language_task(build_transformer(name))
    prepared = factorize().prepare(task)
    changed = changes(prepared, task)
    assert changed == {m.name for m in task.structure.matrices if m.layer == 1}
    ranks = sum(math.floor(min(m.rows, m.columns) / 2 + 0.5) for m in task.structure.matrices if m.layer == 1)
    assert prepared.details(0.5)["ranks"] == ranks
    more = factorize(embeddings=True).prepare(task)
    unembedding = {"lm_head.weight"} if name != "gpt2" else set()
    assert changes(more, task) == changed | {m.name for m in task.structure.embeddings} | unembedding


def test_transposed_weights(build_transformer):
    """A weight that is stored the other way has the same best approximation."""
    task = language_task(build_transformer("gpt2"))
    name = "transformer.h.1.mlp.c_fc.weight"
    out = factorize().prepare(task).compress(0.25)[name]
    u, s, v = torch.linalg.svd(task.center[name].T, full_matrices=False)
    assert torch.allclose(out.T, u[:, :4] * s[:4] @ v[:4], atol=1e-5)


def language_task(model):
    from bitsandnats.hf import CausalLMLoss

    return bn.Task.from_module(model, CausalLMLoss(), torch.arange(48).view(4, 12) % 40)


def changes(prepared, task):
    out = prepared.compress(prepared.levels.values[0])
    return {name for name, w in task.center.items() if not torch.allclose(out[name], w, atol=1e-3)}


def test_tied_weights_are_factorized_and_counted_once():
    inner = nn.Linear(6, 6, bias=False)
    module = nn.Sequential(nn.Linear(4, 6, bias=False), inner, nn.Tanh(), inner, nn.Linear(6, 2, bias=False))
    task = task_of(module, 4)
    prepared = factorize().prepare(task)
    assert list(prepared.compress(0.5)) == ["0.weight", "1.weight", "4.weight"]
    assert prepared.bits(0.5) == 32 * (24 + 3 * 13 + 12) + 32 + 3


def test_levels_are_those_at_which_ranks_differ():
    prepared = prepare(random(4, 4), random(4, 4), random(4, 4))
    assert [prepared.details(level)["ranks"] for level in prepared.levels.values] == [1, 2, 3, 4]
    assert prepared.levels.values[-1] == 1.0
    alone = prepare(random(4, 4), random(1, 4), random(4, 1))
    assert alone.levels.values == (1.0,)


def test_written_as_the_registry_reads_it():
    for made in (factorize(), factorize(layers="all"), factorize_energy(layers=(1, 2), embeddings=True)):
        assert compressors.registry.build(made.scheme)() == made
    assert factorize("energy").scheme == "factorize-energy"


# --- bad input


def test_fractions_that_keep_no_singular_value():
    prepared = prepare(random(9, 9), random(20, 9), random(3, 20), random(3, 3), random(3, 3), random(2, 3))
    with pytest.raises(InputError, match=r"got 0.1, which keeps none of the 3 of 3.weight; choose 0.1667 or more"):
        prepared.compress(0.1)
    with pytest.raises(InputError, match="keeps a singular value of every matrix"):
        prepared.bits(0.01)
    prepared.compress(0.1667)


@pytest.mark.parametrize("level", [0.0, -1.0, 1.01, math.nan, math.inf])
def test_levels_out_of_range(level):
    prepared = prepare(random(4, 4), random(4, 4), random(4, 4))
    for use in (prepared.compress, prepared.bits, prepared.details):
        with pytest.raises(InputError, match=r"expected fraction of singular values between .* and 1, got"):
            use(level)


def test_too_few_layers():
    with pytest.raises(ModelError, match=r"expected at least three layers.*got 2; use layers='all'"):
        prepare(random(4, 4), random(4, 4))


@pytest.mark.parametrize(("layers", "got"), [((3,), "3"), ((-1, 1), "-1"), ((), "none")])
def test_layers_that_are_not_there(layers, got):
    with pytest.raises(InputError, match=rf"expected layers from 0 to 2, got {got}; name layers that the model has"):
        prepare(random(4, 4), random(4, 4), random(4, 4), layers=layers)


def test_nothing_that_moves():
    module = net(random(4, 4), random(4, 4), random(4, 4))
    module[1].weight.requires_grad_(False)
    with pytest.raises(
        ModelError, match=r"expected matrices to factorize, got none that moves in layers 'spaced' of 3"
    ):
        factorize().prepare(task_of(module, 4))


def test_unknown_options():
    with pytest.raises(InputError, match="rule 'fraction' or 'energy', got 'rank'"):
        factorize("rank")
    with pytest.raises(InputError, match=r"layers 'spaced' or 'all', got 'some'; choose one, or name layers"):
        factorize(layers="some")


def test_weights_and_tasks_that_cannot_be_decomposed():
    task = task_of(net(random(4, 4), random(4, 4), random(4, 4)), 4)
    bad = {**task.center, "1.weight": torch.full((4, 4), math.nan)}
    with pytest.raises(ModelError, match=r"expected finite weights, got NaN or infinite values in 1.weight"):
        factorize().prepare(task.at(bad))
    whole = {**task.center, "1.weight": torch.ones(4, 4, dtype=torch.long)}
    with pytest.raises(ModelError, match=r"expected floating-point weights, got 1.weight in int64"):
        factorize().prepare(task.at(whole))
    with pytest.raises(ModelError, match="expected a task made from a module"):
        factorize().prepare(dataclasses.replace(task, structure=None))
