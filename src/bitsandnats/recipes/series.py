"""A series of checkpoints: what to load, in which order, and what to measure it on."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bitsandnats import hf
from bitsandnats._types import Data, Unit
from bitsandnats.data import as_data, subset
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.paging import Place, center_in
from bitsandnats.task import Task

_EVALUATION_ITEMS = 256
_LEDGER = ".fetched"  # hidden: a run folder may have it before anything is measured


@dataclass(frozen=True)
class Series:
    """Checkpoints in training order, loaded when their turn comes.

    Attributes:
        load: label -> a function that gives the Task (sampling data: its own).
        evaluation: held-out items for losses and critical points; None = up to 256 of the task's own.
        steps: training step of each label, None where unknown.
        sampling_text: what is sampled on, in words.
        evaluation_text: what is evaluated on, in words.
        picklable: whether the checkpoints can be loaded in other processes.
        training_rate: peak learning rate of the training, where it is known: schemes that train on take a part of it.
        subsets: names of parts of the evaluation data -> their items.
        origin: where the checkpoints come from, in words; None where that is of no use.
        supply: fetches checkpoints of the hub ahead, and gives them up; None where they are at hand.
        arguments: those of `replayed_series`, as plain values; None where the series was made in Python.
    """

    load: Mapping[str, Callable[[], Task]]
    evaluation: Data | None
    steps: Mapping[str, int | None]
    sampling_text: str = "the task's own data"
    evaluation_text: str = "the task's own data"
    picklable: bool = False
    training_rate: float | None = None
    subsets: Mapping[str, range] = field(default_factory=dict)
    origin: str | None = None
    supply: hf.Supply | None = None
    arguments: Mapping[str, Any] | None = None

    def held_out(self, task: Task) -> Task:
        """A checkpoint's task on the evaluation data."""
        if self.evaluation is not None:
            return task.on(self.evaluation, self.subsets)
        count = min(_EVALUATION_ITEMS, len(task.data))
        return task.on(subset(task.data, np.linspace(0, len(task.data) - 1, count).round().astype(int).tolist()))

    def only(self, label: str) -> "Series":
        """The series reduced to one checkpoint, to be sent to another process."""
        load, steps = {label: self.load[label]}, {label: self.steps.get(label)}
        return dataclasses.replace(self, load=load, steps=steps, supply=None)


@dataclass(frozen=True)
class _Loader:
    """Loads one Hugging Face checkpoint; a plain value, so that other processes can."""

    reference: str | Path
    contexts: hf.Packed
    fold: bool | None
    device: str | None
    unit: Unit
    ledger: Path | None

    def __call__(self) -> Task:
        if isinstance(self.reference, str):
            hf.ensure(self.reference, self.ledger)
        return hf.load_task(self.reference, text=self.contexts, fold=self.fold, device=self.device, unit=self.unit)


@dataclass(frozen=True)
class _Kept:
    """Loads a checkpoint whose w* is kept in a place; a plain value where the loader is one."""

    load: Callable[[], Task]
    place: Place

    def __call__(self) -> Task:
        return center_in(self.load(), self.place)


def kept_in(series: Series, place: Place) -> Series:
    """The series with the w* of each checkpoint kept in a place, from its loading on; see `paging`."""
    if place == "device":
        return series
    return dataclasses.replace(series, load={label: _Kept(load, place) for label, load in series.load.items()})


