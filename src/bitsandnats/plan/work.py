"""How much work a measurement is: stages counted from the same settings by which it runs."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bitsandnats.plan.types import Shape, Stage
from bitsandnats.run.reversibility import CHECKED
from bitsandnats.settings import Settings
from bitsandnats.target import DIRECTIONS, kept_bytes
from bitsandnats.task import Task

SLOPE = "slope at w*"
"""A stage's name."""

_TEXT = ("token", "sequence")
_LARGE = 20_000_000  # weights above which the last steps are not looked at (`run`)
_ITERATIONS = {0.02: 10, 0.05: 7}  # of the largest curvature, as they come out
_LEVELS = 24  # that the search for critical levels looks at, with four tolerances


def task_shape(task: Task) -> Shape:
    """A task as sizes: one pass over one item is made, and one over two."""
    one, two = kept_bytes(task, 1), kept_bytes(task, 2)
    context = 1
    if task.unit in _TEXT:
        with torch.no_grad():
            context = int(task.loss(task.center, task.batch(torch.arange(1))).shape[1]) + 1
    item = max(two - one, 0)
    return Shape(task.dimension, forward_flops(task), item, max(one - item, 0), len(task.data), context, task.unit)


def forward_flops(task: Task) -> float:
    """FLOP of one item's loss, as torch counts products; attention by the causal half of its scores."""
    with torch.no_grad():
        return counted_flops(lambda: task.item_losses(task.center, task.batch(torch.arange(1))))


def counted_flops(function: Any) -> float:
    """FLOP of a function's matrix products, attention's kernel on the CPU included."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        batch, heads, rows, width = query
        return batch * heads * rows * key[2] * (width + value[3])  # two products, half of each

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={kernel: attention}) as counter:
        function()
    return float(counter.get_total_flops())


def llc_work(settings: Settings, shape: Shape, *, calibrated: bool = False) -> tuple[Stage, ...]:
    """The stages of one estimate, in order.

    Args:
        settings: as they will be.
        shape: of the model.
        calibrated: some of the settings are still to be chosen, for which chains are run first.
    """
    text = shape.unit in _TEXT
    batch = min(settings.batch_size, shape.items)
    probe = min(8 if text else 256, shape.items)
    steps = settings.chains * settings.steps
    stages = [Stage("curvature, for the settings", "curvature", _ITERATIONS[0.02], probe, True)]
    if calibrated:
        work = shape.parameters * batch * (max(shape.context - 1, 1) if shape.unit == "token" else 1)
        length = int(min(2000, max(3e9 / work, 100)))
        stages += [
            Stage("probing chains, for the settings", "gradient", 2 * length, batch, True),
            Stage("noise, for the settings", "forward", 12, min(32, shape.items), True),
        ]
    if settings.statistics == "step":
        stages.append(Stage(SLOPE, "gradient", 1, min(32 if text else 2048, shape.items)))
    if settings.variates == "quadratic":
        products = min(2 * DIRECTIONS + 2, shape.parameters)
        stages.append(Stage("directions of variates", "curvature", products, shape.items))
    visits = steps * batch
    kind = settings.baseline
    if kind == "auto":
        kind = "all" if shape.items <= visits else "batch"
    once = {"all": (1, shape.items), "batch": (steps, batch), "none": (8, batch)}[kind]
    stages.append(Stage(f"L(w*), {'every item' if kind == 'all' else 'batches'}", "forward", *once))
    stages.append(Stage("draws", "gradient", steps * (2 if settings.gradient == "control" else 1), batch))
    checked = settings.sampler == "sgld" and settings.statistics == "step" and settings.gradient == "plain"
    if checked and shape.parameters <= _LARGE:
        stages.append(Stage("look at the last steps", "look", CHECKED * settings.chains, batch))
    noisy = batch < shape.items
    stages.append(Stage("curvature, for the verdict", "curvature", _ITERATIONS[0.05] + 4 * noisy, probe, True))
    if noisy:
        stages.append(Stage("gradient noise", "gradient", 4, batch))
    return (*stages, Stage("noise alone", "forward", 9, min(32, shape.items)))


def compress_work(shape: Shape, *, tolerances: int, items: int) -> tuple[Stage, ...]:
    """The stages of one scheme's critical points; how many levels it takes is found on the way.

    Args:
        shape: of the model.
        tolerances: how many.
        items: that losses are compared on.
    """
    levels = _LEVELS * (0.5 + tolerances / 8)
    return (
        Stage("losses at w*", "forward", 1, items),
        Stage("levels", "forward", levels, items, True),
    )


def stored_bytes(settings: Settings) -> float:
    """Bytes of an estimate's run folder: eight quantities a step, the report with its figures."""
    return 8 * 8.0 * settings.chains * settings.steps + 3e6
