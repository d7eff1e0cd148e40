"""The runs that the pictures of docs/trust.md show: real chains on small models, each with its verdict."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import nn

from bitsandnats import losses, toys
from bitsandnats.estimators.llc import LLC, estimate
from bitsandnats.estimators.resolution import Resolution
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.settings import settings_from
from bitsandnats.task import Task

INK, RED, TRUTH = "#1f2328", "#d55e00", "#00805d"
Scale = Literal["linear", "log"]
Quantity = Literal["excess", "loss", "distance"]


@dataclass(frozen=True)
class Line:
    """A horizontal line with its words."""

    height: float
    text: str
    colour: str = INK
    dash: tuple[int, ...] = (1, 0)


@dataclass(frozen=True)
class Panel:
    """One run: what is drawn of it, and which words its verdict must contain.

    Attributes:
        title: what was done.
        run: the estimate.
        says: words of its verdict; None: it must be `usable`.
        lines: beside λ̂'s own.
        quantity: `loss`, `excess` = nβ(L(w) − L(w*)), or `distance` = ‖w − w*‖².
        scale: of the vertical axis.
        domain: of the vertical axis, where it is not the data's.
        chains: those that are drawn.
    """

    title: str
    run: LLC
    says: str | None
    lines: tuple[Line, ...] = ()
    quantity: Quantity = "excess"
    scale: Scale = "linear"
    domain: tuple[float, float] | None = None
    chains: tuple[int, ...] = (0, 1, 2, 3)


# --- models and runs

NBETA = 1000 / math.log(1000)
STEP = 2.7e-4  # 0.2/(nβ κ + γ) of the regression


def measure(task: Task, *controls: str, **fields: Any) -> LLC:
    """An estimate at settings given by hand."""
    plain = {"nbeta": NBETA, "gamma": 1.0, "step_size": STEP, "batch_size": len(task.data), "chains": 4}
    lengths = {"burn_in": 100, "draws": 400, "mode": "vmap"}
    return estimate(measure_llc(task, settings_from({**plain, **lengths, **fields}), controls=controls))


def linear(*controls: str, **fields: Any) -> LLC:
    """Linear regression of ten weights on a thousand samples, λ = 5."""
    return measure(toys.linear_regression(10, samples=1000).task, *controls, **fields)


def displaced(distance: float) -> LLC:
    """The same regression with w* beside the minimum."""
    task = toys.linear_regression(10, samples=1000).task
    (name, center), *_ = task.center.items()
    return measure(task.at({name: center + distance}))


def classifier(steps: int = 400) -> Task:
    """A small network that tells four clouds of points apart."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    centers = torch.tensor([[2.0, 0], [-2, 0], [0, 2], [0, -2]])
    x = centers[labels] + 0.7 * torch.randn(400, 2, generator=random)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimiser.step()
    return Task.from_module(net.eval(), losses.cross_entropy(), (x, labels))


# --- what is drawn, by the name of the picture


def answer(value: float, text: str = "λ") -> Line:
    """The right answer, green."""
    return Line(value, f"{text} = {value:g}", TRUTH, (6, 4))


def printed(run: LLC) -> Line:
    """λ̂ with its standard error."""
    digits = max(0, 1 - math.floor(math.log10(run.se))) if run.se < 100 else 0
    return Line(run.llc, f"λ̂ = {run.llc:.{digits}f} ± {run.se:.{digits}f}".replace("-", "−"))


def one(title: str, run: LLC, says: str | None, *lines: Line, **options: Any) -> Panel:
    """A panel with λ̂'s line and others."""
    return Panel(title, run, says, (printed(run), *lines), **options)


def usable() -> list[Panel]:
    return [one("four chains on one level, forgetting where they were within a few draws", linear(seed=1), None)]


def diverged() -> list[Panel]:
    dead = linear(step_size=120 * STEP, burn_in=0, draws=400)
    alive = linear(step_size=25 * STEP, burn_in=0, draws=60)
    return [
        Panel("chains whose loss is no longer finite", dead, "diverged", scale="log", domain=(1, 1e300)),
        Panel("finite yet", alive, "a Metropolis test would accept only 0%", scale="log", domain=(1e-3, 1e13)),
    ]


def dimension() -> list[Panel]:
    run = linear(batch_size=1)
    most = Line(10, "ten parameters", RED, (2, 3))
    return [one("batches of one sample", run, "exceeds the number of parameters", most, domain=(-50, 300))]


def inflated() -> list[Panel]:
    runs = linear(seed=1), linear(step_size=10 * STEP, seed=1)
    low = one("step 0.2/κ", runs[0], None, domain=(0, 30))
    return [low, one("ten times the step", runs[1], "the step inflates the variance", answer(5), domain=(0, 30))]


def heated() -> list[Panel]:
    runs = linear(seed=1), linear(batch_size=16, seed=1)
    said = "finite steps and gradient noise"
    return [
        one("all 1000 samples a step", runs[0], None, answer(5), domain=(-15, 35)),
        one("batches of 16, the same step", runs[1], said, answer(5), domain=(-15, 35)),
    ]


def refused() -> list[Panel]:
    run = linear(sampler="hmc(leapfrogs=8)", step_size=0.075, burn_in=0, draws=200)
    return [one("Hamiltonian Monte Carlo, its step too large: it stays where it is", run, "proposals are accepted")]


