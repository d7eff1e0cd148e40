"""Settings that nobody has to guess: both routes, their reasons, and what is refused."""

import math

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats.calibration import full_batch
from bitsandnats.calibration.choices import Choices
from bitsandnats.errors import InputError
from bitsandnats.estimators.verdict import USABLE


@pytest.fixture(scope="module")
def regression():
    """Ten weights at the least-squares solution: λ = 5."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 10, generator=random, dtype=torch.float64)
    y = x.sum(1, keepdim=True) + torch.randn(1000, 1, generator=random, dtype=torch.float64)
    model = nn.Linear(10, 1, bias=False).double()
    model.weight.data = torch.linalg.lstsq(x, y).solution.T.contiguous()
    return bn.Task.from_module(model, bn.losses.gaussian(1.0), (x, y))


def exact(task, settings):
    """λ̂ at the settings' nβ and γ, from the Hessian of the regression."""
    (x, _) = task.data.batch(torch.arange(len(task.data)))
    h = torch.linalg.eigvalsh(x.T @ x / len(x))
    return float((0.5 * settings.nbeta * h / (settings.nbeta * h + settings.gamma)).sum())


def test_full_batch_route(regression):
    settings = bn.calibrate(regression, target_se=0.03)
    assert settings.sampler.startswith("hmc(")
    assert settings.nbeta == pytest.approx(1000 / math.log(1000))
    acting = {"sampler", "step_size", "gamma", "nbeta", "batch_size", "chains", "burn_in", "draws", "start"}
    assert acting <= set(settings.reasons)
    found = bn.estimate_llc(regression, settings=settings, target_se=0.04)  # on a slow machine fewer draws are planned
    truth = exact(regression, settings)
    assert abs(found.llc - truth) < 4 * found.se
    assert found.se < 0.05 * truth
    assert abs(truth - 5) < 0.02 * 5
    assert found.verdict.status == USABLE


def test_no_pass_over_all_of_many_data_is_made_to_find_that_it_is_dear():
    seen = []

    def loss(model, batch):
        seen.append(batch[0].shape[-2])
        return (model(batch[0]).squeeze(-1) - batch[1]).square()

    x = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 1))
    task = bn.Task.from_module(model, loss, (x, x[:, 0]))
    assert full_batch.plan([task], Choices({"nbeta": 100.0}), 1.0, budget=10.0) is None
    assert max(seen) < len(x)


def test_mini_batch_route(regression):
    settings = bn.calibrate(regression, given={"sampler": "sgld", "batch_size": 100})
    assert settings.sampler == "sgld"
    assert "adds" in settings.reasons["step_size"]
    found = bn.estimate_llc(regression, settings=settings, draws=3 * settings.draws)
    assert abs(found.llc - exact(regression, settings)) < 4 * found.se + 0.06 * 5
    assert found.figures["step_share"] < 0.08
    assert found.figures["mala_acceptance"] > 0.8


def test_a_target_is_met_and_the_draws_are_those_of_one_run(regression):
    fields = {"gamma": 5.0, "nbeta": 100.0, "step_size": 0.05, "chains": 4, "burn_in": 50, "draws": 50}
    settings = bn.Settings(sampler="hmc(leapfrogs=4, adapt_steps=50)", mode="vmap", **fields)
    found = bn.estimate_llc(regression, settings=settings, target_se=0.02)
    drawn = int(found.tree.attrs["draws"])
    assert drawn > 50
    assert found.se <= 0.021 * found.llc
    again = bn.estimate_llc(regression, settings=settings, draws=drawn)
    assert (again.tree["draws"]["loss"].values == found.tree["draws"]["loss"].values).all()


def test_a_budget_ends_it(regression):
    settings = bn.Settings(step_size=1e-3, gamma=1.0, nbeta=100.0, chains=2, draws=20)
    found = bn.estimate_llc(regression, settings=settings, budget=1.5)
    assert found.tree.attrs["draws"] > 20
    assert found.tree.attrs["seconds"] < 10


def test_the_pull_is_raised_until_the_draws_stay_in_the_basin(digit_task):
    settings = bn.calibrate(digit_task, budget=1e6)
    assert "basin" in settings.reasons["gamma"] or "no longer depends" in settings.reasons["gamma"]
    found = bn.estimate_llc(digit_task, settings=settings, draws=30)
    assert found.figures["chance_share"] < 0.1


def test_a_number_that_the_pull_shapes_is_not_read_as_lambda():
    """γ as strong as the likelihood: λ̂ is half of λ."""
    task = toys.quadratic([1.0] * 20)
    fields = {
        "sampler": "hmc(leapfrogs=4, adapt_steps=50)",
        "step_size": 0.05,
        "burn_in": 50,
        "draws": 150,
        "chains": 8,
    }
    found = bn.estimate_llc(task, settings=bn.Settings(nbeta=100.0, gamma=100.0, **fields))
    assert found.llc == pytest.approx(5, abs=4 * found.se)
    assert any("depends on the pull" in reason for reason in found.verdict.reasons)
    assert bn.estimate_llc(task, settings=bn.Settings(nbeta=100.0, gamma=0.5, **fields)).verdict.status == USABLE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nbeta": 0.145}, "looks like β itself"),
        ({"batch_size": 5000}, "at most the 1000 items"),
        ({"draws": 10, "target_se": 0.05}, "one rule for when to stop"),
        ({"draws": 10, "budget": 5.0}, "one rule for when to stop"),
        ({"target_se": 5.0}, "between 0 and 100 %"),
        ({"budget": -1.0}, "above 0 seconds"),
        ({"step_size": 0.0}, "step_size"),
        ({"gamma": -1.0}, "gamma"),
        ({"nbeta": 0.0}, "nbeta"),
        ({"controls": ["everything"]}, "controls among"),
        ({"sampler": "adam_sgld"}, "step sizes do not carry over"),
    ],
)
def test_what_is_refused(regression, options, said):
    with pytest.raises(InputError, match=said):
        bn.estimate_llc(regression, **options)


def test_more_chains_than_memory():
    task = toys.quadratic([1.0] * 1000)
    settings = bn.Settings(step_size=1e-3, gamma=1.0, nbeta=10.0, chains=10**9, mode="vmap")
    with pytest.raises(InputError, match="fewer chains"):
        bn.estimate_llc(task, settings=settings)
