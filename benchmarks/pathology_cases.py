"""What can go wrong with an estimate of the LLC, done on purpose to models whose λ is known in closed form.

Every family spoils one thing and leaves the rest as it should be; the last two set nothing. `pathologies.py` runs them
and writes the table, `tests/truth/test_pathologies.py` runs a few.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from scipy.optimize import brentq
from torch import Tensor, nn

import bitsandnats as bn
from bitsandnats import losses, toys
from bitsandnats.curvature import top_curvature
from bitsandnats.estimators.llc import LLC, estimate
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.recipes.published import published_settings
from bitsandnats.settings import changed, settings_from
from bitsandnats.task import Task
from bitsandnats.theory.deep_linear import generic_ranks, local_coefficient

GAMMA = 1.0
LENGTH = {"chains": 4, "burn_in": 100, "draws": 400}
SHORT = {"chains": 4, "burn_in": 0, "draws": 200}


@dataclass(frozen=True)
class Model:
    """A task with λ known in closed form.

    Attributes:
        name: in the tables.
        task: the task, at a minimum.
        llc: λ.
        nbeta: n/ln n of the samples that the data stand for.
        batches: batch sizes that it is sampled with.
    """

    name: str
    task: Task
    llc: float
    nbeta: float
    batches: tuple[int, ...]

    def step_size(self, nbeta: float, gamma: float) -> float:
        """The right step: 0.2/κ_max."""
        curvature = top_curvature(self.task, items=len(self.task.data), tolerance=0.01).value
        return 0.2 / (nbeta * curvature + gamma) if curvature > 0 else 0.1 / (0.1 * nbeta + gamma)


class Case(NamedTuple):
    """One thing that goes wrong with one model: `run(seed)`."""

    family: str
    what: str
    model: Model
    run: Callable[[int], LLC]


# --- models


def models() -> list[Model]:
    """Regular, flat, uneven and singular, on data and without."""
    toy = toys.linear_regression(10, samples=1000)
    uneven = toys.linear_regression(10, samples=1000, spread=100.0, seed=3)
    flat, spread = [1.0] * 20 + [0.0] * 10, [float(h) for h in np.geomspace(1e-4, 1, 20)]
    return [
        Model("regression", toy.task, 5.0, toy.nbeta, (32, 100, 1000)),
        Model("regression, uneven inputs", uneven.task, 5.0, uneven.nbeta, (32,)),
        Model("quadratic, a third of it flat", toys.quadratic(flat), 10.0, 2000.0, (2,)),
        Model("quadratic, uneven curvatures", toys.quadratic(spread), 10.0, 2000.0, (2,)),
        _plain("20 × w₁²w₂²", toys.sum_of_monomials(toys.monomial([1, 1]), count=20)),
        network(),
        _plain("deep linear network 15-28-7", toys.size_class("1k", 1)),
    ]


def _plain(name: str, toy: toys.Toy) -> Model:
    assert toy.coefficient is not None
    return Model(name, toy.task, toy.coefficient.llc, toy.nbeta, (len(toy.task.data),))


def network(samples: int = 1000) -> Model:
    """A deep linear network 6-4-6-5 of rank 3 on samples of their own, so that mini-batches differ."""
    layers = [torch.as_tensor(w) for w in toys.minimal_rank_teacher([6, 4, 6, 5], 3)]
    net = toys.DeepLinear(layers)
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((samples, 6)))
    with torch.no_grad():
        task = Task.from_module(net, losses.gaussian(0.5), (x, net(x)))
    llc = local_coefficient([6, 4, 6, 5], generic_ranks([3, 3, 3])).llc
    return Model("deep linear network 6-4-6-5", task, llc, samples / math.log(samples), (32,))


# --- runs


def sgld(model: Model, batch: int, seed: int, **fields: Any) -> LLC:
    """An estimate by SGLD at settings that are right but for those given."""
    plain = {"nbeta": model.nbeta, "gamma": GAMMA, "batch_size": batch, "mode": "vmap", "seed": seed, **LENGTH}
    settings = {**plain, **fields}
    settings.setdefault("step_size", model.step_size(settings["nbeta"], settings["gamma"]))
    return estimate(measure_llc(model.task, settings_from(settings)))


def each(family: str, chosen: Iterable[Model], variants: dict[str, dict[str, Any]]) -> list[Case]:
    """One case a model, batch size and variant of the settings."""
    return [
        Case(family, f"{name}, {_batch(model, batch)}", model, partial(_variant, model, batch, fields))
        for model in chosen
        for batch in model.batches
        for name, fields in variants.items()
    ]


def _variant(model: Model, batch: int, fields: dict[str, Any], seed: int) -> LLC:
    fields = dict(fields)
    if "leap" in fields:  # h² is to HMC what ε is to SGLD; κ h² < 4 is stable
        nbeta, gamma = fields.get("nbeta", model.nbeta), fields.get("gamma", GAMMA)
        fields["step_size"] = (5 * model.step_size(nbeta, gamma)) ** 0.5 * fields.pop("leap")
    if "step" in fields:
        nbeta, gamma = fields.get("nbeta", model.nbeta), fields.get("gamma", GAMMA)
        fields["step_size"] = model.step_size(nbeta, gamma) * fields.pop("step")
    return sgld(model, batch, seed, **fields)


def _batch(model: Model, batch: int) -> str:
    return "all data" if batch >= len(model.task.data) else f"batches of {batch}"


def beside(model: Model, share: float, seed: int) -> LLC:
    """w* moved at random, until nβ(L(w*) − min L) is `share` of λ."""
    task, random = model.task, torch.Generator().manual_seed(seed)
    way = {name: torch.randn(w.shape, generator=random, dtype=w.dtype) for name, w in task.center.items()}

    def moved(scale: float) -> Task:
        return task.at({name: w + scale * way[name] for name, w in task.center.items()})

    def excess(scale: float) -> float:
        low, high = (float(t.mean_loss(t.all_item_losses(t.center, 1024))) for t in (task, moved(scale)))
        return model.nbeta * (high - low) - share * model.llc

    there = dataclasses.replace(model, task=moved(brentq(excess, 0.0, 10.0)))
    return sgld(there, len(task.data), seed, step_size=model.step_size(model.nbeta, GAMMA))


@dataclass(frozen=True)
class Broken:
    """A loss that is not a number where ‖w − w*‖² exceeds a limit."""

    loss: Callable[..., Tensor]
    center: dict[str, Tensor]
    limit: float

    def __call__(self, params: dict[str, Tensor], batch: Any) -> Tensor:
        distance = torch.stack([(w - self.center[name]).square().sum() for name, w in params.items()]).sum()
        return self.loss(params, batch) + torch.where(distance > self.limit, math.nan, 0.0)


def breaking(model: Model, batch: int, seed: int) -> LLC:
    """One chain's loss is NaN from a step on that chance decides: the first to reach a distance that few draws have."""
    whole = sgld(model, batch, seed)
    distances = whole.tree["draws"].dataset["distance_squared"].values
    limit = float(np.quantile(distances.max(1), 0.9))
    loss = Broken(model.task.loss, model.task.center, limit)
    return sgld(dataclasses.replace(model, task=dataclasses.replace(model.task, loss=loss)), batch, seed)


