"""The work of a run, in pieces that any process can do: a suite trained, λ̂ at the published settings, heads pruned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from bitsandnats import hf
from bitsandnats._types import Progress, silent
from bitsandnats.compressors import prune_heads
from bitsandnats.critical.sweep import Sweep
from bitsandnats.data import embedded_corpus
from bitsandnats.errors import BitsAndNatsError
from bitsandnats.experiments.compressibility.plan import Pruning, Suite
from bitsandnats.recipes.checkpoint import CheckpointWork, measure_checkpoint
from bitsandnats.recipes.series import Series
from bitsandnats.store import Run, content_key
from bitsandnats.task import Task


@dataclass(frozen=True)
class TrainWork:
    """A suite to be trained.

    Attributes:
        folder: of the suite.
        suite: its name and options.
        corpus_bytes: text to gather.
        device: where to train; None = the CPU.
    """

    folder: Path
    suite: Suite
    corpus_bytes: int
    device: str | None = None


def train(work: TrainWork, progress: Progress) -> None:
    """Trains a suite on the text that Python carries; a finished one is used as it is."""
    corpus = embedded_corpus(work.corpus_bytes)

    def told(stage: str, done: int, total: int) -> None:
        if stage == "train":
            progress("training", done, total)

    hf.train_suite(work.folder, work.suite.options, corpus.train, corpus.held_out, told, device=work.device)


@dataclass(frozen=True)
class PruneWork:
    """One checkpoint of which a fraction of the heads is kept.

    Attributes:
        folder: the run folder.
        series: of which only `label` is looked at.
        label: the checkpoint.
        suite: its name.
        fraction: of heads kept.
        pruning: draws and retraining.
        seed: of heads and batches.
    """

    folder: Path
    series: Series
    label: str
    suite: str
    fraction: float
    pruning: Pruning
    seed: int


def prune(work: PruneWork, progress: Progress) -> dict[str, Any]:
    """ΔL on held-out text with and without retraining; a finished unit is read, not measured again."""
    row: dict[str, Any] = {"suite": work.suite, "label": work.label, "step": work.series.steps.get(work.label)}
    row |= {"fraction": work.fraction, "failed": None}
    try:
        task = work.series.load[work.label]()
        return row | _pruned(work, task, work.series.held_out(task), progress)
    except BitsAndNatsError as error:
        return row | {"failed": str(error)}


def _pruned(work: PruneWork, task: Task, held_out: Task, progress: Progress) -> dict[str, Any]:
    run, label, name = Run(work.folder), f"{work.suite}-{work.label}", f"prune-heads-{work.fraction:g}"
    options = {**work.pruning._asdict(), "fraction": work.fraction, "seed": work.seed}
    options |= {"rate": work.series.training_rate, "training": content_key(task, {}).digest}
    key = content_key(held_out, options)
    tree = run.finished(label, name, key)
    if tree is None:
        parts = {"retrained": work.pruning.steps, "pruned": 0}
        tree = xr.DataTree.from_dict({part: _curve(work, task, held_out, steps) for part, steps in parts.items()})
        run.finish(label, name, key, tree)
    progress("pruning", 1, 1)
    retrained, pruned = (tree[part].dataset.isel(level=0) for part in ("retrained", "pruned"))
    found = {
        "heads": int(retrained["heads"]),
        "heads_kept": int(retrained["heads_kept"]),
        "training_loss": float(retrained["training_loss"]),
    }
    for part, data in (("retrained", retrained), ("pruned", pruned)):
        found |= {part: float(data["excess_loss"]), f"{part}_se": float(data["excess_loss_se"])}
    return found


def _curve(work: PruneWork, task: Task, held_out: Task, steps: int) -> xr.Dataset:
    own, rate = work.pruning, work.series.training_rate
    assert rate is not None  # the plan takes suites only, which say it
    compressor = prune_heads(
        retrain_steps=steps, training_rate=rate, batch_size=own.batch_size, draws=own.draws, data=task.data
    )
    sweep = Sweep(held_out, compressor.prepare(held_out, work.seed), (), silent)
    sweep.settle(work.fraction)
    return sweep.curve()


@dataclass(frozen=True)
class PublishedWork:
    """λ̂ of one checkpoint at the published settings.

    Attributes:
        suite: its name.
        label: the checkpoint's in its own series.
        work: the measurement, without schemes.
    """

    suite: str
    label: str
    work: CheckpointWork


def published(work: PublishedWork, progress: Progress) -> dict[str, Any]:
    """The row of the checkpoint, with its λ̂ or why there is none."""
    return {**measure_checkpoint(work.work, progress).row, "suite": work.suite, "label": work.label}


def further(work: PublishedWork | PruneWork, progress: Progress) -> dict[str, Any]:
    """Whichever of the two it is."""
    return published(work, progress) if isinstance(work, PublishedWork) else prune(work, progress)
