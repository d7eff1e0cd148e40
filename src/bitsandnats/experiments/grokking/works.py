"""What is measured of one checkpoint, each a stored unit: complexity at every tolerance, or the LLC."""

import bz2
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor, nn

from bitsandnats._types import Params, Progress
from bitsandnats.curvature import top_curvature
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.estimators.llc import as_record, estimate
from bitsandnats.experiments.grokking.arithmetic import Table
from bitsandnats.experiments.grokking.plan import ALPHA, Arm, Sampling, nbeta, search_options
from bitsandnats.experiments.grokking.training_unit import checkpoint
from bitsandnats.recipes.complexity import Complexity, complexities
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.settings import Settings
from bitsandnats.store import ContentKey, Run, content_key
from bitsandnats.task import Task

_KEPT = ("llc", "se", "interval", "verdict", "noise_only", "rhat", "ess", "drift_share", "step_share", "slope_share")


@dataclass(frozen=True)
class Measurement:
    """One thing measured of one checkpoint.

    Attributes:
        folder: the run folder.
        arm: of the training run.
        seed: of the training run.
        epoch: of the checkpoint.
        kind: what is measured.
        grade: of the search, of complexity.
        tolerances: nats, of complexity.
        sampling: of the LLC.
        device: where losses are evaluated.
    """

    folder: Path
    arm: Arm
    seed: int
    epoch: int
    kind: Literal["complexity", "llc"]
    grade: str
    tolerances: tuple[float, ...]
    sampling: Sampling
    device: str

    @property
    def label(self) -> str:
        """Of the checkpoint, in the run folder."""
        return f"{self.arm.label(self.seed)}-e{self.epoch}"

    @property
    def unit(self) -> str:
        """Of the measurement, in the run folder."""
        return "llc" if self.kind == "llc" else f"complexity-{self.grade}"


def measured(work: Measurement, progress: Progress) -> dict[str, Any]:
    """One row, with the numbers or why there are none; a finished unit is read, not measured again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    row: dict[str, Any] = {"arm": work.arm.name, "regime": work.arm.regime.name, "seed": work.seed, "failed": None}
    row |= {"epoch": work.epoch, "kind": work.kind, "grade": work.grade if work.kind == "complexity" else None}
    try:
        found = _llc(work, progress) if work.kind == "llc" else _complexity(work, progress)
    except StoreError:
        raise
    except BitsAndNatsError as error:
        found = {"failed": str(error)}
    progress(work.kind, 1, 1)
    return row | found


def _complexity(work: Measurement, progress: Progress) -> dict[str, Any]:
    """Sizes and losses of the smallest network found at each tolerance, from one pool of trials."""
    task, train_set, test = checkpoint(work.folder, work.arm, work.seed, work.epoch, work.device)
    method, refinements = search_options(work.grade)
    options = {"tolerances": work.tolerances, "method": method, "refinements": refinements, "alpha": ALPHA}
    key = content_key(task, {**options, "search": "grid", "seed": 0})

    def measure() -> tuple[dict[str, Any], xr.Dataset]:
        began = time.perf_counter()
        found = complexities(
            task, tolerances=work.tolerances, method=method, search="grid", refinements=refinements, progress=progress
        )
        seconds = time.perf_counter() - began
        points = [_point(one, train_set, test) for one in found]
        trials = found[-1].trials
        record = {"points": points, "trials": len(trials), "seconds": seconds, "naive": _naive(task)}
        columns = {name: [getattr(t, name) for t in trials] for name in ("size", "excess", "se")}
        return record, xr.Dataset({name: ("trial", values) for name, values in columns.items()})

    return _unit(work, key, measure)


def _point(found: Complexity, train_set: Table, test: Table) -> dict[str, Any]:
    """One tolerance: what is needed of the coarse network for tables, bounds and description lengths."""
    own, held = (_scores(found.task, part) for part in (train_set, test))
    row = {"tolerance": found.tolerance, "bytes": found.bytes, "excess": found.excess_loss}
    row |= {"excess_se": found.excess_loss_se, "sizes": found.sizes(), "factorized": len(found.ranks)}
    row |= {f"train_{name}": value for name, value in own.items()}
    return row | {f"test_{name}": value for name, value in held.items()}


@torch.no_grad()
def _scores(task: Task, table: Table) -> dict[str, float]:
    """Cross-entropy, that of the prediction mixed with the uniform guess, and share of errors."""
    logits = _logits(task, task.center, table.inputs).double()
    found = nn.functional.cross_entropy(logits, table.labels, reduction="none")
    mixed = -torch.log((1 - ALPHA) * torch.exp(-found) + ALPHA / logits.shape[1])
    wrong = (logits.argmax(-1) != table.labels).double()
    return {name: float(v.mean()) for name, v in (("loss", found), ("mixed", mixed), ("error", wrong))}


def _logits(task: Task, params: Params, inputs: Tensor) -> Tensor:
    """What the network says, in blocks: the task's loss gives losses only."""
    module: Any = getattr(task.loss, "module", None)
    assert module is not None  # built by `checkpoint`
    parts = inputs.split(4096)
    return torch.cat([torch.func.functional_call(module, params, (part,)) for part in parts])


def _naive(task: Task) -> int:
    """bzip2 of the weights as they are, float32, one behind the other; bytes."""
    raw = b"".join(w.detach().cpu().contiguous().numpy().tobytes() for w in task.center.values())
    return len(bz2.compress(raw, 9))


def _llc(work: Measurement, progress: Progress) -> dict[str, Any]:
    """λ̂ at the same nβ and γ for all checkpoints of a recipe; the step follows the checkpoint's curvature."""
    task, _, _ = checkpoint(work.folder, work.arm, work.seed, work.epoch, work.device)
    own = work.sampling
    key = content_key(task, {"sampling": own._asdict()})

    def measure() -> tuple[dict[str, Any], xr.Dataset]:
        began = time.perf_counter()
        top = top_curvature(task, items=len(task.data), tolerance=0.02, iterations=30, seed=0).value
        settings = Settings(
            sampler="sgld",
            step_size=own.share / (nbeta(work.arm.recipe) * max(top, 0.0) + own.gamma),
            gamma=own.gamma,
            nbeta=nbeta(work.arm.recipe),
            batch_size=len(task.data),
            chains=own.chains,
            burn_in=own.burn_in,
            draws=own.draws,
            start="noise",
            mode="loop" if work.device == "cpu" else "vmap",
        )
        tree = measure_llc(task, settings, progress=progress)
        figures = as_record(estimate(tree))
        record = {name: figures.get(name) for name in _KEPT} | {"settings": settings.values(), "curvature": top}
        record["seconds"] = time.perf_counter() - began
        return record, xr.Dataset({"loss": tree["draws"].dataset["loss"]})

    return _unit(work, key, measure)


def _unit(
    work: Measurement, key: ContentKey, measure: Callable[[], tuple[dict[str, Any], xr.Dataset]]
) -> dict[str, Any]:
    """The record of a unit, measured where it is not stored."""
    run = Run(work.folder)
    tree = run.finished(work.label, work.unit, key)
    if tree is None:
        record, data = measure()
        tree = xr.DataTree(data.assign_attrs(record=json.dumps(_finite(record))))
        run.finish(work.label, work.unit, key, tree)
    return json.loads(tree.attrs["record"])


def _finite(value: Any) -> Any:
    """Plain values in which numbers that JSON does not have are None."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
