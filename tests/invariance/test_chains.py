"""A chain's numbers are a function of (seed, chain), whatever runs beside it."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats._rng import streams
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.samplers import types
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior

FIELDS = {"nbeta": 200.0, "gamma": 20.0, "step_size": 2e-4, "batch_size": 32, "draws": 25, "burn_in": 5}
NAMES = ("loss", "baseline", "distance_squared", "virial", "gradient_norm_squared", "likelihood_virial")

MINI = {"sgld": 2e-4, "rmsprop_sgld": 2e-5, "adam_sgld": 2e-5, "sghmc": 2e-4, "sgnht": 2e-4}
FULL = {"hmc(leapfrogs=2, adapt_steps=9)": 1e-3, "mala(adapt_steps=9)": 1e-5, "mclmc(adapt_steps=9)": 1e-2}
OWN = {  # statistics that a sampler keeps whether or not it takes those of every sampler
    "rmsprop_sgld": {"preconditioner_max", "preconditioner_mean"},
    "adam_sgld": {"preconditioner_max", "preconditioner_mean"},
    "sgnht": {"thermostat", "kinetic_temperature"},
    "hmc": {"acceptance", "step_size_used"},
    "mala": {"acceptance", "step_size_used"},
    "mclmc": {"energy_change", "step_size_used"},
}


def traces(task, **fields):
    tree = sample(task, Settings(**{**FIELDS, **fields}))
    return {name: tree["draws"].dataset[name].values for name in NAMES}


@pytest.mark.parametrize("sampler", MINI)
@pytest.mark.parametrize("start", ["center", "noise"])
@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("chains", [1, 2])
def test_alone_and_in_a_group(sampler, start, mode, chains, digit_task):
    """Bit for bit on a CPU."""
    options = {"sampler": sampler, "start": start, "mode": mode, "baseline": "batch", "step_size": MINI[sampler]}
    four = traces(digit_task, chains=4, **options)
    few = traces(digit_task, chains=chains, **options)
    for name in NAMES:
        assert np.array_equal(few[name], four[name][:chains]), name
    assert len({float(v) for v in four["loss"][:, -1]}) == 4  # different chains differ


@pytest.mark.parametrize("sampler", ["sgld", *FULL])
@pytest.mark.parametrize("start", ["center", "noise"])
@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("chains", [1, 2])
def test_full_batch_alone_and_in_a_group(sampler, start, mode, chains, wave_task):
    """What adapts, adapts for each chain by itself."""
    step_size = {"sgld": 1e-5, **FULL}[sampler]
    options = {"sampler": sampler, "start": start, "mode": mode, "batch_size": 300, "step_size": step_size}
    three, few = traces(wave_task, chains=3, **options), traces(wave_task, chains=chains, **options)
    for name in NAMES:
        assert np.array_equal(few[name], three[name][:chains]), name


def test_loop_and_vmap_agree(wave_task, digit_task):
    for task, tolerance, step in ((wave_task, 1e-9, 1e-5), (digit_task, 1e-3, 2e-4)):
        loop = traces(task, chains=3, mode="loop", step_size=step)
        vmap = traces(task, chains=3, mode="vmap", step_size=step)
        for name in NAMES:
            assert np.allclose(loop[name], vmap[name], rtol=tolerance, atol=tolerance), name


@pytest.mark.parametrize(
    ("sampler", "packed"), [*itertools.product(MINI, [True, False]), *itertools.product(FULL, [True])]
)
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_statistics_watch_and_do_not_touch(sampler, packed, mode, digit_task, monkeypatch):
    """The chain is bit for bit the same whether or not the step's sums are taken."""
    if not packed:
        monkeypatch.setattr(types, "_FLAT", {"cpu": 0})
    fields = {**FIELDS, "sampler": sampler, "mode": mode, "chains": 2, "step_size": 2e-5}
    watched, alone = (sample(digit_task, Settings(**fields, statistics=kind)) for kind in ("step", "none"))
    for name in ("loss", "baseline"):
        for group in ("draws", "burn_in"):
            assert np.array_equal(watched[group].dataset[name].values, alone[group].dataset[name].values)
    own = OWN.get(sampler.partition("(")[0], set())
    assert set(alone["draws"].dataset) == {"loss", "baseline", "diverged_at"} | own
    own = {"kinetic_temperature"} if sampler == "sghmc" else own
    assert set(watched["draws"].dataset) == set(NAMES) | {"slope_part", "diverged_at"} | own