def copied(model: Model, batch: int, seed: int) -> LLC:
    """Two of the four chains are the same one, as with a seed that all chains share."""
    tree = sgld(model, batch, seed).tree.copy()
    for group in ("draws", "burn_in"):
        twice = tree[group].to_dataset().isel(chain=[0, 1, 2, 0]).assign_coords(chain=np.arange(4))
        tree[group] = xr.DataTree(twice)
    return estimate(tree)


def dropping(seed: int) -> LLC:
    """A network with dropout on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(10, 16), nn.Dropout(0.1), nn.Linear(16, 1)).train()
        data = torch.randn(200, 10), torch.randn(200, 1)
    return bn.estimate_llc(Task.from_module(net, losses.gaussian(), data))


def published(model: Model, batch: int, seed: int) -> LLC:
    """The settings of arXiv 2510.12077 as they stand."""
    settings = published_settings("2510.12077", seed)
    assert settings is not None
    return estimate(measure_llc(model.task, changed(settings, {"batch_size": batch, "mode": "vmap"})))


def unset(toy: toys.Toy, seed: int) -> LLC:
    """Nothing set by hand; nβ only where the task's items are not the samples it stands for."""
    nbeta = None if math.isclose(toy.task.n, toy.samples) else toy.nbeta
    return bn.estimate_llc(toy.task, nbeta=nbeta, seed=seed)


