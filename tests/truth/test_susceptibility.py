"""Susceptibilities and refined λ̂ where they are known: quadratics, and networks of parts that share nothing."""

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.errors import InputError
from bitsandnats.estimators.curves import cluster_curves, warping_distance
from bitsandnats.estimators.response_components import independent_components, standardised
from bitsandnats.settings import Settings
from bitsandnats.theory.finite_temperature import quadratic_llc
from bitsandnats.theory.gaussian_losses import two_chain_susceptibility

HMC = {"sampler": "hmc(leapfrogs=3)", "mode": "vmap", "statistics": "none", "burn_in": 6}


class Blocks(nn.Module):
    """Weights in two parts."""

    def __init__(self, d):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(d, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(d, dtype=torch.float64))

    def forward(self):
        return torch.cat([self.a, self.b])


def quadratics(hessians):
    """ℓ_i = ½ wᵀH_i w in two parts of the weights, minimal at w* = 0."""

    def loss(model, batch):
        w = model()
        return 0.5 * torch.einsum("i,nij,j->n", w, batch, w)

    return bn.Task.from_module(Blocks(hessians.shape[1] // 2), loss, torch.as_tensor(hessians))


def test_two_chain_estimator_on_quadratics():
    random = np.random.default_rng(3)
    factors = random.standard_normal((6, 4, 4))
    hessians = factors @ np.swapaxes(factors, 1, 2) / 2
    task, nbeta, gamma = quadratics(hessians), 3.0, 2.0
    settings = Settings(**HMC, nbeta=nbeta, gamma=gamma, step_size=0.2, chains=900, draws=60)
    probes = {"near": torch.as_tensor(hessians[:2]), "far": torch.as_tensor(3 * hessians[2:4])}
    found = bn.susceptibility(task, ["a", "b"], probes, settings=settings, looks=60)
    probed = np.concatenate([hessians[:2], 3 * hessians[2:4]])
    mean = hessians.mean(0)
    truth = np.array(
        [
            [two_chain_susceptibility(mean, h, np.array(c), nbeta=nbeta, gamma=gamma) for h in probed]
            for c in ((0, 1), (2, 3))
        ]
    )
    se = found.dataset["susceptibility_se"].values
    assert (np.abs(found.susceptibility - truth) < 4 * se).all()
    assert se.max() < 0.05 * np.abs(truth).max()
    assert np.allclose(found.response, found.susceptibility.reshape(2, 2, 2).mean(2))


def separate(random, items=60):
    """Two modules, each seeing its own inputs: items of the first half move the first, the others the second."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 1, bias=False, dtype=torch.float64)
            self.second = nn.Linear(3, 1, bias=False, dtype=torch.float64)

        def forward(self, x):
            return self.first(x[:, :3]) + self.second(x[:, 3:])

    x = random.standard_normal((items, 6))
    x[: items // 2, 3:] = 0
    x[items // 2 :, :3] = 0
    y = random.standard_normal((items, 1))
    model = Two()
    best = np.linalg.lstsq(x, y, rcond=None)[0][:, 0]
    with torch.no_grad():
        model.first.weight.copy_(torch.as_tensor(best[None, :3]))
        model.second.weight.copy_(torch.as_tensor(best[None, 3:]))
    return bn.Task.from_module(model, bn.losses.gaussian(), (torch.as_tensor(x), torch.as_tensor(y))), x


@pytest.fixture(scope="module")
def disjoint():
    """One run over two modules that share nothing, read in every way."""
    task, x = separate(np.random.default_rng(5))
    settings = Settings(**HMC, nbeta=20.0, gamma=1.0, step_size=0.15, chains=100, draws=60)
    run = bn.observe(
        task,
        {"train": range(60), "inputs": range(60)},
        pairs=[("inputs", "inputs")],
        components=["first.*", "second.*"],
        settings=settings,
        looks=60,
    )
    return task, x, settings, run


def test_disjoint_modules_are_recovered(disjoint):
    task, _, _, run = disjoint
    found = bn.susceptibility(task, run=run)
    # towards own data the cost of a module falls, towards the other's it rises with what those losses rise by in full
    apart = found.susceptibility / found.dataset["phi"].values[:, None]
    difference = apart[0] - apart[1]
    assert np.mean(difference[:30, None] < difference[None, 30:]) > 0.99
    assert found.verdict.status == "usable"


def test_specific_responses_are_the_same_wherever_a_module_changes_nothing(disjoint):
    task, _, _, run = disjoint
    specific = bn.susceptibility(task, run=run).specific()
    for own, others in ((specific[0, :30], specific[0, 30:]), (specific[1, 30:], specific[1, :30])):
        assert np.ptp(others) < 1e-6 * np.ptp(own)
        assert own.mean() < 0 < others.min()


def test_disjoint_modules_share_no_covariance(disjoint):
    from bitsandnats.estimators.kernel_blocks import block_energy
    from bitsandnats.estimators.loss_kernel import purity

    task, _, _, run = disjoint
    kernel, groups = bn.loss_kernel(task, run=run), np.repeat([0, 1], 30)
    energy = block_energy(kernel, groups)
    assert energy.low <= 0.02
    assert energy.value < 0.05
    across = kernel.kernel[:30, 30:] / kernel.dataset["kernel_se"].values[:30, 30:]
    assert np.abs(across).mean() < 1.0  # as a normal's, 0.8
    assert purity(kernel, groups) == 1.0


def test_refined_llc_is_that_of_the_block(disjoint):
    task, x, settings, _ = disjoint
    found = bn.refined_llc(task, ["all", "first.*", "second.*"], settings=settings)
    curvature = [np.linalg.eigvalsh(part.T @ part / 60) for part in (x, x[:, :3], x[:, 3:])]
    for place, h in enumerate(curvature):
        truth = quadratic_llc(h, nbeta=20.0, gamma=1.0)
        llc, se = (float(found.dataset[name].values[0, place, 0]) for name in ("llc", "se"))
        assert abs(llc - truth) < 4 * se
        assert se < 0.05 * truth
    llc = found.dataset["llc"].values[0, :, 0]
    assert abs(llc[0] - llc[1] - llc[2]) < 0.05 * llc[0]  # block-separable: they add


def test_overlapping_and_missing_components(disjoint):
    task, _, settings, _ = disjoint
    probes = {"all": range(4)}
    with pytest.raises(InputError, match=r"got first\.\* and first.weight, which share first.weight"):
        bn.susceptibility(task, ["first.*", "first.weight"], probes, settings=settings)
    with pytest.raises(InputError, match="a component of this model"):
        bn.susceptibility(task, ["third"], probes, settings=settings)
    with pytest.raises(InputError, match="expected components and probes, got no probes"):
        bn.susceptibility(task, ["first.*"], {}, settings=settings)
    with pytest.raises(InputError, match="a component of this model"):
        bn.refined_llc(task, ["third"], settings=settings)
    with pytest.raises(InputError, match="got no components"):
        bn.refined_llc(task, [], settings=settings)


def test_response_matrix_needs_enough_of_both(disjoint):
    task, _, _, run = disjoint
    found = bn.susceptibility(task, run=run)
    assert found.principal(2).loadings.shape == (2, 2)
    with pytest.raises(InputError, match=r"expected a rank from 1 to 2, .* got 3"):
        found.principal(3)


def test_specific_responses_reproduce_by_themselves(disjoint):
    task, _, _, run = disjoint
    found = bn.susceptibility(task, run=run)
    own = found.specific_reliability()
    assert own.overall > 0.9
    first, last = (found.specific()[:, part] for part in (slice(0, 30), slice(30, 60)))
    assert first[0].mean() < last[0].mean()
    assert first[1].mean() > last[1].mean()


def test_independent_components_are_told_apart():
    random = np.random.default_rng(0)
    sources = random.laplace(size=(2, 4000))
    mixing = np.array([[2.0, 0.5], [1.0, 0.0], [0.3, 1.5], [0.0, -1.0]])
    matrix = mixing @ sources + 0.01 * random.standard_normal((4, 4000))
    found = independent_components(matrix, 2, seed=1)
    for source in sources:
        r = np.abs(np.corrcoef(np.concatenate([source[None], found.scores.T]))[0, 1:])
        assert r.max() > 0.995
        assert r.min() < 0.05
    assert found.explained.sum() == pytest.approx(1, abs=0.01)
    rebuilt = found.loadings @ found.scores.T
    assert np.allclose(rebuilt, standardised(matrix), atol=0.1)
    again = independent_components(matrix, 2, seed=1)
    assert np.array_equal(found.loadings, again.loadings)


def test_what_a_component_stands_for(disjoint):
    task, _, _, run = disjoint
    found = bn.susceptibility(task, run=run)
    for components in (found.principal(2), found.independent(2)):
        top = found.leading(components, 1, 3)
        assert [abs(value) for *_, value in top] == sorted(np.abs(components.scores[:, 1]))[::-1][:3]
        assert all(probe == "inputs" and token == -1 for probe, _, token, _ in top)
    with pytest.raises(InputError, match="expected a place from 0 to 1, got 2"):
        found.leading(components, 2)


@pytest.mark.parametrize("method", ["kmeans", "dtw", "hierarchical"])
def test_curves_of_two_shapes_are_told_apart(method):
    time = np.linspace(0, 1, 12)
    random = np.random.default_rng(0)
    curves = np.stack([time] * 3 + [1 - time] * 3) + 0.05 * random.standard_normal((6, 12))
    assert cluster_curves(curves, 2, method=method).tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(InputError, match="from 1 to 6 clusters"):
        cluster_curves(curves, 7, method=method)


def test_warping_forgives_a_delay():
    assert warping_distance(np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 1, 1])) == 0
    assert warping_distance(np.array([0.0, 1, 2]), np.array([0.0, 1, 4])) == 2.0


def test_toys_of_items_are_at_their_minimum():
    task = toys.item_quadratics([[[1.0]], [[3.0]]], [[0.0], [1.0]])
    assert float(task.center["w"]) == pytest.approx(0.75)
