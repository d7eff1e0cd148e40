"""One checkpoint of one network, a stored unit: λ̂ of every head on every kind of text, and the trace of its Hessian."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from bitsandnats import _tree
from bitsandnats._rng import generator
from bitsandnats._types import Progress
from bitsandnats.component import on_component
from bitsandnats.curvature import hessian_vector
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.estimators.llc import estimate
from bitsandnats.experiments.heads.chains import chain_settings, noise_rise, temperature
from bitsandnats.experiments.heads.training import texts
from bitsandnats.experiments.heads.units import TrainWork, network, plain_key, recorded, task_of, training_texts
from bitsandnats.experiments.refined_llc.plan import OWN, Plan
from bitsandnats.run import sample
from bitsandnats.task import Task

_OTHER = 300_000  # seeds of texts that no network was trained on
_TRACE_TEXTS = 64
_ARRAYS = ("llc", "se", "trace", "trace_se", "noise", "noise_se", "status")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        plan: of the run.
        network: trained.
        step: of it.
    """

    plan: Plan
    network: TrainWork
    step: int


def measured(work: Checkpoint, progress: Progress) -> dict[str, Any]:
    """One row with the numbers, or why there are none; a finished unit is read, not sampled again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    plan, own = work.plan, work.network
    row: dict[str, Any] = {"seed": own.seed, "step": work.step, "failed": None}
    key = plain_key([plan.recipe, plan.data, plan.texts, plan.sampling, plan.probes, plan.noises, own.seed, work.step])
    try:
        record, data = recorded(own.folder, f"{own.label}-{work.step}", "heads", key, lambda: _sampled(work, progress))
    except StoreError:
        raise
    except BitsAndNatsError as error:
        return row | {"failed": str(error)}
    progress("sampling", 1, 1)
    return row | record | {name: data[name].values.tolist() for name in _ARRAYS}


def _sampled(work: Checkpoint, progress: Progress) -> tuple[dict[str, Any], xr.Dataset]:
    began, plan, seed = time.perf_counter(), work.plan, work.network.seed
    module = network(work.network, work.step)
    tasks = [task_of(module, _texts(plan, name, seed)) for name in plan.data]
    heads = plan.recipe.components
    found, total = [], len(heads) * len(tasks)
    for head in heads:
        for task in tasks:
            alone = on_component(task, head)
            settings = chain_settings(alone, plan.sampling, seed=seed, statistics="step")
            found.append(estimate(sample(alone, settings)))
            progress("sampling", len(found), total)
    traces = [head_trace(tasks[0], head, probes=plan.probes, seed=seed) for head in heads]
    nbeta = temperature(len(tasks[0].data))
    gamma = plan.sampling.ratio * nbeta
    noises = [noise_rise(on_component(tasks[0], head), gamma, draws=plan.noises, seed=seed) for head in heads]
    shape = (len(heads), len(tasks))
    data = xr.Dataset(
        {
            "llc": (("head", "data"), np.array([one.llc for one in found]).reshape(shape)),
            "se": (("head", "data"), np.array([one.se for one in found]).reshape(shape)),
            "status": (("head", "data"), np.array([one.verdict.status for one in found]).reshape(shape)),
            "rhat": (("head", "data"), np.array([one.figures.get("rhat", np.nan) for one in found]).reshape(shape)),
            "trace": ("head", np.array([value for value, _ in traces])),
            "trace_se": ("head", np.array([se for _, se in traces])),
            "noise": ("head", nbeta * np.array([value for value, _ in noises])),
            "noise_se": ("head", nbeta * np.array([se for _, se in noises])),
        },
        coords={"head": list(heads), "data": list(plan.data)},
    )
    return {"seconds": time.perf_counter() - began}, data


def _texts(plan: Plan, name: str, seed: int) -> Any:
    if name == OWN:
        return training_texts(plan.recipe, seed, plan.texts)
    return texts((name,), plan.texts * len(plan.recipe.kinds), seed=_OTHER + seed)


def head_trace(task: Task, head: str, *, probes: int, seed: int) -> tuple[float, float]:
    r"""Trace of the Hessian of L over one component's weights, and its standard error; nats per squared unit of weight.

    Hutchinson's estimate: the mean of $v^\top Hv$ over vectors of random signs, on evenly spaced texts. Checked in
    `tests/experiments/test_refined_llc.py`.

    Args:
        task: the whole network's.
        head: the component.
        probes: vectors.
        seed: of the vectors.
    """
    own = on_component(task, head)
    chosen = torch.linspace(0, len(own.data) - 1, min(_TRACE_TEXTS, len(own.data))).round().long()
    batch, source = own.batch(chosen), generator(seed, 0, "probe")
    values = []
    for _ in range(probes):
        signs = {name: (torch.randint(0, 2, w.shape, generator=source) * 2 - 1).to(w) for name, w in own.center.items()}
        values.append(float(_tree.dot(signs, hessian_vector(own, own.center, batch, signs))))
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(np.mean(values)), spread
