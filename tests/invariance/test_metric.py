"""The metric of tensors: rescaling a ReLU layer, which leaves the function alone, leaves λ̂ alone."""

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.estimators.llc import estimate
from bitsandnats.metric import in_metric, tensor_scales
from bitsandnats.run import sample


def relu_task(c, *, seed=0):
    """A trained two-layer ReLU net with (W₁, b₁) times c and W₂ through c."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 4, generator=random, dtype=torch.float64)
    y = torch.relu(x @ torch.randn(4, 3, generator=random, dtype=torch.float64)).sum(1, keepdim=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        model[0].weight.mul_(c)
        model[0].bias.mul_(c)
        model[2].weight.div_(c)
    return bn.Task.from_module(model, bn.losses.gaussian(1.0), (x, y))


HMC = {"sampler": "hmc(leapfrogs=8, adapt_steps=60)", "burn_in": 60, "draws": 120, "chains": 8, "mode": "vmap"}


@pytest.fixture(scope="module")
def reference():
    settings = bn.Settings(step_size=0.03, gamma=1.0, nbeta=200.0, metric="tensors", **HMC)
    return settings, bn.estimate_llc(relu_task(1.0), settings=settings)


@pytest.mark.parametrize("c", [1e-4, 1e4])
def test_flat_over_eight_decades(c, reference):
    settings, first = reference
    found = bn.estimate_llc(relu_task(c), settings=settings)
    assert abs(found.llc - first.llc) < 4 * (found.se**2 + first.se**2) ** 0.5
    assert found.se < 0.05 * found.llc


def test_plain_weights_are_not_flat(reference):
    """The same pull in the weights themselves: a hundredfold rescaling is another basin."""
    settings, first = reference
    plain = settings.model_copy(update={"metric": "weights", "step_size": 1e-3})
    found = estimate(sample(relu_task(100.0), plain))
    assert abs(found.llc - first.llc) > 6 * (found.se**2 + first.se**2) ** 0.5


def test_scales_follow_the_tensors():
    one, other = (tensor_scales(relu_task(c)) for c in (1.0, 1000.0))
    assert other["0.weight"] == pytest.approx(1000 * one["0.weight"], rel=1e-6)
    assert other["2.weight"] == pytest.approx(one["2.weight"] / 1000, rel=1e-6)


def test_the_loss_is_the_same_function():
    task = relu_task(3.0)
    moved = in_metric(task, "tensors")
    batch = task.batch(torch.arange(5))
    assert torch.allclose(moved.item_losses(moved.center, batch), task.item_losses(task.center, batch))
    assert in_metric(task, "weights") is task
