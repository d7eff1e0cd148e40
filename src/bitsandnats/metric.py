"""The metric of pull and noise: the weights as they are, or each tensor in units of its own curvature."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bitsandnats import _tree
from bitsandnats._rng import generator
from bitsandnats._types import Batch, LossFn, Params
from bitsandnats.curvature import hessian_vector
from bitsandnats.task import Task

Metric = Literal["weights", "tensors"]

_PROBES = 4
_ITEMS = {"token": 8, "sequence": 8, "sample": 256}


def in_metric(task: Task, metric: Metric) -> Task:
    r"""The task in coordinates in which the pull and the noise are isotropic.

    `weights` is the task itself. With `tensors` each tensor is measured in units of $s=(tr H_t/d_t)^{-1/2}$,
    the root mean curvature of its own block at w*: the pull becomes $\tfrac\gamma2\sum_t\lVert w_t-w^*_t\rVert^2/s_t^2$
    and the noise of a step follows. Rescaling a tensor, as ReLU networks allow without changing the function, then
    changes nothing at all. λ is the same in any metric; λ̂(nβ, γ) is comparable only in the same one. Checked in
    `tests/invariance/test_metric.py`.

    Args:
        task: the task.
        metric: `weights` or `tensors`.
    """
    if metric == "weights":
        return task
    scales = tensor_scales(task)
    return dataclasses.replace(
        task, loss=_Scaled(task.loss, scales), center={name: w / scales[name] for name, w in task.center.items()}
    )


def tensor_scales(task: Task) -> dict[str, float]:
    """s_t of each tensor: 1/√(mean curvature of its block); the geometric mean of the others where there is none.

    Hutchinson's estimate, block by block, from the same probes for every tensor of a shape.
    """
    count = min(_ITEMS[task.unit], len(task.data))
    batch = task.batch(torch.linspace(0, len(task.data) - 1, count).round().long())
    random = generator(0, 0, "probe")
    traces: dict[str, float] = {}
    for name, w in task.center.items():
        total = 0.0
        for _ in range(_PROBES):
            signs = torch.randint(2, w.shape, generator=random).to(w) * 2 - 1
            vector = {n: signs if n == name else torch.zeros_like(p) for n, p in task.center.items()}
            total += float(_tree.dot(vector, hessian_vector(task, task.center, batch, vector)))
        traces[name] = total / _PROBES / w.numel()
    logs = [math.log(t) for t in traces.values() if t > 0]
    usual = sum(logs) / len(logs) if logs else 0.0
    return {name: math.exp(-0.5 * (math.log(t) if t > 0 else usual)) for name, t in traces.items()}


@dataclass(frozen=True)
class _Scaled:
    """A loss whose parameters are in units of `scales`."""

    loss: LossFn
    scales: dict[str, float]

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.loss({name: p * self.scales[name] for name, p in params.items()}, batch)
