"""The checkpoints of one training run, in order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bitsandnats.errors import DataError, InputError, message
from bitsandnats.hf import hub
from bitsandnats.hf.names import HubName, parse, step_of
from bitsandnats.hf.revisions import in_order, is_list, select, spaced


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a series.

    Attributes:
        label: its name in results, unique in the series.
        step: training steps taken, None where the name does not say.
        reference: its folder, or `org/name@revision` on the hub.
    """

    label: str
    step: int | None
    reference: str | Path


def find_series(reference: str | os.PathLike[str], revisions: str | None = None) -> list[Checkpoint]:
    """The checkpoints in a folder or of a model on the hub, by training step; one checkpoint is a series of one.

    In a folder, a checkpoint is a folder with a `config.json`, and its name is its label; on the hub, revisions are.
    The step is the number after `step` in the name, else the one at its end (`step512`, `checkpoint-512`, `512`,
    `stage1-step1000-tokens5B`). Names without a step come last. Nothing is loaded or fetched here.

    Args:
        reference: a folder, or `org/name` or `org/name@revision`.
        revisions: which of them, as `select` reads it; None = all in a folder, or the one that a name on the hub means.

    Raises:
        DataError: no such folder, no checkpoint in it, none that `revisions` selects, or two of one step.
        InputError: `revisions` cannot be read, or stands beside a reference with a revision.
        ModelError: there is no such model on the hub, or it may not be read.
    """
    root, name = Path(reference), parse(reference)
    if root.is_dir():
        series = _in_folder(root)
        if revisions is not None:
            labels = select(revisions, [c.label for c in series], str(root))
            series = [c for label in labels for c in series if c.label == label]
    elif name is None or root.exists() or (_looks_local(root) and not hub.cached_revisions(name.model)):
        got = "a file" if root.exists() else "nothing there"
        raise DataError(message(expected=f"a folder of checkpoints at {root}", got=got, do="check the path's spelling"))
    else:
        series = _on_the_hub(name, revisions)
    series = sorted(series, key=lambda c: in_order(c.label))
    for first, second in pairwise(series):
        if first.step is not None and first.step == second.step:
            raise DataError(
                message(
                    expected="one checkpoint a step",
                    got=f"{first.label} and {second.label}, both step {first.step}",
                    do="move one of them out of the folder" if root.is_dir() else "select one of them",
                )
            )
    return series


def choose(checkpoints: Sequence[Checkpoint], at_most: int) -> list[Checkpoint]:
    """At most so many checkpoints, spaced evenly in log(1 + step), the first and the last among them.

    Without steps they are spaced evenly by place. With `at_most` 1, the last.

    Raises:
        InputError: `at_most` is less than 1.
    """
    if at_most < 1:
        raise InputError(message(expected="at least 1 checkpoint", got=str(at_most), do="ask for more"))
    return [checkpoints[i] for i in spaced([c.step for c in checkpoints], at_most)]


def _in_folder(root: Path) -> list[Checkpoint]:
    if (root / "config.json").is_file():
        return [_checkpoint(root.resolve())]
    inside = [p for p in root.iterdir() if not p.name.startswith(".") and (p / "config.json").is_file()]
    if not inside:
        raise DataError(
            message(
                expected=f"checkpoint folders, each with a config.json, in {root}",
                got="none",
                do="name the folder that holds them, or one checkpoint",
            )
        )
    return [_checkpoint(p) for p in inside]


def _on_the_hub(name: HubName, revisions: str | None) -> list[Checkpoint]:
    if revisions is None:
        label = name.revision or name.model.rpartition("/")[2]
        return [Checkpoint(label, step_of(label) if name.revision else None, str(name))]
    if name.revision is not None:
        raise InputError(
            message(
                expected="revisions in one place",
                got=f"{name} and --revisions {revisions}",
                do=f"write {name.model}",
            )
        )
    if is_list(revisions):  # what is cached is enough: the hub is not asked what else there is
        named = [part.strip() for part in revisions.split(",")]
        if all(hub.cached(HubName(name.model, revision)) is not None for revision in named):
            return [_revision(name, revision) for revision in dict.fromkeys(named)]
    there, asked = hub.revisions(name.model)
    where = name.model if asked else f"{name.model} in the local cache (the hub was not asked)"
    return [_revision(name, revision) for revision in select(revisions, there, where)]


def _looks_local(path: Path) -> bool:
    """Whether a path that does not exist would lie in a folder that does."""
    return len(path.parts) > 1 and path.parent.is_dir()


def _checkpoint(path: Path) -> Checkpoint:
    return Checkpoint(label=path.name, step=step_of(path.name), reference=path)


def _revision(name: HubName, revision: str) -> Checkpoint:
    return Checkpoint(label=revision, step=step_of(revision), reference=f"{name.model}@{revision}")