# --- the list


def families() -> dict[str, list[Case]]:
    """Every case, by family."""
    known = models()
    steps = {f"ε × 1e{k:g}": {"step": 10.0**k} for k in np.arange(-3, 3.1, 0.5)}
    hmc = {"sampler": "hmc(leapfrogs=16)", "chains": 4, "burn_in": 50, "draws": 200}
    data = [m for m in known if m.batches[0] == 32]
    cases = {
        "step size": each("step size", known, steps),
        "step size, short chains": each(
            "step size, short chains", known, {name: {**f, **SHORT} for name, f in steps.items()}
        ),
        "pull": each("pull", known, {f"γ = {g:g}": {"gamma": g} for g in (0, 1e-2, 0.1, 10, 100, 1e3, 1e4)}),
        "β for nβ": each(
            "β for nβ",
            known,
            {f"β = 0.145, γ = {g:g}": {"nbeta": 0.145, "gamma": g} for g in (1e-2, 1.0, 100.0)},
        ),
        "batches of one": [
            Case("batches of one", f"ε × {k:g}", m, partial(_variant, m, 1, {"step": k}))
            for m in data
            for k in (0.01, 0.03, 0.1, 0.3, 1)
        ],
        "not a minimum": [
            Case("not a minimum", f"{share:g} λ above it", m, partial(beside, m, share))
            for m in known
            for share in (0.1, 0.3, 1.0, 3.0)
        ],
        "NaN in a chain": [Case("NaN in a chain", "", m, partial(breaking, m, m.batches[0])) for m in known],
        "copied chains": [Case("copied chains", "", m, partial(copied, m, m.batches[0])) for m in known],
        "dropout on": [Case("dropout on", "", known[0], dropping)],
        "published settings": [
            Case("published settings", _batch(m, b), m, partial(published, m, b)) for m in known for b in m.batches
        ],
        "RMSProp": each(
            "RMSProp",
            known,
            {f"ε = 1e{k}": {"sampler": "rmsprop_sgld", "step_size": 10.0**k} for k in (-6, -5, -4, -3, -2)},
        ),
        "HMC": each(
            "HMC",
            [dataclasses.replace(m, batches=(len(m.task.data),)) for m in known],
            {
                f"h × {k:g}, γ = {g:g}": {**hmc, "leap": k, "gamma": g}
                for k, g in ((0.01, 1), (0.1, 1), (1, 1), (4, 1), (1, 100), (1, 1e4))
            },
        ),
    }
    return {**cases, "nothing set": _good(), "nothing set, multiplicity above 1": _multiple()}


def _case(family: str, name: str, toy: toys.Toy) -> Case:
    return Case(family, name, _plain(name, toy), partial(unset, toy))


def _good() -> list[Case]:
    """Forty runs of twenty models whose λ̂ is near λ."""
    found = {f"regression, d = {d}, n = {n}": toys.linear_regression(d, samples=n) for d, n in ((14, 300), (30, 500))}
    found |= {f"uneven regression, d = {d}": toys.linear_regression(d, samples=400, spread=5.0) for d in (16, 24)}
    found["noise-free regression"] = toys.linear_regression(20, samples=300, sigma=0.0)
    panel = toys.panel()
    regular = [name for name, toy in panel.items() if toy.coefficient is not None and toy.coefficient.multiplicity == 1]
    found |= {f"panel: {name}": panel[name] for name in regular if "regression" not in name}
    for widths, rank in (([5, 3, 4, 5], 3), ([4, 6, 3], 3), ([6, 2, 6], 2)):
        name = f"deep linear network {'-'.join(map(str, widths))} of rank {rank}"
        found[name] = toys.random_deep_linear(widths, rank)
    found["deep linear network 15-28-7 of rank 7"] = toys.size_class("1k", 1)
    return [_case("nothing set", name, toy) for name, toy in found.items()]


def _multiple() -> list[Case]:
    """Models whose λ̂ at any affordable nβ lies below λ, by a term in 1/ln nβ."""
    panel = toys.panel()
    names = [name for name, toy in panel.items() if toy.coefficient is not None and toy.coefficient.multiplicity > 1]
    return [_case("nothing set, multiplicity above 1", f"panel: {name}", panel[name]) for name in names]
