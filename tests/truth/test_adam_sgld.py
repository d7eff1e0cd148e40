"""Exact law of AdamSGLD with its preconditioner frozen, on quadratics.

The criterion: |estimate − truth| < 4 s.e. and s.e. < 1 % of truth. The same criterion must refuse both the
continuous-time law and that of RMSProp-SGLD where they differ by more than 25 %.
"""

import numpy as np
import pytest
import torch

from bitsandnats import toys
from bitsandnats._rng import generator, streams
from bitsandnats.errors import InputError
from bitsandnats.samplers import types
from bitsandnats.samplers.adam_sgld import adam_sgld
from bitsandnats.samplers.rmsprop_sgld import rmsprop_sgld
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.finite_step import adam_sgld_variance, stationary_variance

NBETA, GAMMA, DELTA = 50.0, 10.0, 0.1
CURVATURES = (0.1, 1.0)
COPIES, CHAINS = 150, 24


def meets(value, se, truth):
    return abs(value - truth) < 4 * se and se < 0.01 * truth


def begun(sampler, curvature, seed=5):
    rng = streams(seed, range(CHAINS))
    return rng, sampler.init(rng, {"w": torch.zeros(CHAINS, len(curvature), dtype=torch.float64)})


@pytest.mark.parametrize(
    ("adapt_steps", "drift_decay", "step_size", "draws", "packed"),
    [(0, 0.9, 0.006, 700, True), (0, 0.5, 0.03, 300, False), (60, 0.9, 0.006, 700, True), (60, 0.7, 0.02, 350, False)],
)
def test_frozen_law(adapt_steps, drift_decay, step_size, draws, packed, monkeypatch):
    """With A frozen and read back; leaf by leaf in small blocks gives the same law as packed."""
    if not packed:
        monkeypatch.setattr(types, "_FLAT", {"cpu": 0})
        monkeypatch.setattr(types, "_BLOCK", {"cpu": 70 * CHAINS})
    curvature = np.repeat(CURVATURES, COPIES)
    target = LocalPosterior(toys.quadratic(curvature.tolist()), NBETA, GAMMA, "vmap")
    sampler = adam_sgld(target, step_size=step_size, drift_decay=drift_decay, delta=DELTA, adapt_steps=adapt_steps)
    rng, state = begun(sampler, curvature)
    for _ in range(adapt_steps + 250):
        state, _ = sampler.step(rng, state, None)
    memory = state.inner.memory["w"].clone()
    squares = torch.zeros_like(memory)
    for _ in range(draws):
        squares += state.position["w"].square()
        state, info = sampler.step(rng, state, None)
    assert torch.equal(state.inner.memory["w"], memory)
    a = 1 / (np.sqrt(memory.numpy() / (1 - 0.99**adapt_steps if adapt_steps else 1.0)) + DELTA)
    if adapt_steps == 0:
        assert np.allclose(a, 1 / (1 + DELTA))
    assert float(info.statistics["preconditioner_max"][0]) == pytest.approx(a[0].max(), rel=1e-9)
    assert float(info.statistics["preconditioner_mean"][0]) == pytest.approx(a[0].mean(), rel=1e-9)
    truth = adam_sgld_variance(
        np.tile(curvature, CHAINS), nbeta=NBETA, gamma=GAMMA, step_size=step_size, drift_decay=drift_decay,
        preconditioner=a.ravel(),
    ).reshape(a.shape)  # fmt: skip
    kappa = NBETA * curvature + GAMMA
    relative = (squares / draws).numpy() / truth
    for part in (slice(0, COPIES), slice(COPIES, None)):
        own = relative[:, part].mean(1)
        assert meets(float(own.mean()), float(own.std(ddof=1)) / CHAINS**0.5, 1.0), (part, own.mean(), own.std())
    for other in (1 / kappa, 1 / (kappa * (1 - step_size * a * kappa / 4))):  # continuous time; RMSProp-SGLD
        assert (truth[:, COPIES:] / np.broadcast_to(other, a.shape)[:, COPIES:]).mean() > 1.25
        own = ((squares / draws).numpy() / other)[:, COPIES:].mean(1)
        assert not meets(float(own.mean()), float(own.std(ddof=1)) / CHAINS**0.5, 1.0)


