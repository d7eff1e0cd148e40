"""HMC against known answers: exact in law at any step, and the machinery that makes it so.

The criterion for exact laws: |estimate − truth| < 4 s.e. and s.e. < 1 % of truth. The same criterion must refuse the
law of the same trajectories without accept/reject where that differs by more than 25 %.
"""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats._rng import generator, streams
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.samplers.full_batch import beside, surface
from bitsandnats.samplers.hmc import hmc
from bitsandnats.samplers.metropolis import leapfrog
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.quadrature import exact_llc, exact_llc_of_crossing

CURVATURES = np.array([0.0, 0.1, 1.0])
NBETA, GAMMA = 50.0, 10.0
KAPPA = NBETA * CURVATURES + GAMMA


def meets(value, se, truth, share=0.01):
    return abs(value - truth) < 4 * se and se < share * truth


def run(task, sampler, *, observables=None, **fields):
    settings = {"nbeta": NBETA, "gamma": GAMMA, "mode": "vmap", "batch_size": 2, "seed": 3, **fields}
    return sample(task, Settings(sampler=sampler, **settings), observables=observables)


def begun(task, sampler, chains, *, spread=0.2):
    rng = streams(7, range(chains))
    start = [generator(7, c, "start") for c in range(chains)]
    position = {
        name: torch.stack([w + spread * torch.randn(w.shape, generator=g, dtype=w.dtype) for g in start])
        for name, w in task.center.items()
    }
    return rng, sampler.init(rng, position)


@pytest.mark.parametrize(("copies", "step_size", "leapfrogs"), [(6, 0.16, 4), (1, 0.2, 3), (2, 0.17, 1)])
def test_law_of_each_coordinate(copies, step_size, leapfrogs):
    """1/κ whatever the step; trajectories that are not corrected have 1/[κ(1 − h²κ/4)]."""
    chains, draws = 512, 160
    tree = run(
        toys.quadratic(np.repeat(CURVATURES, copies).tolist()), f"hmc(leapfrogs={leapfrogs})", step_size=step_size,
        chains=chains, burn_in=40, draws=draws, start="noise", observables={"weights": "moments"},
    )  # fmt: skip
    seen = tree["observables"].dataset
    squares = seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2
    squares = squares.reshape(chains, len(KAPPA), copies).mean(2)  # accepted together: only chains are independent
    refused = 0
    for i, kappa in enumerate(KAPPA):
        value, se = float(squares[:, i].mean()), float(squares[:, i].std(ddof=1)) / chains**0.5
        assert meets(value, se, 1 / kappa), (kappa, value * kappa, se * kappa)
        unadjusted = 1 / (kappa * (1 - step_size**2 * kappa / 4))
        if unadjusted * kappa > 1.25:
            assert not meets(value, se, unadjusted)
            refused += 1
    assert refused > 0
    acceptance = float(tree["draws"].dataset["acceptance"].mean())
    assert 0.3 < acceptance < 0.99


@pytest.mark.parametrize(("gamma", "draws"), [(1.0, 60), (30.0, 60)])
def test_crossing(gamma, draws):
    tree = run(
        toys.normal_crossing([1, 1]), "hmc(leapfrogs=8, adapt_steps=30)", nbeta=30.0, gamma=gamma, step_size=0.1,
        chains=512, burn_in=40, draws=draws, start="noise",
    )  # fmt: skip
    found, truth = estimate(tree), exact_llc_of_crossing(nbeta=30.0, gamma=gamma)
    assert meets(found.llc, found.se, truth, 0.05), (found.llc, found.se, truth)
    assert abs(found.llc - 0.5) > 4 * found.se


