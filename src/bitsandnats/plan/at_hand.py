"""A plan for the machine at hand: each kind of pass is made once or twice, timed, and its peak memory read."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bitsandnats.curvature import top_curvature
from bitsandnats.plan.types import Plan, Stage
from bitsandnats.plan.work import SLOPE, task_shape
from bitsandnats.precision import in_precision
from bitsandnats.run import sample
from bitsandnats.run.reversibility import CHECKED
from bitsandnats.settings import Settings, changed
from bitsandnats.task import Task

_DRAWS = 3
_ENOUGH = 1.0  # seconds of a probe after which it is not made longer


def plan_at_hand(task: Task, stages: Sequence[Stage], settings: Settings, *, disk: float = 0.0, times: int = 1) -> Plan:
    """Processor time and peak memory from a short probe: draws, Hessian products and losses, as they will be made.

    Time is the processor's where it is one, so that what else runs does not count; on a GPU it is the clock's.

    Args:
        task: the model, loaded where it will be measured.
        stages: of the work.
        settings: of the sampler.
        disk: bytes that are written.
        times: checkpoints.
    """
    before = time.process_time()
    shape = task_shape(task)
    batch = min(settings.batch_size, shape.items)
    kinds = {stage.kind for stage in stages}
    rates: dict[str, float] = {}
    peaks = [_resident()]
    if "gradient" in kinds:
        draw, few, peak = _draw(task, settings)
        rates["gradient"] = draw / batch
        slope = sum(stage.items for stage in stages if stage.name == SLOPE) * rates["gradient"]
        rates["look"] = max((few - slope) / CHECKED - draw, 2 * draw) / batch
        peaks.append(peak)
    if "forward" in kinds:
        items = max((stage.items for stage in stages if stage.kind == "forward"), default=batch)
        lowered = in_precision(task, settings.precision)
        rates["forward"], peak = _forward(lowered, min(items, 32))
        peaks.append(peak)
    if "curvature" in kinds:
        items = max(stage.items for stage in stages if stage.kind == "curvature")
        rates["curvature"], peak = _curvature(task, items)
        peaks.append(peak)
    seconds = tuple(rates[stage.kind] * stage.passes * stage.items for stage in stages)
    lines = tuple(
        f"{stage.name}: {'about ' if stage.about else ''}{stage.passes:g} × {stage.items} items × "
        f"{rates[stage.kind]:.3g} s (a {stage.kind} pass, measured) = {span:.1f} s"
        for stage, span in zip(stages, seconds, strict=True)
    )
    name = torch.cuda.get_device_name(task.device) if task.device.type == "cuda" else "this machine"
    where = f"{name}, {torch.get_num_threads()} thread(s)"
    weights = 4.0 * shape.parameters * times
    return Plan(where, shape, tuple(stages), seconds, before, max(peaks), disk, weights, times, lines)


def _draw(task: Task, settings: Settings) -> tuple[float, float, float]:
    """Seconds of a draw, of a chain so short that each of its steps is looked at, and the peak of memory."""

    def chain(draws: int) -> None:
        one = {"draws": draws, "burn_in": 0, "chains": 1, "baseline": "none", "mode": _mode(settings)}
        sample(task, changed(settings, one))

    chain(1)
    # both long enough for the whole look at the last steps, which so cancels
    few, _ = _measured(task, lambda: chain(CHECKED))
    many, peak = _measured(task, lambda: chain(CHECKED + _DRAWS))
    return max(many - few, 1e-9) / _DRAWS, few, peak


def _mode(settings: Settings) -> str:
    return "vmap" if settings.mode == "vmap" else "loop"


def _forward(task: Task, items: int) -> tuple[float, float]:
    """Seconds of an item's loss, and the peak."""
    batch = task.batch(torch.arange(items) % len(task.data))

    @torch.no_grad()
    def losses() -> None:
        task.item_losses(task.center, batch)

    losses()
    spent, peak = _measured(task, losses)
    return spent / items, peak


def _curvature(task: Task, items: int) -> tuple[float, float]:
    """Seconds of a Hessian product an item, and the peak."""

    def products(count: int) -> None:
        top_curvature(task, items=items, iterations=count, tolerance=0.0)

    one, peak = _measured(task, lambda: products(1))
    if one < _ENOUGH:
        one, _ = _measured(task, lambda: products(1))
    three, _ = _measured(task, lambda: products(3))
    return max(three - one, 1e-9) / 2 / items, peak


def _measured(task: Task, function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of a call and the peak of memory during it."""
    if task.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(task.device)
        torch.cuda.synchronize(task.device)
        began = time.perf_counter()
        function()
        torch.cuda.synchronize(task.device)
        return time.perf_counter() - began, float(torch.cuda.max_memory_allocated(task.device))
    _forget_peak()
    began = time.process_time()
    function()
    return time.process_time() - began, _peak()


def _forget_peak() -> None:
    """Has the kernel count the process's peak anew, where it can."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def _peak() -> float:
    return max(_status("VmHWM"), _resident())


def _resident() -> float:
    return _status("VmRSS")


def _status(name: str) -> float:
    """A line of the process's status in bytes; where there is none, the peak that the system knows."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def peak_memory(device: torch.device) -> float:
    """Bytes at the peak so far: of the process, or of the GPU where that is the device."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else _peak()
