"""Chains one after another or all at once: whichever is faster, by measurement."""

import time
import warnings
from typing import Literal

from bitsandnats._tree import fetched
from bitsandnats._types import Batch, Params
from bitsandnats.target.posterior import LocalPosterior
from bitsandnats.task import Task

VMAP_LARGEST = 100_000  # coordinates of one chain
_SAID = 120  # letters of an error


def faster_mode(task: Task, batch: Batch | None, *, chains: int) -> Literal["loop", "vmap"]:
    """`vmap` where timed evaluations of all chains at w* say that it pays, else `loop`.

    Args:
        task: the task.
        batch: items with axes (chain, sample, …), or None for all data.
        chains: of the group; large models are not tried.
    """
    if chains == 1 or task.dimension > VMAP_LARGEST:
        return "loop"
    if why_not_at_once(task, batch, chains=chains) is not None:
        return "loop"
    position = _repeated(task, chains)
    loop = _seconds(LocalPosterior(task, 1.0, 0.0, "loop"), position, batch)
    batched = _seconds(LocalPosterior(task, 1.0, 0.0, "vmap"), position, batch)
    return "vmap" if batched < 0.9 * loop else "loop"


def why_not_at_once(task: Task, batch: Batch | None, *, chains: int) -> str | None:
    """Why the chains of a group cannot be evaluated at once, in words; None where they can.

    Args:
        task: the task.
        batch: items with axes (chain, sample, …), or None for all data.
        chains: of the group.
    """
    position = _repeated(task, chains)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule.*")  # falls back to a loop that is slower still
            LocalPosterior(task, 1.0, 0.0, "vmap").evaluate(position, batch)
    except (RuntimeError, NotImplementedError, UserWarning) as error:  # not all operations have a rule for it
        return " ".join(str(error).split())[:_SAID]
    return None


def _repeated(task: Task, chains: int) -> Params:
    center = {name: fetched(w, task.device) for name, w in task.center.items()}
    return {name: w.unsqueeze(0).repeat(chains, *(1,) * w.ndim) for name, w in center.items()}


def _seconds(target: LocalPosterior, position: Params, batch: Batch | None) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        target.evaluate(position, batch)
        best = min(best, time.perf_counter() - began)
    return best
