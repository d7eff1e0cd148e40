"""MCLMC against known answers; it has no accept/reject, so its bias at a finite step is part of what is tested.

The criterion: |estimate − truth| < 4 s.e. and s.e. < 5 % of truth, with the estimator's own error bar.
"""

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats._rng import streams
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.samplers.full_batch import beside, surface
from bitsandnats.samplers.mclmc import _bend, _minimal_norm, mclmc
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.quadrature import exact_llc, exact_llc_of_crossing

CURVATURES = np.array([0.0, 0.1, 1.0])


def meets(found, truth, share=0.05):
    return abs(found.llc - truth) < 4 * found.se and found.se < share * truth


def quartics(copies):
    class Points(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(copies, dtype=torch.float64))

        def forward(self):
            return self.w

    return bn.Task.from_module(
        Points(), lambda model, batch: model().pow(4).sum().expand(len(batch)), torch.zeros(2, 1)
    )


def run(task, sampler, *, observables=None, **fields):
    settings = {"nbeta": 50.0, "gamma": 10.0, "mode": "vmap", "batch_size": 2, "seed": 2, "step_size": 0.2, **fields}
    return sample(task, Settings(sampler=sampler, **settings), observables=observables)


def test_gaussian():
    copies, chains, draws = 30, 64, 250
    h = np.repeat(CURVATURES, copies)
    tree = run(
        toys.quadratic(h.tolist()), "mclmc(adapt_steps=200, energy_variance=1e-6)", chains=chains, burn_in=250,
        draws=draws, observables={"weights": "moments"},
    )  # fmt: skip
    kappa = 50.0 * h + 10.0
    found, truth = estimate(tree), float(0.5 * (50.0 * h / kappa).sum())
    assert meets(found, truth, 0.01), (found.llc, found.se, truth)
    seen = tree["observables"].dataset
    squares = seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2
    squares = (squares * kappa).reshape(chains, len(CURVATURES), copies).mean(2)
    for own in squares.T:
        se = float(own.std(ddof=1)) / chains**0.5
        assert abs(own.mean() - 1) < 4 * se < 0.04, (own.mean(), se)


def test_quartic():
    nbeta, gamma, copies = 300.0, 2.0, 20
    tree = run(
        quartics(copies), "mclmc(adapt_steps=200, energy_variance=1e-6)", nbeta=nbeta, gamma=gamma, chains=64,
        burn_in=250, draws=300,
    )  # fmt: skip
    found, truth = estimate(tree), copies * exact_llc(lambda x: x**4, 1, nbeta=nbeta, gamma=gamma)
    assert meets(found, truth, 0.02), (found.llc, found.se, truth)


def test_crossing():
    """In two dimensions, where the motion is least like a random walk; the noise on u alone makes it forget."""
    tree = run(
        toys.normal_crossing([1, 1]), "mclmc(decoherence=0.5)", nbeta=30.0, gamma=5.0, step_size=0.08, chains=256,
        burn_in=60, draws=300, start="noise",
    )  # fmt: skip
    found, truth = estimate(tree), exact_llc_of_crossing(nbeta=30.0, gamma=5.0)
    assert meets(found, truth), (found.llc, found.se, truth)


def test_the_bias_is_set_by_the_energy_error():
    """Two settings beyond error bars of the truth, and a smaller one nearer to it, by about the cube root."""
    h = np.repeat(CURVATURES, 30)
    truth = float(0.5 * (50.0 * h / (50.0 * h + 10.0)).sum())
    gaps = []
    for wanted in (3e-2, 1e-3):
        tree = run(
            toys.quadratic(h.tolist()), f"mclmc(adapt_steps=200, energy_variance={wanted})", chains=64, burn_in=250,
            draws=100,
        )  # fmt: skip
        seen = float(tree["draws"].dataset["energy_change"].values.__pow__(2).mean()) / len(h)
        assert seen == pytest.approx(wanted, rel=0.3)
        found = estimate(tree)
        assert not meets(found, truth)
        gaps.append(1 - found.llc / truth)
    assert gaps[0] > 2 * gaps[1] > 0
    assert gaps[1] < 0.05


def test_adaptation_is_each_chain_s_own_and_ends():
    tree = run(quartics(20), "mclmc(adapt_steps=100)", chains=6, burn_in=100, draws=20, step_size=1e-3)
    used = tree["draws"].dataset["step_size_used"].values
    assert (used == used[:, :1]).all()
    assert len(np.unique(used[:, 0])) == 6
    assert (used > 0.01).all()


