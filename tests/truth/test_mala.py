"""MALA against known answers: the published acceptances, the exact law at any step, one leapfrog of HMC.

The criterion for exact laws: |estimate − truth| < 4 s.e. and s.e. < 1 % of truth. The same criterion must refuse SGLD's
law at the same step, which differs by more than 25 %.
"""

import numpy as np
import pytest
import torch

from bitsandnats import toys
from bitsandnats._rng import streams
from bitsandnats.errors import InputError
from bitsandnats.estimators.llc import estimate
from bitsandnats.run import sample
from bitsandnats.samplers.mala import Point, mala, mala_acceptance
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior
from bitsandnats.theory.finite_step import finite_step_llc, stationary_variance
from bitsandnats.theory.quadrature import exact_llc_of_crossing

CURVATURES = np.array([0.0, 0.1, 1.0])


def meets(value, se, truth, share=0.01):
    return abs(value - truth) < 4 * se and se < share * truth


def point(position, gradient, energy):
    return Point(*(torch.tensor([value], dtype=torch.float64) for value in (position, gradient, energy)))


@pytest.mark.parametrize(
    ("start", "proposal", "step_size", "truth"),
    [
        (point([0.0, 0.0], [0.0, 0.0], 0.0), point([1.5, 5.5], [1.5, 5.5], 16.25), 0.1, 0.6661436),
        (point([1.0, 1.0], [1.0, 1.0], 1.0), point([1.5, 0.5], [1.5, 0.5], 1.25), 0.5, 0.9692332),
    ],
)
def test_published_acceptances(start, proposal, step_size, truth):
    assert float(mala_acceptance(start, proposal, step_size=step_size)) == pytest.approx(truth, abs=5e-8)


def test_acceptance_is_at_most_one_and_none_where_nothing_is_finite():
    down = mala_acceptance(point([3.0], [3.0], 4.5), point([0.1], [0.1], 0.005), step_size=0.01)
    assert 0 < float(down) <= 1
    assert float(mala_acceptance(point([0.0], [0.0], 0.0), point([1.0], [1.0], float("inf")), step_size=0.1)) == 0
    broken = point([float("nan")], [1.0], 1.0)
    assert float(mala_acceptance(point([0.0], [0.0], 0.0), broken, step_size=0.1)) == 0


def test_a_leapfrog_is_a_langevin_proposal(wave_task):
    """The engine's acceptance, from the energies of a trajectory, is the ratio of MALA's proposal densities."""
    nbeta, gamma, step_size, chains = 20.0, 10.0, 2e-5, 16
    target = LocalPosterior(wave_task, nbeta, gamma, "vmap")
    sampler = mala(target, step_size=step_size)
    rng = streams(2, range(chains))
    state = sampler.init(rng, {k: w.repeat(chains, *(1,) * w.ndim) for k, w in wave_task.center.items()})

    def here():
        found = target.evaluate(state.position, None)
        w = torch.cat([v.flatten(1) for v in state.position.values()], 1)
        d = w - torch.cat([v.flatten() for v in wave_task.center.values()])
        g = torch.cat([found.gradient[k].flatten(1) for k in state.position], 1)
        return Point(w, nbeta * g + gamma * d, nbeta * found.loss + gamma / 2 * d.square().sum(1))

    compared = 0
    for _ in range(40):
        before = here()
        state, info = sampler.step(rng, state, None)
        after = here()
        moved = (after.position != before.position).any(1)
        ratio = mala_acceptance(before, after, step_size=step_size)
        assert torch.allclose(info.statistics["acceptance"][moved], ratio[moved], rtol=1e-7)
        assert torch.allclose(info.statistics["step_size_used"], torch.tensor(step_size, dtype=torch.float64))
        compared += int((moved & (ratio < 0.99)).sum())
    assert compared > 20


@pytest.mark.parametrize(("copies", "step_size"), [(1, 0.025), (4, 0.02)])
def test_law_on_a_quadratic(copies, step_size):
    """1/κ in each direction, where SGLD at the same ε has 1/[κ(1 − εκ/4)]; λ̂ likewise."""
    nbeta, gamma, chains, draws = 50.0, 10.0, 512, 450 if copies == 1 else 300
    h = np.repeat(CURVATURES, copies)
    settings = Settings(
        sampler="mala", nbeta=nbeta, gamma=gamma, step_size=step_size, chains=chains, burn_in=60, draws=draws,
        start="noise", mode="vmap", batch_size=2, seed=1,
    )  # fmt: skip
    tree = sample(toys.quadratic(h.tolist()), settings, observables={"weights": "moments"})
    seen = tree["observables"].dataset
    squares = seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2
    squares = squares.reshape(chains, len(CURVATURES), copies).mean(2)
    options = {"nbeta": nbeta, "gamma": gamma, "step_size": step_size}
    of_sgld = stationary_variance(CURVATURES, **options)
    for i, kappa in enumerate(nbeta * CURVATURES + gamma):
        value, se = float(squares[:, i].mean()), float(squares[:, i].std(ddof=1)) / chains**0.5
        assert meets(value, se, 1 / kappa), (kappa, value * kappa, se * kappa)
        if of_sgld[i] * kappa > 1.25:
            assert not meets(value, se, of_sgld[i])
    assert of_sgld[-1] * (nbeta + gamma) > 1.25
    found = estimate(tree)
    truth = float(0.5 * (nbeta * h / (nbeta * h + gamma)).sum())
    assert meets(found.llc, found.se, truth), (found.llc, found.se, truth)
    assert finite_step_llc(h, **options) > 1.2 * truth
    assert not meets(found.llc, found.se, finite_step_llc(h, **options))


def test_crossing():
    settings = Settings(
        sampler="mala(adapt_steps=100)", nbeta=30.0, gamma=5.0, step_size=0.02, chains=256, burn_in=120, draws=150,
        start="noise", mode="vmap", batch_size=2, seed=5,
    )  # fmt: skip
    tree = sample(toys.normal_crossing([1, 1]), settings)
    found, truth = estimate(tree), exact_llc_of_crossing(nbeta=30.0, gamma=5.0)
    assert meets(found.llc, found.se, truth, 0.05), (found.llc, found.se, truth)


@pytest.mark.parametrize("step_size", [1e-4, 1.0])
def test_adaptation_reaches_the_best_acceptance(step_size):
    task = toys.quadratic(np.repeat(CURVATURES, 10).tolist())
    settings = Settings(
        sampler="mala(adapt_steps=300)", nbeta=50.0, gamma=10.0, step_size=step_size, chains=16, burn_in=300, draws=100,
        mode="vmap", batch_size=2,
    )  # fmt: skip
    draws = sample(task, settings)["draws"].dataset
    assert float(draws["acceptance"].mean()) == pytest.approx(0.574, abs=0.1)
    used = draws["step_size_used"].values
    assert (used == used[:, :1]).all()
    assert len(np.unique(used[:, 0])) == 16


def test_bad_options(wave_task):
    target = LocalPosterior(wave_task, 1.0, 1.0)
    for options in ({"adapt_steps": -1}, {"target_accept": 1.5}):
        with pytest.raises(InputError, match=r"expected adapt_steps ≥ 0, .*; change that option of mala"):
            mala(target, step_size=0.1, **options)
