"""The main job on an embedded default: train a small language model, study it over training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitsandnats import hf
from bitsandnats._types import Progress
from bitsandnats.data.corpus import embedded_corpus
from bitsandnats.hf import TrainOptions
from bitsandnats.recipes.series import checkpoint_series
from bitsandnats.recipes.study import study
from bitsandnats.store import Run

_TOLERANCES = (0.1, 0.2, 0.3, 0.5)  # a model this small meets 0.5 nat with three values a weight for long


@dataclass(frozen=True)
class DemoPlan:
    """What a demo trains and measures.

    Attributes:
        options: of the model and its training.
        corpus_bytes: text to gather.
        labels: checkpoints that are studied, at most nine.
        settings: sampler settings that the budget fixes; the rest is measured.
    """

    options: TrainOptions
    corpus_bytes: int
    labels: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


def demo_plan(quick: bool) -> DemoPlan:
    """The plan of `bitsandnats demo`, or of `demo --quick`."""
    if quick:
        steps = (64, 128, 192, 256, 384, 512)
        return DemoPlan(
            TrainOptions(width=64, heads=4, context=64, vocabulary=512, steps=512),
            corpus_bytes=2_000_000,
            labels=tuple(f"step{s}" for s in steps),
            settings={"chains": 2, "batch_size": 8, "burn_in": 40, "draws": 160},
        )
    steps = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
    return DemoPlan(
        TrainOptions(steps=1024),
        corpus_bytes=6_000_000,
        labels=tuple(f"step{s}" for s in steps),
        settings={"chains": 2, "batch_size": 8, "burn_in": 40, "draws": 160},
    )


def demo(
    out: str | Path,
    plan: DemoPlan,
    *,
    command: str | None,
    training: Progress,
    studying: Progress,
) -> Run:
    """Gathers text, trains, studies; continues or reuses what is finished.

    Args:
        out: run folder; the model goes into `model` in it.
        plan: from `demo_plan`.
        command: for the report.
        training: told of text and training as they go on.
        studying: told of the study as it goes on.

    Raises:
        StoreError: the folder belongs to another plan or cannot be used.
    """
    training("gathering text", 0, 1)
    corpus = embedded_corpus(plan.corpus_bytes)
    suite = hf.train_suite(Path(out) / "model", plan.options, corpus.train, corpus.held_out, training)
    return study(
        checkpoint_series(suite, fold=True, keep=_among(plan.labels)),
        settings=plan.settings,
        tolerances=_TOLERANCES,
        fold=True,
        out=out,
        title="A small language model on the text that Python carries",
        workers=None,
        command=command,
        progress=studying,
    )


def _among(labels: tuple[str, ...]) -> Callable[[list[hf.Checkpoint]], list[hf.Checkpoint]]:
    return lambda checkpoints: [c for c in checkpoints if c.label in labels]