def halved() -> list[Panel]:
    toy = toys.sum_of_monomials(toys.monomial([1, 1]), count=20)
    runs = [measure(toy.task, *c, nbeta=2000.0, step_size=e) for c, e in ((("step",), 1e-3), ((), 2e-3))]
    says = "at twice the step", "finite steps"
    titles = "20 × w₁²w₂² at a step of 1e-3", "at twice the step"
    return [one(t, r, s, domain=(0, 40)) for t, r, s in zip(titles, runs, says, strict=True)]


def basin() -> list[Panel]:
    task = classifier()
    run = measure(task, nbeta=5.0, gamma=0.1, step_size=0.1, burn_in=0)
    assert task.chance_loss is not None
    lines = Line(task.chance_loss, "guessing", RED, (2, 3)), Line(run.tree.attrs["center_loss"], "L(w*)", TRUTH, (6, 4))
    return [Panel("a classifier under a weak likelihood", run, "the draws left the basin", lines, "loss")]


def copies() -> list[Panel]:
    run = linear(seed=1)
    tree = run.tree.copy()
    data = tree["draws"].to_dataset()
    twice = data.isel(chain=[0, 1, 2, 0]).assign_coords(chain=np.arange(4))
    tree["draws"] = xr.DataTree(twice)
    burnt = tree["burn_in"].to_dataset().isel(chain=[0, 1, 2, 0]).assign_coords(chain=np.arange(4))
    tree["burn_in"] = xr.DataTree(burnt)
    same = estimate(tree)
    return [one("four chains? three are to be seen", same, "copies of each other")]


def few() -> list[Panel]:
    return [Panel("three draws a chain", linear(burn_in=0, draws=3), "too few draws")]


def apart() -> list[Panel]:
    run = linear(step_size=STEP / 100)
    return [
        one(
            "a hundredth of the right step, from w*: each chain has its own level",
            run,
            "the chains disagree",
            answer(5),
        )
    ]


def wandering() -> list[Panel]:
    run = linear(step_size=STEP / 12, seed=1)
    return [
        one("a twelfth of the right step: few swings, each as long as the chain", run, "effective draws", answer(5))
    ]


def drifting() -> list[Panel]:
    run = measure(toys.linear_regression(60, samples=1000).task, batch_size=32, step_size=STEP / 50, burn_in=0)
    return [one("sixty weights, a fiftieth of the right step, from w*", run, "along the trace", answer(30))]


def wide() -> list[Panel]:
    run = linear(batch_size=32, baseline="none", draws=150, chains=2)
    return [one("batches of 32 that were not compared with w*", run, "the standard error is", answer(5))]


def descending() -> list[Panel]:
    said = "w* is not a minimum"
    runs = displaced(0.02), displaced(0.05)
    return [
        one("w* a little beside the minimum", runs[0], said, answer(5), domain=(-15, 20)),
        one("w* further away", runs[1], "λ̂ is negative", answer(5), domain=(-15, 20)),
    ]


def noise_only() -> list[Panel]:
    run = linear(nbeta=10.0, gamma=100.0, step_size=0.002)
    noise = Line(run.figures["noise_only"], "noise alone", RED, (2, 3))
    return [one("a pull stronger than the likelihood", run, "of what weight noise alone gives", noise, answer(5))]


def pulled() -> list[Panel]:
    task = toys.quadratic([float(h) for h in np.geomspace(1e-4, 1, 20)])
    fields = {"nbeta": 2000.0, "sampler": "hmc(leapfrogs=16)", "step_size": 0.02, "draws": 300}
    runs = [measure(task, gamma=gamma, **fields) for gamma in (1.0, 10.0)]
    said, names = "it depends on the pull", ("20 uneven directions, γ = 1", "γ = 10")
    return [one(n, r, said, answer(10), domain=(0, 18)) for n, r in zip(names, runs, strict=True)]


def spreading() -> list[Panel]:
    run = measure(toys.quadratic([1.0] * 20 + [0.0] * 10), nbeta=2000.0, gamma=5.0, step_size=1e-4)
    reach = Line(2.0, "10/γ", RED, (2, 3))
    far = Panel("the distance, meanwhile", run, "still spreading", (reach,), "distance", domain=(0, 2.2))
    return [one("20 curved and 10 flat directions", run, "still spreading", domain=(0, 25)), far]


def unsure() -> list[Panel]:
    run = linear(draws=200, seed=1)
    return [one("two hundred draws", run, "three standard errors", answer(5))]


def momentum() -> list[Panel]:
    run = linear(sampler="sghmc", batch_size=32, step_size=STEP / 4)
    return [one("SGHMC on batches of 32", run, "no bound on the bias of this sampler's step", answer(5))]


def crossing() -> Resolution:
    """λ̂ at five temperatures, of w₁²w₂²: λ = 1/2, multiplicity 2."""
    hmc = {"sampler": "hmc(leapfrogs=16, adapt_steps=100)", "step_size": 0.03, "draws": 4000, "chains": 8}
    found = measure(toys.normal_crossing([1, 1]), "resolution", nbeta=2000.0, **hmc).resolution
    assert found is not None
    return found


PICTURES = {
    picture.__name__: picture
    for picture in (
        usable, diverged, dimension, inflated, heated, refused, halved, basin, copies, few, apart, wandering,
        drifting, wide, descending, noise_only, pulled, spreading, unsure, momentum,
    )
}  # fmt: skip