def test_a_step_out_of_finite_numbers_is_undone_while_adapting():
    """A step that overflows comes back until it is small enough; without adaptation the chain is lost and flagged."""
    task = quartics(5)
    target = LocalPosterior(task, 100.0, 1.0, "vmap")
    for adapt_steps, diverged in ((2000, False), (0, True)):
        sampler = mclmc(target, step_size=1e160, adapt_steps=adapt_steps)
        rng = streams(0, range(2))
        state = sampler.init(rng, {"w": torch.zeros(2, 5, dtype=torch.float64)})
        for _ in range(4):
            state, info = sampler.step(rng, state, None)
        assert info.diverged.all() == diverged
        if adapt_steps:
            assert torch.equal(state.position["w"], torch.zeros(2, 5, dtype=torch.float64))
            assert torch.allclose(info.statistics["step_size_used"], torch.tensor(1e160 * 0.8**3, dtype=torch.float64))


def test_the_velocity_stays_of_unit_length_and_the_motion_reversible(wave_task):
    energy = surface(LocalPosterior(wave_task, 20.0, 10.0, "vmap"))
    random = torch.Generator().manual_seed(0)
    position = {
        name: torch.stack([w + 0.1 * torch.randn(w.shape, generator=random, dtype=w.dtype) for _ in range(3)])
        for name, w in wave_task.center.items()
    }
    start = energy.place(position)
    velocity = torch.randn(start.weights.shape, generator=random, dtype=torch.float64)
    velocity /= velocity.norm(dim=1, keepdim=True)
    own, size = velocity.clone(), torch.tensor([0.02, 0.05, 0.01], dtype=torch.float64)
    end, forth = _minimal_norm(energy, beside(start), own, size)
    assert torch.allclose(own.norm(dim=1), torch.ones(3, dtype=torch.float64), rtol=1e-12)
    back, returned = _minimal_norm(energy, beside(end), own.neg_(), size)
    assert torch.allclose(back.weights, start.weights, rtol=1e-9, atol=1e-11)
    assert torch.allclose(-own, velocity, rtol=1e-9, atol=1e-11)
    assert torch.allclose(returned, -forth, rtol=1e-7)


def test_energy_error_of_a_step_is_third_order(wave_task):
    energy = surface(LocalPosterior(wave_task, 20.0, 10.0, "vmap"))
    start = energy.place({name: 1.05 * w.unsqueeze(0) for name, w in wave_task.center.items()})
    velocity = torch.randn(start.weights.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    velocity /= velocity.norm(dim=1, keepdim=True)
    errors = []
    for size in (2e-3, 1e-3, 5e-4):
        end, kinetic = _minimal_norm(energy, beside(start), velocity.clone(), torch.tensor([size], dtype=torch.float64))
        errors.append(abs(float(kinetic + energy.energy_change(start, end))))
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.1)


def test_turning_solves_its_equation():
    """u̇ = −(1 − uuᵀ)∇U/(d−1), K̇ = −∇U·u, for a constant gradient, by small explicit steps."""
    random = torch.Generator().manual_seed(1)
    force = 30 * torch.randn(2, 6, generator=random, dtype=torch.float64)
    velocity = torch.randn(2, 6, generator=random, dtype=torch.float64)
    velocity /= velocity.norm(dim=1, keepdim=True)
    exact = velocity.clone()
    kinetic = _bend(exact, force, torch.tensor([0.1, 0.03], dtype=torch.float64))
    steps = 20000
    size = torch.tensor([[0.1], [0.03]], dtype=torch.float64) / steps
    change = torch.zeros(2, dtype=torch.float64)
    for _ in range(steps):
        along = (velocity * force).sum(1, keepdim=True)
        change -= (size * along)[:, 0]
        velocity = velocity - size * (force - velocity * along) / 5
    assert torch.allclose(velocity, exact, atol=1e-4)
    assert torch.allclose(change, kinetic, atol=1e-3)


def test_bad_options(wave_task):
    for options in ({"decoherence": 0.0}, {"adapt_steps": -1}, {"energy_variance": 0.0}):
        with pytest.raises(InputError, match=r"expected decoherence > 0, .*; change that option of mclmc"):
            mclmc(LocalPosterior(wave_task, 1.0, 1.0), step_size=0.1, **options)
    with pytest.raises(InputError, match=r"expected decoherence, or gamma > 0, got neither"):
        mclmc(LocalPosterior(wave_task, 1.0, 0.0), step_size=0.1)
    with pytest.raises(InputError, match="use sampler 'hmc'"):
        mclmc(LocalPosterior(toys.quadratic([1.0]), 1.0, 1.0), step_size=0.1)