def test_quartic():
    """L = w₁² + w₂⁴: λ = 3/4."""
    chains = 512

    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self):
            return self.w

    task = bn.Task.from_module(
        Point(), lambda model, batch: (model()[0] ** 2 + model()[1] ** 4).expand(len(batch)), torch.zeros(2, 1)
    )
    tree = run(task, "hmc(leapfrogs=8, adapt_steps=30)", nbeta=1000.0, gamma=1.0, step_size=0.03, chains=chains,
               burn_in=40, draws=50)  # fmt: skip
    found = estimate(tree)
    truth = exact_llc(lambda x, y: x**2 + y**4, 2, nbeta=1000.0, gamma=1.0)
    assert truth == pytest.approx(0.75, abs=0.01)
    assert meets(found.llc, found.se, truth, 0.05), (found.llc, found.se, truth)


def test_trajectories_are_reversible(wave_task):
    """There, momentum turned round, and back again: the same weights and the opposite change of energy."""
    energy = surface(LocalPosterior(wave_task, 20.0, 10.0, "vmap"))
    generator_ = torch.Generator().manual_seed(0)
    position = {
        name: torch.stack([w + 0.1 * torch.randn(w.shape, generator=generator_, dtype=w.dtype) for _ in range(3)])
        for name, w in wave_task.center.items()
    }
    start = energy.place(position)
    momentum = torch.randn(start.weights.shape, generator=generator_, dtype=start.weights.dtype)
    turned, size = momentum.clone(), torch.tensor([0.004, 0.001, 0.006], dtype=torch.float64)
    end = leapfrog(energy, beside(start), turned, size=size, count=20)
    forth = energy.energy_change(start, end)
    assert float((end.weights - start.weights).abs().max()) > 0.02
    back = leapfrog(energy, beside(end), turned.neg_(), size=size, count=20)
    assert torch.allclose(back.weights, start.weights, rtol=1e-9, atol=1e-11)
    assert torch.allclose(-turned, momentum, rtol=1e-9, atol=1e-11)
    assert torch.allclose(energy.energy_change(end, back), -forth, rtol=1e-7)
    assert torch.allclose(back.loss, start.loss, rtol=1e-10)