def checkpoint_series(
    reference: str | Path,
    *,
    revisions: str | None = None,
    text: hf.Text | None = None,
    context: int | None = None,
    fold: bool | None = None,
    keep: Callable[[list[hf.Checkpoint]], list[hf.Checkpoint]] | None = None,
    device: str | None = None,
    unit: Unit = "token",
    out: str | Path | None = None,
    evict: bool = False,
) -> Series:
    """The checkpoints in a folder or of a model on the hub, with text to sample on and text held out, as a series.

    Args:
        reference: folder of Hugging Face checkpoints, or of one; or `org/name`, with the revisions to study.
        revisions: which checkpoints, as `hf.revisions.select` reads it: `step1000..step90000:8`, `step*000`, `a,b`.
        text: as `hf.load_task` takes it; None for a suite trained by `bitsandnats train`.
        context: tokens a context.
        fold: fold layer norms; None = where the architecture is known, said in the notes where not.
        keep: which of the checkpoints found to study; None = all.
        device: where to measure, e.g. `cuda`; None = the CPU.
        unit: `token`, or `sequence` for the sum over a context's tokens.
        out: the run folder, which remembers what was fetched for it.
        evict: delete what was fetched for this run from the local cache once it is measured; needs `out`.

    Raises:
        DataError: no checkpoints or no text.
        ModelError: there is no such model on the hub, or it may not be read.
        InputError: `revisions` cannot be read, or `evict` stands without `out`.
    """
    if evict and out is None:
        raise InputError(message(expected="a run folder beside evict", got="none", do="give out"))
    ledger = None if out is None else Path(out) / _LEDGER
    checkpoints = hf.find_series(reference, revisions)
    if keep is not None:
        checkpoints = keep(checkpoints)
    fetched = {c.label: c.reference for c in checkpoints if isinstance(c.reference, str)}
    if fetched:
        hf.ensure(list(fetched.values())[-1], ledger)  # its tokenizer is the series'
    found = hf.series_text(checkpoints, text, context)
    return Series(
        load={c.label: _Loader(c.reference, found.sampling, fold, device, unit, ledger) for c in checkpoints},
        evaluation=found.evaluation.data,
        subsets=found.evaluation.subsets,
        steps={c.label: c.step for c in checkpoints},
        sampling_text=found.sampling_words,
        evaluation_text=found.evaluation_words,
        picklable=True,
        training_rate=hf.training_rate(checkpoints[-1].reference),
        origin=_origin(reference, revisions, len(checkpoints)) if fetched else None,
        supply=hf.Supply(fetched, ledger, evict) if fetched else None,
        arguments={
            "reference": str(Path(reference).resolve()) if Path(reference).exists() else str(reference),
            "revisions": revisions,
            "labels": [c.label for c in checkpoints],
            **_told_text(text),
            "context": context,
            "fold": fold,
            "device": device,
            "unit": unit,
        },
    )


def _told_text(text: hf.Text | None) -> dict[str, Any]:
    """Text as `run.toml` keeps it, for `hf.named_texts`; nothing of tokens, which have no name."""
    if text is None or isinstance(text, hf.Packed | Tensor):
        return {"text": None}
    texts = hf.as_texts(text)
    whole = [
        (f"{name}=" if name else "") + (str(Path(source).resolve()) if Path(source).exists() else source)
        for name, given in texts.sources.items()
        for source in given
    ]
    return {"text": whole, "field": texts.field, "items": texts.items}


def _origin(reference: str | Path, revisions: str | None, count: int) -> str:
    """The series in words."""
    if revisions is None:
        return f"{reference}"
    among = " of those in the local cache" if hf.offline() else ""
    return f"{reference}, revisions {revisions} ({count} checkpoint{'' if count == 1 else 's'}{among})"


def replayed_series(told: Mapping[str, Any], out: str | Path) -> Series:
    """The series that a run folder says it was made of.

    Args:
        told: table `series` of `run.toml`; empty for one made in Python.
        out: the new run folder, which remembers what was fetched for it.

    Raises:
        InputError: the series was made in Python.
        DataError: the checkpoints or the text are no longer there.
    """
    if not told.get("reference"):
        raise InputError(
            message(
                expected="a run of a folder of checkpoints",
                got="one of Tasks made in Python, which a run folder cannot load",
                do="run the script that made it again",
            )
        )
    labels, given = set(told.get("labels", ())), told.get("text")
    series = checkpoint_series(
        told["reference"],
        revisions=told.get("revisions"),
        text=None if given is None else hf.named_texts(given, told.get("field", "text"), told.get("items", "contexts")),
        context=told.get("context"),
        fold=told.get("fold"),
        keep=lambda found: [c for c in found if c.label in labels],
        device=told.get("device"),
        unit=told.get("unit", "token"),
        out=out,
    )
    lacking = sorted(labels - set(series.load))
    if lacking:
        raise DataError(
            message(expected=f"checkpoint {lacking[0]} in {told['reference']}", got="none", do="restore it")
        )
    return series


def task_series(tasks: Mapping[str, Task], evaluation: Any) -> Series:
    """Tasks at hand as a series; a label that ends in a number gives the step.

    Raises:
        InputError: there is none.
    """
    if not tasks:
        raise InputError(message(expected="a series of at least one task", got="none", do="give label -> Task"))
    return Series(
        load={label: (lambda task=task: task) for label, task in tasks.items()},
        evaluation=None if evaluation is None else as_data(evaluation),
        steps={label: hf.step_of(label) for label in tasks},
        evaluation_text="the task's own data" if evaluation is None else "the data given as evaluation",
    )
