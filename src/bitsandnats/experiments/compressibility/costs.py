"""What a plan will cost, from one gradient and one forward pass measured a size."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from bitsandnats import hf
from bitsandnats._tree import map_batch
from bitsandnats.experiments.compressibility.plan import Plan, Suite
from bitsandnats.target import LocalPosterior
from bitsandnats.task import Task

_EVALUATION_ITEMS = 32  # held-out contexts of a series
_PASSES = 300  # over them, of all schemes at all tolerances, the search for the range included
_BURN_IN = 1.4  # a local chain over its draws
_CONTROLS = 1.3  # an estimate with its controls over its chains
_PROBES, _PROBE_WORK, _FEWEST_PROBE_STEPS = 8, 3e9, 100  # chains of a calibration, and how long each is
_PROBE_MOST = 2000


class PlanRow(NamedTuple):
    """One suite with what it will cost, in seconds of one thread.

    Attributes:
        suite: the suite.
        parameters: of its model, layer norms not folded.
        checkpoints: that are measured.
        gradient_seconds: one gradient of one chain at the batch of the local settings.
        training, calibration, local, schemes, published, pruning: the parts.
    """

    suite: Suite
    parameters: int
    checkpoints: int
    gradient_seconds: float
    training: float
    calibration: float
    local: float
    schemes: float
    published: float
    pruning: float

    @property
    def seconds(self) -> float:
        """All parts together."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        """Seconds by part."""
        names = ("training", "calibration", "local", "schemes", "published", "pruning")
        return {name: getattr(self, name) for name in names}

    def as_record(self) -> dict[str, Any]:
        """Plain values."""
        plain = {"name": self.suite.name, "shape": self.suite.words(), "trained": self.suite.folder is None}
        plain |= {"parameters": self.parameters, "checkpoints": self.checkpoints}
        return {**plain, "gradient_seconds": self.gradient_seconds, **self.parts()}


def measured_plan(plan: Plan, device: str | None = None) -> list[PlanRow]:
    """Every suite with its size and its predicted cost on the device; None = the CPU."""
    return [_row(plan, suite, device) for suite in plan.suites]


def _row(plan: Plan, suite: Suite, device: str | None) -> PlanRow:
    options, local, published, pruning = suite.options, plan.local, plan.published, plan.pruning
    task = hf.untrained_task(options, items=local.batch_size, device=device)
    gradient, forward = _gradient_seconds(task), _forward_seconds(task)
    checkpoints = len(plan.steps(suite))
    an_item = gradient / local.batch_size
    probe = _PROBE_WORK / (task.dimension * local.batch_size * task.mean_weight)
    probe = min(max(probe, _FEWEST_PROBE_STEPS), _PROBE_MOST)
    trained = len(plan.pruned_steps()) * len(pruning.fractions) * pruning.draws if suite == plan.suites[0] else 0
    return PlanRow(
        suite=suite,
        parameters=task.dimension,
        checkpoints=checkpoints,
        gradient_seconds=gradient,
        training=0.0 if suite.folder else options.steps * options.batch_size * an_item,
        calibration=_PROBES * gradient * (probe if local.step_size is None else 1),
        local=checkpoints * local.chains * local.draws * _BURN_IN * _CONTROLS * gradient,
        schemes=checkpoints * _PASSES * _EVALUATION_ITEMS / local.batch_size * forward,
        published=checkpoints * published.chains * published.draws * _CONTROLS * published.batch_size * an_item,
        pruning=trained * pruning.steps * pruning.batch_size * an_item,
    )


def _gradient_seconds(task: Task) -> float:
    target = LocalPosterior(task, 1.0, 0.0)
    position = {name: w.unsqueeze(0) for name, w in task.center.items()}
    batch = map_batch(lambda part: part.unsqueeze(0), task.batch(torch.arange(len(task.data))))
    return _fastest(lambda: target.evaluate(position, batch))


def _forward_seconds(task: Task) -> float:
    batch = task.batch(torch.arange(len(task.data)))
    with torch.no_grad():
        return _fastest(lambda: task.item_losses(task.center, batch))


def _fastest(work: Callable[[], Any]) -> float:
    """The fastest of three, by one thread: so the work is done by processes, and so it is counted."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