def test_energy_is_conserved_to_second_order(wave_task):
    energy = surface(LocalPosterior(wave_task, 20.0, 10.0, "vmap"))
    start = energy.place({name: w.unsqueeze(0) for name, w in wave_task.center.items()})
    momentum = torch.randn(start.weights.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = []
    for count in (30, 60, 120):
        own = momentum.clone()
        end = leapfrog(energy, beside(start), own, size=torch.tensor([0.1 / count], dtype=torch.float64), count=count)
        kinetic = (own.square().sum() - momentum.square().sum()) / 2
        errors.append(abs(float(energy.energy_change(start, end) + kinetic)))
    assert [a / b for a, b in itertools.pairwise(errors)] == pytest.approx([4, 4], rel=0.1)


def test_energy_change_is_that_of_the_target(wave_task):
    target = LocalPosterior(wave_task, 20.0, 10.0)
    energy = surface(target)
    places = [energy.place({k: (w * s).unsqueeze(0) for k, w in wave_task.center.items()}) for s in (1.1, 0.8)]
    values = []
    for place in places:
        found = target.evaluate(place.position, None)
        assert torch.equal(place.loss, found.loss)
        values.append(20.0 * found.loss + 5.0 * (place.weights - energy.center).square().sum(1))
    assert torch.allclose(energy.energy_change(*places), values[1] - values[0], rtol=1e-10)


def test_acceptance_falls_with_the_step():
    task = toys.quadratic(np.repeat(CURVATURES, 20).tolist())
    rates = []
    for step_size in (0.02, 0.08, 0.14, 0.2):
        tree = run(task, "hmc(leapfrogs=6)", step_size=step_size, chains=32, draws=25, burn_in=10, start="noise")
        rates.append(float(tree["draws"].dataset["acceptance"].mean()))
    assert rates[0] > 0.99
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5


@pytest.mark.parametrize("wanted", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("step_size", [0.002, 0.5])
def test_adaptation_reaches_the_wanted_acceptance(wanted, step_size):
    """From far too small and far too large a step; afterwards each chain keeps its own."""
    task = toys.quadratic(np.repeat(CURVATURES, 10).tolist())
    tree = run(
        task, f"hmc(leapfrogs=3, adapt_steps=200, target_accept={wanted})", step_size=step_size, chains=16, burn_in=200,
        draws=50,
    )  # fmt: skip
    draws = tree["draws"].dataset
    assert float(draws["acceptance"].mean()) == pytest.approx(wanted, abs=0.1)
    used = draws["step_size_used"].values
    assert (used == used[:, :1]).all()
    assert len(np.unique(used[:, 0])) == 16
    assert used[:, 0].std() / used.mean() < 0.3
    assert tree["burn_in"].dataset["step_size_used"].values[:, 0] == pytest.approx(step_size)


def test_a_trajectory_that_is_not_finite_is_rejected():
    """At a step that overflows nothing moves, and no chain counts as diverged."""
    task = toys.normal_crossing([2, 2])
    sampler = hmc(LocalPosterior(task, 100.0, 1.0, "vmap"), step_size=1e3, leapfrogs=40)
    rng, state = begun(task, sampler, 3)
    before = state.position["w"].clone()
    for _ in range(3):
        state, info = sampler.step(rng, state, None)
        assert not info.diverged.any()
        assert not info.statistics["acceptance"].any()
    assert torch.equal(state.position["w"], before)


def test_streams_do_not_depend_on_what_is_accepted():
    task = toys.quadratic([1.0] * 5)
    states = []
    for step_size in (1e-3, 10.0):
        sampler = hmc(LocalPosterior(task, 100.0, 1.0, "vmap"), step_size=step_size, leapfrogs=3)
        rng, state = begun(task, sampler, 2)
        for _ in range(4):
            state, info = sampler.step(rng, state, None)
        states.append([g.get_state() for g in rng.generators])
    assert float(info.statistics["acceptance"].max()) < 0.5
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


@pytest.mark.parametrize("leapfrogs", [1, 3, 10])
def test_number_of_evaluations(leapfrogs):
    """One a leapfrog; their number varies over (0, 2·leapfrogs] and its mean is `leapfrogs`."""
    seen = []

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self):
            seen.append(1)
            return self.w

    task = bn.Task.from_module(
        Counted(), lambda model, batch: model().square().sum().expand(len(batch)), torch.zeros(2, 1)
    )
    sampler = hmc(LocalPosterior(task, 1.0, 1.0), step_size=1e-3, leapfrogs=leapfrogs)
    seen.clear()
    rng, state = begun(task, sampler, 1)
    assert len(seen) == 1
    counts = []
    for _ in range(89):
        seen.clear()
        state, _ = sampler.step(rng, state, None)
        counts.append(len(seen))
    assert 1 <= min(counts) <= max(counts) <= 2 * leapfrogs
    assert np.mean(counts) == pytest.approx(leapfrogs, rel=0.02 if leapfrogs > 1 else 0.3)
    assert len(set(counts)) > leapfrogs


def test_bad_options(wave_task):
    target = LocalPosterior(wave_task, 1.0, 1.0)
    for options in ({"leapfrogs": 0}, {"adapt_steps": -1}, {"target_accept": 1.0}, {"target_accept": 0.0}):
        with pytest.raises(InputError, match=r"expected leapfrogs ≥ 1, .*; change that option of hmc"):
            hmc(target, step_size=0.1, **options)


def test_weights_of_two_types():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.zeros(2))
            self.b = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self):
            return self.a.double() + self.b

    task = bn.Task.from_module(
        Mixed(), lambda model, batch: model().square().sum().expand(len(batch)), torch.zeros(2, 1)
    )
    with pytest.raises(InputError, match=r"one floating type .* got torch.float32 and torch.float64; cast the model"):
        hmc(LocalPosterior(task, 1.0, 1.0), step_size=0.1)
