"""The finite-step virial identity E[(w−w*)·G] = d + ε/4 E‖G‖², exact for any loss, batch and step.

Pathwise over T steps: mean virial − d = (ε/4) mean‖G‖² − (‖w_T−w*‖² − ‖w_0−w*‖²)/(εT) + noise, where the noise has
mean 0 and s.d. about 2 rms‖w−w*‖/√(εT).
"""

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.run import sample
from bitsandnats.settings import Settings

CHAINS = 16
STEPS = 400


@pytest.fixture(scope="module", params=["tanh", "logistic"])
def task(request, build_mlp):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    if request.param == "tanh":
        y = torch.sin(x.sum(1, keepdim=True))
        return bn.Task.from_module(build_mlp(4, 6, 1, dtype=torch.float64), bn.losses.gaussian(1.0), (x, y))
    y = (x[:, 0] + 0.5 * torch.randn(64, generator=generator, dtype=torch.float64) > 0).long()

    def loss(model, batch):
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")

    return bn.Task.from_module(build_mlp(4, 2, dtype=torch.float64), loss, (x, y))


def terms(task, step_size, start):
    """Each chain's virial − d, its two explained parts, and the noise's predicted s.d."""
    settings = Settings(
        nbeta=30.0, gamma=10.0, step_size=step_size, batch_size=8, chains=CHAINS, draws=STEPS + 1, mode="vmap",
        start=start, seed=2,
    )  # fmt: skip
    data = sample(task, settings)["draws"].dataset
    squares = data["distance_squared"].values
    surplus = data["virial"].values[:, :STEPS].mean(1) - task.dimension
    step = step_size / 4 * data["gradient_norm_squared"].values[:, :STEPS].mean(1)
    relaxation = -(squares[:, STEPS] - squares[:, 0]) / (step_size * STEPS)
    sd = 2 * np.sqrt(squares[:, :STEPS].mean(1) / (step_size * STEPS))
    sd = np.sqrt(sd**2 + 2 * task.dimension / STEPS)  # and the scatter of ‖η‖²
    return surplus, step, relaxation, sd


@pytest.mark.parametrize(("step_size", "start"), [(0.002, "noise"), (0.02, "center"), (0.05, "noise")])
def test_identity(task, step_size, start):
    surplus, step, relaxation, sd = terms(task, step_size, start)
    z = (surplus - step - relaxation) / sd
    assert np.abs(z).max() < 4.5
    assert abs(z.mean()) < 4 / np.sqrt(CHAINS)
    assert 0.5 < z.std(ddof=1) < 1.6  # the predicted scatter is the scatter


def test_both_terms_are_needed(task):
    surplus, step, relaxation, sd = terms(task, 0.05, "center")
    pooled = sd.mean() / np.sqrt(CHAINS)
    assert abs((surplus - step - relaxation).mean()) < 4 * pooled
    assert abs((surplus - relaxation).mean()) > 8 * pooled
    # over a short stretch from w*, what has not relaxed is seen apart
    settings = Settings(
        nbeta=30.0, gamma=10.0, step_size=0.002, batch_size=8, chains=CHAINS, draws=41, mode="vmap", seed=2
    )
    data = sample(task, settings)["draws"].dataset
    squares = data["distance_squared"].values
    surplus = data["virial"].values[:, :40].mean(1) - task.dimension
    surplus -= 0.002 / 4 * data["gradient_norm_squared"].values[:, :40].mean(1)
    relaxation = -(squares[:, 40] - squares[:, 0]) / (0.002 * 40)
    sd = np.sqrt(4 * squares[:, :40].mean(1) / (0.002 * 40) + 2 * task.dimension / 40) / np.sqrt(CHAINS)
    assert abs((surplus - relaxation).mean()) < 4 * sd.mean()
    assert abs(surplus.mean()) > 8 * sd.mean()


def test_likelihood_part_is_the_virial_without_the_pull(task):
    settings = Settings(nbeta=30.0, gamma=10.0, step_size=0.01, batch_size=8, chains=2, draws=20, mode="vmap")
    data = sample(task, settings)["draws"].dataset
    pull = 10.0 * data["distance_squared"].values
    assert np.allclose(data["virial"].values, data["likelihood_virial"].values + pull)