class Cliff(torch.nn.Module):
    """Finite where it starts, with a gradient that is not; flat, and finite again, at −∞."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.full((1,), 1e-20))

    def forward(self, x):
        return (torch.relu(self.w) * 1e30) * 1e20 + 0 * x


@pytest.mark.parametrize(("statistics", "draws", "at"), [("step", 12, 0), ("none", 12, 2), ("none", 2, 1)])
def test_a_dead_chain_is_found_where_the_loss_hides_it(statistics, draws, at):
    task = bn.Task.from_module(Cliff(), lambda model, batch: model(batch), torch.ones(8))
    settings = Settings(
        step_size=1e-30, gamma=1.0, nbeta=1.0, batch_size=4, chains=2, draws=draws, mode="loop", statistics=statistics
    )
    tree = sample(task, settings, observables={"distance": "trace"})
    assert tree["draws"].dataset["diverged_at"].values.tolist() == [at, at]
    assert np.isnan(tree["draws"].dataset["loss"].values[:, at:]).all()
    assert not tree["observables"].dataset
    found = estimate(tree)
    assert np.isnan(found.llc)
    assert found.verdict.status == "not usable"


@pytest.mark.parametrize("statistics", ["step", "none"])
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_a_runaway_chain_is_nan_from_its_step_on(statistics, mode, wave_task):
    settings = Settings(**{**FIELDS, "step_size": 1.0, "draws": 200}, chains=2, mode=mode, statistics=statistics)
    data = sample(wave_task, settings)
    loss = np.concatenate([data[g].dataset["loss"].values for g in ("burn_in", "draws")], 1)
    for trace, at in zip(loss, data["draws"].dataset["diverged_at"].values, strict=True):
        assert 0 < at < 200
        assert np.isfinite(trace[:at]).all()
        assert np.isnan(trace[at:]).all()


def test_replay_is_bit_identical(digit_task):
    first, again = traces(digit_task, chains=2, mode="vmap"), traces(digit_task, chains=2, mode="vmap")
    assert all(np.array_equal(first[name], again[name]) for name in NAMES)
    other = traces(digit_task, chains=2, mode="vmap", seed=1)
    assert not np.array_equal(first["loss"], other["loss"])


def test_more_draws_do_not_change_the_first(digit_task):
    short, long = (traces(digit_task, chains=2, mode="loop", draws=n) for n in (10, 20))
    assert all(np.array_equal(short[name], long[name][:, :10]) for name in NAMES)


@pytest.mark.parametrize("micro_batch", [1, 3, 7, 40, 100])
def test_micro_batches(micro_batch, wave_task):
    generator = torch.Generator().manual_seed(0)
    position = {
        k: torch.stack([w + 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for _ in range(2)])
        for k, w in wave_task.center.items()
    }
    for batch in (None, wave_task.batch(torch.arange(80).view(2, 40))):
        whole = LocalPosterior(wave_task, 10.0, 1.0).evaluate(position, batch)
        parts = LocalPosterior(wave_task, 10.0, 1.0, micro_batch=micro_batch).evaluate(position, batch)
        assert torch.allclose(whole.loss, parts.loss, rtol=1e-13)
        assert torch.allclose(whole.item_losses, parts.item_losses, rtol=1e-12, atol=1e-15)
        for name, g in whole.gradient.items():
            assert torch.allclose(g, parts.gradient[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_order_in_a_batch(mode, wave_task):
    position = {k: w[None] * 1.1 for k, w in wave_task.center.items()}
    target = LocalPosterior(wave_task, 10.0, 1.0, mode)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    a = target.evaluate(position, wave_task.batch(torch.arange(50)[None]))
    b = target.evaluate(position, wave_task.batch(order[None]))
    assert torch.allclose(a.loss, b.loss, rtol=1e-13)
    assert torch.allclose(a.item_losses[:, order], b.item_losses, rtol=1e-12)
    for name, g in a.gradient.items():
        assert torch.allclose(g, b.gradient[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("baseline", ["all", "batch"])
def test_a_constant_in_the_loss_changes_nothing(baseline, wave_snapshots, waves):
    def shifted(by):
        plain = bn.losses.gaussian(0.1)
        task = bn.Task.from_module(wave_snapshots["step400"], lambda m, b: plain(m, b) + by, waves)
        tree = sample(task, Settings(**{**FIELDS, "step_size": 1e-5}, chains=2, mode="loop", baseline=baseline))
        return estimate(tree)

    base, moved = shifted(0.0), shifted(7.25)
    assert moved.llc == pytest.approx(base.llc, rel=1e-8)
    assert moved.se == pytest.approx(base.se, rel=1e-8)


def test_order_of_parameters(wave_task):
    """The density does not know the order of the names."""
    turned = wave_task.at(dict(reversed(wave_task.center.items())))
    a = LocalPosterior(wave_task, 5.0, 1.0).evaluate({k: 1.1 * w[None] for k, w in wave_task.center.items()}, None)
    b = LocalPosterior(turned, 5.0, 1.0).evaluate({k: 1.1 * w[None] for k, w in turned.center.items()}, None)
    assert torch.equal(a.loss, b.loss)
    assert all(torch.equal(g, b.gradient[name]) for name, g in a.gradient.items())
    from bitsandnats.curvature import top_curvature

    exact = top_curvature(wave_task, items=300, iterations=200, tolerance=1e-6).value
    assert top_curvature(turned, items=300, iterations=200, tolerance=1e-6).value == pytest.approx(exact, rel=1e-3)
    for scheme in ("optimal", "largest"):
        found = [
            bn.critical_point(bn.compressors.quantize(scheme), task, tolerance=0.5) for task in (wave_task, turned)
        ]
        assert found[0].level == found[1].level
        assert found[0].excess_loss == pytest.approx(found[1].excess_loss, rel=1e-9)


def test_global_random_state_is_left_alone(digit_task):
    kept = torch.get_rng_state()
    torch.manual_seed(1)
    first = bn.estimate_llc(digit_task, **SMALL)
    torch.manual_seed(2)
    np.random.seed(5)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = bn.estimate_llc(digit_task, **SMALL)
    bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=0.5)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])
    assert first.tree["draws"].dataset["loss"].equals(again.tree["draws"].dataset["loss"])
    assert torch.get_num_threads() == 1
    torch.set_rng_state(kept)


def test_nothing_uses_the_standard_generator():
    """Told by the imports: the type checker that runs with the tests draws from it itself."""
    for file in Path(bn.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
        names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
        if "random" in names:  # to keep a training's state and to put it back, for nothing else
            used = {n.attr for n in nodes if isinstance(n, ast.Attribute) and getattr(n.value, "id", None) == "random"}
            assert used <= {"getstate", "setstate"}, file


SMALL = {"nbeta": 200.0, "gamma": 100.0, "step_size": 1e-4, "batch_size": 32, "chains": 2, "draws": 20, "burn_in": 5}


def test_leaves_moved_several_at_a_time():
    """What accelerators do with small leaves is the step of each: one sequence of noise, cut into their sizes."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    sizes = [12, 5, 7]
    weights, centers, gradients = ([draw(2, n) for n in sizes], [draw(n) for n in sizes], [draw(2, n) for n in sizes])
    group = [types.Block(w.clone(), c, [], [g]) for w, c, g in zip(weights, centers, gradients, strict=True)]
    group = [block._replace(leaves=[block.weights]) for block in group]
    types.langevin(streams(3, [0, 1], "cpu"), group, pull=0.2, push=0.5, scale=0.1)
    noise = types.fill_noise(streams(3, [0, 1], "cpu"), torch.empty(2, sum(sizes), dtype=torch.float64)).split(sizes, 1)
    for block, w, c, g, eta in zip(group, weights, centers, gradients, noise, strict=True):
        assert torch.allclose(block.weights, w + 0.2 * (c - w) - 0.5 * g + 0.1 * eta, rtol=1e-12)


def test_small_leaves_are_grouped_where_launches_cost(digit_task, monkeypatch):
    settings = Settings(step_size=1e-5, gamma=10.0, nbeta=100.0, chains=1, draws=2, mode="loop")
    monkeypatch.setattr(types, "_FLAT", {"cpu": 0})
    told = []
    kept = types.Walk.groups
    monkeypatch.setattr(types.Walk, "groups", lambda self, state: told.append(list(kept(self, state))) or told[-1])
    sample(digit_task, settings)
    assert {len(group) for group in told[0]} == {1}
    monkeypatch.setattr(types, "_BLOCK", {})
    told.clear()
    sample(digit_task, settings)
    assert [len(group) for group in told[0]] == [len(digit_task.center)]
