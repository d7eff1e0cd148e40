"""What a plan will cost, from one stack trained for a few steps and one gradient of all chains, a data set."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from bitsandnats.experiments.chains import chain_settings
from bitsandnats.experiments.influence_retraining.attributions import task_of
from bitsandnats.experiments.influence_retraining.plan import CHECKPOINTS, Plan
from bitsandnats.experiments.influence_retraining.works import images
from bitsandnats.experiments.small_networks import Net, train_stack
from bitsandnats.recipes.attribution.comparisons import with_penalty
from bitsandnats.target import LocalPosterior

_NETS, _STEPS = 20, 5
_LEAPFROGS = 12  # of a typical setting
_ITEM = 1e-3  # seconds of one item's gradient
_EXACT = 20.0  # both matrices of curvature


class PlanRow(NamedTuple):
    """One data set with what it will cost; seconds of one process.

    Attributes:
        set: its name.
        items: to train on.
        weights: of a network.
        networks: trained in all.
        draws: of all chains of one network.
        retraining, left_out, chains, attribution: one unit.
        seconds: everything.
    """

    set: str
    items: int
    weights: int
    networks: int
    draws: int
    retraining: float
    left_out: float
    chains: float
    attribution: float
    seconds: float

    def as_record(self) -> dict[str, Any]:
        """Plain values."""
        return self._asdict()


def measured_plan(plan: Plan) -> list[PlanRow]:
    """Every data set with its predicted cost."""
    return [_row(plan, data) for data in plan.data]


def _row(plan: Plan, data: str) -> PlanRow:
    train, query = images(plan, data)
    n, sizes, sampling = len(train), plan.sizes, plan.sampling
    short = plan.recipe._replace(steps=_STEPS)
    whole = torch.ones(_NETS, n)
    net = _fastest(lambda: train_stack(short, *train, whole, list(range(_NETS)))) / _STEPS / _NETS * plan.recipe.steps
    nets = train_stack(short, *train, whole[:1], [0]).nets
    task = with_penalty(task_of(Net(*(w[0] for w in nets)), train, plan.device), plan.recipe.decay)
    settings = chain_settings(task, plan.chain_settings(data)[-1], sampling, seed=0)
    target = LocalPosterior(task, settings.nbeta, settings.gamma, "vmap")
    position = {k: w.unsqueeze(0).repeat(sampling.chains, *(1,) * w.ndim) for k, w in task.center.items()}
    gradient = _fastest(lambda: target.evaluate(position, None))
    draw = gradient * (_LEAPFROGS + (n + len(query)) / (3 * n))
    trained = sizes.subsets * sizes.repeats
    retraining = trained * net * sum(min(1.0, 2 * f) for f in plan.fractions) / len(plan.fractions)
    left_out = (sizes.left_out + 1) * net
    chains = (sampling.draws + settings.burn_in) * draw
    attribution = (1 + CHECKPOINTS) * (n + len(query)) * _ITEM + _EXACT * (n / 1500) * (task.dimension / 1200)
    runs = len(plan.chain_settings(data)) + (plan.models - 1) * len(plan.fractions)
    total = len(plan.fractions) * retraining + plan.models * (left_out + attribution) + runs * chains
    networks = len(plan.fractions) * trained + plan.models * (sizes.left_out + 1)
    draws = sampling.chains * sampling.draws
    return PlanRow(data, n, task.dimension, networks, draws, retraining, left_out, chains, attribution, total)


def _fastest(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
