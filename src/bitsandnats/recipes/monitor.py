"""Monitor: a study made while a model trains."""

import copy
import dataclasses
import time
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitsandnats import compressors
from bitsandnats._functional import private_copy
from bitsandnats._types import Batch, Unit, WeightFn, silent
from bitsandnats.critical import check_tolerances
from bitsandnats.data import as_data
from bitsandnats.errors import InputError, ModelError, StoreError, message
from bitsandnats.recipes import summary
from bitsandnats.recipes.checkpoint import CheckpointWork, measure_checkpoint
from bitsandnats.recipes.llc import check_given
from bitsandnats.recipes.preserved import preserved
from bitsandnats.recipes.resolved import kept_settings
from bitsandnats.recipes.rows import keep_row, kept_rows, labels_kept
from bitsandnats.recipes.series import Series
from bitsandnats.recipes.trackers import check_trackers, track
from bitsandnats.settings import Settings
from bitsandnats.store import ContentKey, Run, create_run, data_digest, locked, write_json
from bitsandnats.task import Task

_WRAPPERS = {"OptimizedModule": "_orig_mod", "DistributedDataParallel": "module", "DataParallel": "module"}
_LLC = "llc"


@dataclass(frozen=True)
class Monitor:
    """Measures a model at chosen steps of its training, into a run folder like a study's.

    Call it with the step and the model wherever the training loop is; at other steps than those chosen it does nothing.
    Measuring changes nothing of the training: weights, gradients, optimizer, modes and random states are afterwards
    what they were, to the last bit. The folder is that of a study: `write_report` and `bitsandnats report` work on it,
    also while the training goes on. A training that is resumed measures into the same folder; what was measured at the
    same weights is not measured again.

    A checkpoint that cannot be measured is marked and the training goes on; so it does, with a warning, where the
    folder cannot be written any more once there is a first row.

    Attributes:
        data: what to sample on, as for `Task.from_module`; a fixed set, not a stream.
        loss: `loss(model, batch)` -> unreduced losses, nats.
        at: steps to measure at, or a function that says whether to.
        out: the run folder.
        measurements: `llc` and compressors, as in `bitsandnats ls compressors`.
        settings: of the sampler; None or a dict of those given: the rest is chosen at the first measured step and
            serves all of them, so a step before there is anything to measure (0) is a poor first.
        tolerances: loss increases allowed, nats a unit.
        evaluation: held-out data for losses and critical points; None = up to 256 items of `data`.
        weight: 0/1 weights of the losses' shape, see `Task.from_module`.
        unit: see `Task.from_module`.
        trackers: `wandb`, `trackio`: told of each row, where the user has begun a run there.
        seed: of every random choice.
    """

    data: Any
    loss: Callable[[Any, Batch], Tensor]
    at: Collection[int] | Callable[[int], bool] = dataclasses.field(kw_only=True)
    out: str | Path = dataclasses.field(kw_only=True)
    measurements: tuple[str, ...] = dataclasses.field(default=(_LLC, "quantize"), kw_only=True)
    settings: Settings | dict[str, Any] | None = dataclasses.field(default=None, kw_only=True)
    tolerances: tuple[float, ...] = dataclasses.field(default=(0.1, 0.3, 0.5, 1.0), kw_only=True)
    evaluation: Any = dataclasses.field(default=None, kw_only=True)
    weight: WeightFn | None = dataclasses.field(default=None, kw_only=True)
    unit: Unit | None = dataclasses.field(default=None, kw_only=True)
    trackers: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_tolerances(self.tolerances)
        check_trackers(self.trackers)
        if not self.measurements:
            raise InputError(message(expected="something to measure", got="nothing", do="name llc or a compressor"))
        for scheme in self.schemes:
            compressors.registry.build(scheme)()
        check_given(self._given())

    @property
    def schemes(self) -> tuple[str, ...]:
        """The compressors among the measurements."""
        return tuple(name for name in self.measurements if name != _LLC)

    def __call__(self, step: int, model: nn.Module) -> dict[str, Any] | None:
        """Measures the model if this is a step to measure at.

        Args:
            step: optimizer steps made so far.
            model: the network in training; may be wrapped by `torch.compile` or for data parallelism.

        Returns:
            The row of the table; None at other steps.

        Raises:
            StoreError: the folder cannot be used, and holds no row of this training yet.
            InputError: the loss, an option or a tracker cannot be used.
            SettingsError: no settings keep the first measured weights in their basin.
        """
        if not (self.at(step) if callable(self.at) else step in self.at):
            return None
        with preserved(model):
            task = _task(self, model)
            folder = Path(self.out)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with locked(folder, "run"):
                    row = self._measure(step, task)
            except StoreError as error:
                if not (folder / "summary.json").is_file():
                    raise
                warnings.warn(f"step {step} was not measured: {error}", stacklevel=2)
                return None
            track(self.trackers, row)
        return row

    def _measure(self, step: int, task: Task) -> dict[str, Any]:
        began = time.perf_counter()
        provenance = summary.provenance(None, self.seed)
        run = create_run(self.out, self._asked(task), provenance=provenance)
        settings, key = self._settings(run, task)
        label = f"step{step}"
        held_out = None if self.evaluation is None else as_data(self.evaluation)
        words = "the data given to the monitor", "the data given as evaluation" if held_out else "the same data"
        series = Series({label: lambda: task}, held_out, {label: step}, *words)
        work = CheckpointWork(run.path, series, label, settings, self.schemes, self.tolerances, self.seed)
        result = measure_checkpoint(work, silent)
        keep_row(run, key, result)
        results = kept_rows(run, key, labels_kept(run, key))
        head: dict[str, Any] = {"title": run.path.resolve().name, "recipe": "local"}
        head |= {"tolerances": list(self.tolerances), "schemes": list(self.schemes)}
        head |= next(({"model": r.model, "data": r.data} for r in results.values() if r.model), {})
        measured = {**provenance, "seconds": time.perf_counter() - began, "workers": 1}
        measured["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        table = summary.study_summary(head, [r.row for r in results.values()], settings, measured)
        write_json(run.path / "summary.json", table)
        return result.row

    def _given(self) -> dict[str, Any]:
        given = self.settings.values() if isinstance(self.settings, Settings) else dict(self.settings or {})
        return {k: v for k, v in given.items() if v is not None}

    def _asked(self, task: Task) -> dict[str, Any]:
        """What defines the run."""
        sizes = {name: list(w.shape) for name, w in task.center.items()}
        return {
            "monitor": list(self.measurements),
            "tolerances": [float(t) for t in self.tolerances],
            "seed": self.seed,
            "given": self._given(),
            "data": data_digest(task),
            "unit": task.unit,
            "model": f"{task.dimension} weights in {len(sizes)} tensors",
        }

    def _settings(self, run: Run, task: Task) -> tuple[Settings | None, ContentKey]:
        """The settings of the series, and the key that its rows share."""
        if _LLC not in self.measurements:
            return None, ContentKey(data_digest(task), ())
        wanted = self.settings if isinstance(self.settings, Settings) else {**self._given(), "seed": self.seed}
        return kept_settings(run, task, wanted)


def _task(monitor: Monitor, model: nn.Module) -> Task:
    """The model as it is, in evaluation mode, as a Task; its tensors are shared, never written."""
    while type(model).__name__ in _WRAPPERS:
        model = getattr(model, _WRAPPERS[type(model).__name__])
    private = private_copy(model)
    for part in private.modules():
        # accelerate puts a function of the original module in the place of `forward`, which would bypass the copy
        if "_original_forward" in part.__dict__:
            part.__dict__.pop("forward", None)
        forward = part.__dict__.get("forward")
        if forward is not None and getattr(forward, "__self__", None) is not part:
            raise _bypassed(f"{type(part).__name__}.forward replaced by a function of another module")
    private = private.eval()
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in private.parameters()):
        private = copy.deepcopy(private).float()  # of half precision there must be a copy
    task = Task.from_module(private, monitor.loss, monitor.data, weight=monitor.weight, unit=monitor.unit)
    items = task.batch(torch.arange(1))
    with torch.no_grad():
        moved = {name: 1.5 * w + 0.1 for name, w in task.center.items()}
        if torch.equal(task.item_losses(task.center, items), task.item_losses(moved, items)):
            raise _bypassed("a loss that does not depend on its weights")
    return task


def _bypassed(got: str) -> ModelError:
    return ModelError(
        message(
            expected="a model that can be evaluated at other weights", got=got, do="give the monitor the plain module"
        )
    )
