"""What every sampler in the registry must do, a third party's included."""

import itertools

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats import samplers, toys
from bitsandnats._rng import generator, streams
from bitsandnats.run import sample
from bitsandnats.samplers.types import Info, Sampler
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior

NAMES = list(samplers.registry.entries())
CHAINS = 3
STEP = 1e-4
CHEAP = {"hmc": "hmc(leapfrogs=3)"}  # where only the plumbing is looked at


def tagged(tag):
    return [name for name in NAMES if tag in samplers.registry.entry(name).tags]


def full(name):
    return name in tagged("full")


def begun(name, task, *, mode="vmap", gamma=10.0, seed=0, spread=0.1, step_size=STEP):
    target = LocalPosterior(task, 20.0, gamma, mode)
    sampler = samplers.registry.build(CHEAP.get(name, name))(target, step_size=step_size)
    rng = streams(seed, range(CHAINS))
    start = [generator(seed, c, "start") for c in range(CHAINS)]
    position = {
        k: torch.stack([w + spread * torch.randn(w.shape, generator=g, dtype=w.dtype) for g in start])
        for k, w in task.center.items()
    }
    batch = None if full(name) else task.batch(torch.arange(CHAINS * 8).view(CHAINS, 8) % len(task.data))
    return target, sampler, rng, sampler.init(rng, position), batch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["loop", "vmap"])
class TestSampler:
    def test_shapes(self, name, mode, wave_task):
        _, sampler, rng, state, batch = begun(name, wave_task, mode=mode)
        assert isinstance(sampler, Sampler)
        for _ in range(2):
            for k, w in wave_task.center.items():
                assert state.position[k].shape == (CHAINS, *w.shape)
                assert state.position[k].dtype == w.dtype
            state, info = sampler.step(rng, state, batch)
            assert isinstance(info, Info)
            assert info.loss.shape == info.diverged.shape == (CHAINS,)
            assert info.diverged.dtype == torch.bool
            assert not info.diverged.any()
            assert all(v.shape == (CHAINS,) for v in info.statistics.values())
            assert {"distance_squared", "displacement_gradient", "gradient_squared"} <= set(info.statistics)

    def test_info_describes_the_input_state(self, name, mode, wave_task):
        target, sampler, rng, state, batch = begun(name, wave_task, mode=mode)
        for _ in range(3):
            before = {k: w.clone() for k, w in state.position.items()}
            evaluation = target.evaluate(before, batch)
            state, info = sampler.step(rng, state, batch)
            assert torch.equal(info.loss, evaluation.loss)
            assert torch.equal(info.item_losses, evaluation.item_losses)
            d = torch.cat([(w - wave_task.center[k]).flatten(1) for k, w in before.items()], 1)
            g = torch.cat([evaluation.gradient[k].flatten(1) for k in before], 1)
            for key, value in (
                ("distance_squared", d * d),
                ("displacement_gradient", d * g),
                ("gradient_squared", g * g),
            ):
                assert torch.allclose(info.statistics[key], value.sum(1), rtol=1e-9), key
            assert any(not torch.equal(w, state.position[k]) for k, w in before.items())  # and it moves

    def test_batch_and_center_are_not_written(self, name, mode, wave_task):
        _, sampler, rng, state, batch = begun(name, wave_task, mode=mode)
        center = {k: w.clone() for k, w in wave_task.center.items()}
        copied = None if batch is None else [t.clone() for t in batch]
        for _ in range(3):
            state, _ = sampler.step(rng, state, batch)
        assert all(torch.equal(w, center[k]) for k, w in wave_task.center.items())
        if batch is not None:
            assert all(torch.equal(a, b) for a, b in zip(batch, copied, strict=True))

    def test_nan_is_flagged_for_its_chain_alone(self, name, mode, wave_task):
        _, sampler, rng, state, batch = begun(name, wave_task, mode=mode)
        next(iter(state.position.values()))[1].view(-1)[0] = float("nan")
        state, info = sampler.step(rng, state, batch)
        assert info.diverged.tolist() == [False, True, False]
        for _ in range(2):
            state, info = sampler.step(rng, state, batch)
        assert info.diverged.tolist() == [False, True, False]
        assert torch.isfinite(info.loss[[0, 2]]).all()

    def test_a_tiny_step_stays(self, name, mode, wave_task):
        _, sampler, rng, state, batch = begun(name, wave_task, mode=mode, step_size=1e-20, spread=0.0)
        for _ in range(5):
            state, info = sampler.step(rng, state, batch)
        assert float(info.statistics["distance_squared"].max()) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_randomness_is_seed_and_chain(name, wave_task):
    fields = {
        "sampler": CHEAP.get(name, name),
        "nbeta": 20.0,
        "gamma": 10.0,
        "step_size": STEP,
        "batch_size": 16,
        "draws": 8,
    }
    runs = {}
    for key, chains, seed in (("a", 3, 0), ("again", 3, 0), ("two", 2, 0), ("other", 3, 1)):
        tree = sample(wave_task, Settings(**fields, chains=chains, seed=seed, mode="loop"))
        runs[key] = tree["draws"].dataset["distance_squared"].values
    assert np.array_equal(runs["a"], runs["again"])
    assert np.array_equal(runs["a"][:2], runs["two"])
    assert not np.isin(runs["a"][:, 1:], runs["other"][:, 1:]).any()
    assert len(np.unique(runs["a"][:, -1])) == 3


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(tagged("momentum"))))
def test_pure_diffusion(name):
    """No gradient, no pull: each step adds noise of variance εA, each coordinate and step independent."""
    dimension, steps = 30000, 3
    _target, sampler, rng, state, _ = begun(
        name, toys.quadratic([0.0] * dimension), gamma=0.0, spread=0.0, step_size=0.01
    )
    places, variances = [state.position["w"].clone()], []
    for _ in range(steps):
        state, info = sampler.step(rng, state, None)
        places.append(state.position["w"].clone())
        variances.append(0.01 * info.statistics.get("preconditioner_mean", torch.ones(CHAINS)).double())
    moves = [b - a for a, b in itertools.pairwise(places)]
    for move, variance in zip(moves, variances, strict=True):
        seen = move.square().mean(1) / variance
        assert float((seen - 1).abs().max()) < 4.5 * (2 / dimension) ** 0.5
        assert float((move.mean(1) / variance.sqrt()).abs().max()) < 4.5 / dimension**0.5
    correlation = torch.corrcoef(torch.cat(moves))
    assert float((correlation - torch.eye(len(correlation))).abs().max()) < 4.5 / dimension**0.5


