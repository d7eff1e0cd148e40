"""The same measurements on a GPU as on the CPU; skipped where there is none."""

import pytest
import torch

import bitsandnats as bn
from bitsandnats import compressors, samplers
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.task import Task

STUDY = {"step_size": 1e-5, "gamma": 1e3, "nbeta": 100.0, "chains": 2, "draws": 20, "batch_size": 8}

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def net(device: str) -> Task:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 4, generator=generator)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3), torch.nn.Linear(3, 2))
    for p in model.parameters():
        p.data.normal_(generator=generator)
    targets = model(inputs).detach() + 0.1 * torch.randn(256, 2, generator=generator)
    return Task.from_module(model.to(device), bn.losses.gaussian(1.0), (inputs, targets))


@pytest.mark.parametrize("name", list(samplers.registry.entries()))
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_every_sampler_runs_there(name, mode):
    full = "full" in samplers.registry.entry(name).tags
    plain = Settings(
        sampler=name,
        step_size=1e-3,
        gamma=10.0,
        nbeta=20.0,
        batch_size=256 if full else 64,
        chains=2,
        draws=20,
        burn_in=5,
        mode=mode,
    )
    tree = sample(net("cuda"), plain)
    assert int(tree.attrs["draws"]) >= 20
    assert all(bool(values.notnull().all()) for values in tree.dataset.data_vars.values())


def test_an_estimate_agrees_with_the_exact_value():
    generator = torch.Generator().manual_seed(0)
    inputs, noise = torch.randn(400, 6, generator=generator), torch.randn(400, 1, generator=generator)
    model = torch.nn.Linear(6, 1, bias=False)
    model.weight.data = torch.linalg.lstsq(inputs, noise).solution.T
    task = Task.from_module(model.cuda(), bn.losses.gaussian(1.0), (inputs, noise))
    found = bn.estimate_llc(task, nbeta=100.0, gamma=1.0, target_se=0.04)
    curvature = torch.linalg.eigvalsh(inputs.T @ inputs / 400).double()
    truth = float((0.5 * 100.0 * curvature / (100.0 * curvature + 1.0)).sum())
    assert abs(found.llc - truth) < 4 * found.se
    assert found.se < 0.05 * truth


@pytest.mark.parametrize("scheme", ["quantize", "quantize-largest", "factorize(layers='all')", "noise-absolute"])
def test_a_critical_point_is_that_of_the_cpu(scheme):
    there, here = (
        bn.critical_point(compressors.registry.build(scheme)(), net(device), tolerance=0.3)
        for device in ("cuda", "cpu")
    )
    assert here.level is not None
    if not scheme.startswith("noise"):  # whose random numbers are the device's own
        assert there.level == pytest.approx(here.level, rel=1e-3)
    assert there.excess_loss == pytest.approx(here.excess_loss, rel=0.3 if scheme.startswith("noise") else 1e-2)


def test_a_study_by_two_processes_on_one_device(suite, tmp_path):
    from bitsandnats.recipes.series import checkpoint_series

    series = checkpoint_series(suite, device="cuda")
    run = bn.study(series, out=tmp_path / "run", tolerances=[0.3], workers=2, settings=STUDY)
    rows = run.summary()["checkpoints"]
    assert all(row["failed"] is None and row["llc"] is not None for row in rows)


def test_an_estimate_of_a_folder_there(suite):
    task = bn.hf.load_task(suite / "step24", device="cuda")
    found = bn.estimate_llc(task, step_size=1e-5, gamma=1e3, nbeta=100.0, chains=2, draws=20, batch_size=8)
    here = bn.hf.load_task(suite / "step24")
    assert found.tree.attrs["draws"] == 20
    assert task.device.type == "cuda"
    assert here.device.type == "cpu"
