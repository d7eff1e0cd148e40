"""What is decided by a clock or by the memory there is: chains at once or one by one, items a pass."""

from typing import Literal

from bitsandnats import samplers
from bitsandnats._rng import generator
from bitsandnats.errors import InputError, message
from bitsandnats.run.baseline import batch_indices
from bitsandnats.settings import Settings
from bitsandnats.target import (
    DIRECTIONS,
    LocalPosterior,
    choose_micro_batch,
    faster_mode,
    total_memory,
    variate_bytes,
)
from bitsandnats.task import Task

_ARRAYS = 3  # of the weights' size a chain, at least: position, gradient, noise


def choose_mode(task: Task, settings: Settings) -> Literal["loop", "vmap"]:
    """The faster way to evaluate the group of chains, measured on one batch; one by one where they do not fit.

    The two round differently, and which is faster is a matter of the moment: who must repeat a run bit for bit asks
    once and keeps the answer.
    """
    if settings.compile or _wanted(task, settings.chains) > total_memory(task.device):
        return "loop"
    random = [generator(settings.seed, c, "probe") for c in range(settings.chains)]
    batch = None
    if not takes_all(task, settings):
        batch = task.batch(batch_indices(random, len(task.data), settings.batch_size))
    return faster_mode(task, batch, chains=settings.chains)


def choose_pass(target: LocalPosterior, settings: Settings) -> int | Literal["whole"]:
    """Items a pass at most: as the settings say, or as many as memory holds at the moment.

    Passes are rounded one by one: who must repeat a run bit for bit asks once and keeps the answer.

    Args:
        target: the target that is sampled; with all chains at once, a pass is whole.
        settings: of the sampler.
    """
    if settings.micro_batch != "auto":
        return settings.micro_batch
    if target.mode == "vmap":
        return "whole"
    items = len(target.task.data) if takes_all(target.task, settings) else settings.batch_size
    arrays = 1 + ("rmsprop" in settings.sampler or "adam" in settings.sampler)
    arrays += settings.statistics == "step" and target.slope is None  # it will come
    return choose_micro_batch(target, items, arrays=arrays) or "whole"


def takes_all(task: Task, settings: Settings) -> bool:
    """Whether every step takes all data."""
    tags = samplers.registry.entry(settings.sampler).tags
    return "full" in tags or settings.batch_size >= len(task.data)


def check_center(task: Task, settings: Settings) -> None:
    """Refuses what needs all of w* on the device at every step, where the CPU keeps it.

    Raises:
        InputError: as said.
    """
    if task.compute is None:
        return
    clashes = {
        f"sampler {settings.sampler}": "full" in samplers.registry.entry(settings.sampler).tags,
        "gradient control": settings.gradient == "control",
        "metric tensors": settings.metric == "tensors",
    }
    for name, clash in clashes.items():
        if clash:
            do = "choose another, or leave the center on the device"
            raise InputError(message(expected=f"no {name} beside center cpu", got="both", do=do))


def check_compile(settings: Settings) -> None:
    """Refuses compiled layers where chains are evaluated at once: `vmap` does not go through them.

    Raises:
        InputError: as said.
    """
    if settings.compile and settings.mode == "vmap":
        raise InputError(
            message(expected="mode auto or loop beside compile", got="vmap", do="leave out the mode, or compile")
        )


def check_memory(task: Task, chains: int) -> None:
    """Refuses a group of chains that cannot fit, before it is tried.

    Raises:
        InputError: as said.
    """
    wanted, there = _wanted(task, chains), total_memory(task.device)
    if wanted > there:
        raise InputError(
            message(
                expected=f"chains that fit into {there / 2**30:.1f} GiB of memory",
                got=f"{chains} at a time, which need {wanted / 2**30:.1f} GiB",
                do="use fewer chains, or mode 'loop'",
            )
        )


def check_variates(settings: Settings, task: Task) -> None:
    """Refuses variates where their mean would not be known, or where their directions do not fit in memory.

    Args:
        settings: of the sampler.
        task: the task.

    Raises:
        InputError: as said.
    """
    if settings.variates == "none":
        return
    if "exact" not in samplers.registry.entry(settings.sampler).tags:
        raise InputError(
            message(
                expected="a sampler with accept/reject for variates 'quadratic'",
                got=settings.sampler,
                do="use hmc or mala, or variates 'none'",
            )
        )
    if settings.precision != "float32":
        raise InputError(
            message(
                expected="gradients in the weights' own precision for variates 'quadratic'",
                got=f"precision {settings.precision}",
                do="leave the precision out, or use variates 'none'",
            )
        )
    wanted, there = variate_bytes(task), total_memory(task.device)
    if wanted > there:
        raise InputError(
            message(
                expected=f"directions of variates 'quadratic' that fit into {there / 2**30:.1f} GiB of memory",
                got=f"{DIRECTIONS} of {task.dimension} weights, which need {wanted / 2**30:.1f} GiB",
                do="use variates 'none'",
            )
        )


def _wanted(task: Task, chains: int) -> int:
    """Bytes that a group of chains needs at least."""
    return chains * _ARRAYS * sum(w.numel() * w.element_size() for w in task.center.values())