@pytest.mark.parametrize("name", tagged("momentum"))
def test_momentum_has_no_direction_of_its_own(name):
    """No gradient, hardly a pull: in any one step coordinates and chains move independently, alike, to no side."""
    dimension = 30000
    _target, sampler, rng, state, _ = begun(
        name, toys.quadratic([0.0] * dimension), gamma=1e-9, spread=0.0, step_size=0.01
    )
    for _ in range(3):
        before = state.position["w"].clone()
        state, _ = sampler.step(rng, state, None)
        move = state.position["w"] - before
        scale = move.square().mean(1).sqrt()
        assert float((move.mean(1) / scale).abs().max()) < 4.5 / dimension**0.5
        assert float((move.pow(4).mean(1) / scale**4 / 3 - 1).abs().max()) < 4.5 * (96 / 9 / dimension) ** 0.5
        halves = move.view(CHAINS, 2, -1).square().mean(2) / scale[:, None].square()
        assert float((halves - 1).abs().max()) < 4.5 * (2 / dimension) ** 0.5
        assert float((torch.corrcoef(move) - torch.eye(CHAINS)).abs().max()) < 4.5 / dimension**0.5


@pytest.mark.parametrize("name", tagged("exact"))
def test_exact_samplers_correct_their_step(name):
    """At a step too long for the stiffest direction nothing runs away, and what is refused stays where it was."""
    _target, sampler, rng, state, _ = begun(name, toys.quadratic([1.0] * 20), gamma=1e4, step_size=1.0)
    for _ in range(5):
        before = state.position["w"].clone()
        state, info = sampler.step(rng, state, None)
        assert float(info.statistics["acceptance"].max()) < 1e-6
        assert torch.equal(state.position["w"], before)


@pytest.mark.parametrize("name", NAMES)
def test_listed_with_a_summary_and_runs_by_name(name, digit_task):
    entry = samplers.registry.entry(name)
    assert entry.summary
    assert {"mini", "full"} & set(entry.tags)
    text = CHEAP.get(name, name)
    found = bn.estimate_llc(
        digit_task, sampler=text, step_size=1e-6, gamma=100.0, nbeta=50.0, chains=2, draws=10, burn_in=2, batch_size=16
    )
    assert found.tree.attrs["sampler"] == text
    assert np.isfinite(found.llc)
