"""What a plan will cost, from a few steps and one coarse network measured a recipe."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from bitsandnats import losses
from bitsandnats._types import silent
from bitsandnats.coarse_grain import Trials, coarse_grain, read_checkpoint
from bitsandnats.coarse_grain.tuned_search import compensation_steps
from bitsandnats.compressors.coding import first_order_bits
from bitsandnats.experiments.grokking.networks import fresh
from bitsandnats.experiments.grokking.plan import Arm, Plan, training_pairs
from bitsandnats.experiments.grokking.stack import Stack
from bitsandnats.experiments.grokking.training import (
    Recipe,
    Regime,
    growing_epochs,
    stepper_of,
    training_tables,
)
from bitsandnats.experiments.grokking.training_unit import tables
from bitsandnats.task import Task

_TRIALS = {"tuned": 110, "ranks": 110, "global": 45, "published": 62}
"""Coarse networks tried a tolerance: those of measured checkpoints, on average."""

_COMPENSATED = 12  # networks, a tolerance of a tuned search
_GRADIENT = 3.0  # a gradient over a loss
_MODEL = 0.4  # seconds that a Gaussian process takes a trial
_CONTROLS = 1.3


class PlanRow(NamedTuple):
    """One arm with what it will cost; seconds of one process.

    Attributes:
        arm: its name.
        parameters: of its network.
        pairs: that it is trained on.
        seeds: of it.
        checkpoints: of each seed.
        step_seconds: one step of one network.
        training: all seeds.
        complexity, llc, published: one checkpoint.
        seconds: everything.
    """

    arm: str
    parameters: int
    pairs: int
    seeds: int
    checkpoints: int
    step_seconds: float
    training: float
    complexity: float
    llc: float
    published: float
    seconds: float

    def as_record(self) -> dict[str, Any]:
        """Plain values."""
        return self._asdict()


def measured_plan(plan: Plan) -> list[PlanRow]:
    """Every arm with its size and its predicted cost."""
    found: dict[Arm, PlanRow] = {}
    steps: dict[tuple[Recipe, tuple[bool, ...]], float] = {}
    others: dict[Recipe, tuple[float, float, int]] = {}
    for recipe, arms in plan.groups():
        alike = recipe._replace(operation="addition")  # operations cost the same, and so do regimes without spectra
        kind = alike, tuple(arm.regime.spectral > 0 for arm in arms)
        if alike not in others:
            others[alike] = _measurement_seconds(plan, recipe)
        if kind not in steps:
            steps[kind] = _step_seconds(recipe, _runs(plan, arms), plan.device)
        found.update(_group(plan, recipe, arms, steps[kind], others[alike]))
    return [found[arm] for arm in plan.arms]


def _runs(plan: Plan, arms: tuple[Arm, ...]) -> list[tuple[Regime, int]]:
    """What is trained together; on the CPU, where several cost as much as one after the other, one of each."""
    return [(arm.regime, seed) for arm in arms for seed in range(1 if plan.device == "cpu" else plan.seeds)]


def _group(
    plan: Plan, recipe: Recipe, arms: tuple[Arm, ...], step: float, measurement: tuple[float, float, int]
) -> dict[Arm, PlanRow]:
    pairs = training_pairs(recipe)
    steps = math.ceil(pairs / min(recipe.batch_size or pairs, pairs))
    trial, loss, parameters = measurement
    count = len(plan.tolerances)
    kept = growing_epochs(recipe.epochs)[-1]
    rows = {}
    for arm in arms:
        training = step * kept * steps * plan.seeds
        complexity = count * _TRIALS[plan.grade] * trial
        if plan.grade == "tuned":
            complexity += count * _COMPENSATED * compensation_steps(parameters, pairs) * _GRADIENT * loss
        if plan.grade == "published":
            complexity += count * 62 * _MODEL
        llc = plan.sampling.chains * (plan.sampling.burn_in + plan.sampling.draws) * _GRADIENT * _CONTROLS * loss
        published = 2 * 62 * (trial + _MODEL) if plan.published else 0.0
        checkpoints = len(plan.epochs(recipe))
        seconds = training + plan.seeds * checkpoints * (complexity + llc) + published
        rows[arm] = PlanRow(
            arm.name,
            parameters,
            pairs,
            plan.seeds,
            checkpoints,
            step,
            training,
            complexity,
            llc,
            published / 2,
            seconds,
        )
    return rows


def _step_seconds(recipe: Recipe, runs: list[tuple[Regime, int]], device: str) -> float:
    """One step of one of several networks, the decompositions for spectral entropy spread over the steps they serve."""
    module = recipe.network.build(recipe.modulus)
    stack, seeds = Stack(module), [seed for _, seed in runs]
    rows = torch.stack([stack.layout.row(fresh(module, seed)) for seed in seeds]).to(device).requires_grad_()
    data = training_tables(recipe, seeds, device)[0]
    size = min(recipe.batch_size or data.labels.shape[1], data.labels.shape[1])
    take = stepper_of(stack, rows, recipe, runs)

    count = recipe.entropy_every if any(regime.spectral for regime, _ in runs) else 1

    def steps() -> None:
        for _ in range(count):
            take(data.inputs[:, :size], data.labels[:, :size])

    steps()  # what is set up at first is not counted
    return _fastest(steps, 1) / count / len(runs)


def _measurement_seconds(plan: Plan, recipe: Recipe) -> tuple[float, float, int]:
    """One trial of a search, one loss over all pairs, and the network's size."""
    module = recipe.network.build(recipe.modulus)
    params = fresh(module, 0)
    module = module.to_empty(device=plan.device)
    module.load_state_dict(params)
    task = Task.from_module(module.eval(), losses.cross_entropy(), tuple(tables(recipe, plan.seed, plan.device)[0]))
    trials = Trials(read_checkpoint(task), silent)

    def trial() -> None:
        network = coarse_grain(trials.checkpoint, 0.05, 0.9)
        first_order_bits(network)
        trials.evaluate(trials.checkpoint.params(network))

    trial()  # decomposes
    return _fastest(trial), _fastest(lambda: trials.evaluate(task.center)), task.dimension


def _fastest(work: Callable[[], Any], times_over: int = 3) -> float:
    times = []
    for _ in range(times_over):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