def test_law_without_averaging_is_sgld_s():
    options = {"nbeta": NBETA, "gamma": GAMMA}
    h = np.array([0.0, 0.1, 1.0])
    found = adam_sgld_variance(h, **options, step_size=0.02, drift_decay=0.0, preconditioner=1.3)
    assert found == pytest.approx(stationary_variance(h, **options, step_size=0.026), rel=1e-9)
    small = adam_sgld_variance(h, **options, step_size=1e-6, drift_decay=0.9)
    assert small * (NBETA * h + GAMMA) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("adapt_steps", [None, 0, 7])
def test_without_averaging_it_is_rmsprop_sgld(adapt_steps, wave_task):
    """At β₁ = 0 step for step the same chain."""
    target = LocalPosterior(wave_task, 20.0, 10.0, "vmap")
    options = {"step_size": 1e-5, "adapt_steps": adapt_steps}
    places = []
    for sampler in (adam_sgld(target, drift_decay=0.0, **options), rmsprop_sgld(target, initial="one", **options)):
        rng = streams(1, range(3))
        state = sampler.init(rng, {k: w.repeat(3, *(1,) * w.ndim) for k, w in wave_task.center.items()})
        for _ in range(15):
            state, _ = sampler.step(rng, state, None)
        places.append(state.position)
    for name, w in places[0].items():
        assert torch.allclose(w, places[1][name], rtol=1e-10, atol=1e-12)
        assert not torch.equal(w[0], wave_task.center[name])


def test_first_moment_by_hand(wave_task):
    """Two steps of the published update, written out."""
    target = LocalPosterior(wave_task, 20.0, 10.0)
    step_size, b1, b2, delta = 1e-4, 0.8, 0.9, 0.3
    sampler = adam_sgld(target, step_size=step_size, drift_decay=b1, decay=b2, delta=delta)
    rng = streams(3, [0])
    position = {k: 1.1 * w.unsqueeze(0) for k, w in wave_task.center.items()}
    state = sampler.init(rng, {k: w.clone() for k, w in position.items()})
    own = generator(3, 0, "noise")
    sizes = [w.numel() for w in position.values()]
    m = {k: torch.zeros_like(w) for k, w in position.items()}
    v = {k: torch.ones_like(w) for k, w in position.items()}
    for t in (1, 2):
        gradient = target.evaluate(position, None).gradient
        noise = torch.empty(sum(sizes), dtype=torch.float64).normal_(generator=own).split(sizes)
        for (k, w), eta in zip(position.items(), noise, strict=True):
            m[k] = b1 * m[k] + (1 - b1) * gradient[k]
            v[k] = b2 * v[k] + (1 - b2) * gradient[k] ** 2
            a = 1 / ((v[k] / (1 - b2**t)).sqrt() + delta)
            drift = 20.0 * m[k] / (1 - b1**t) + 10.0 * (w - wave_task.center[k])
            position[k] = w - step_size / 2 * a * drift + (step_size * a).sqrt() * eta.view(w.shape)
        state, _ = sampler.step(rng, state, None)
        for k, w in position.items():
            assert torch.allclose(state.position[k], w, rtol=1e-10, atol=1e-13), (t, k)


def test_unstable_steps_and_bad_options(wave_task):
    with pytest.raises(InputError, match="reduce the step size"):
        adam_sgld_variance(np.ones(1), nbeta=90.0, gamma=10.0, step_size=0.5, drift_decay=0.9)
    for options in ({"decay": 1.0}, {"drift_decay": 1.0}, {"drift_decay": -0.1}, {"delta": 0.0}):
        with pytest.raises(InputError, match=r"expected 0 ≤ decay < 1, .*; change that option of adam_sgld"):
            adam_sgld(LocalPosterior(wave_task, 1.0, 1.0), step_size=0.01, **options)
