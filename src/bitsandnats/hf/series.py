"""The checkpoints of one training run, in order."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bitsandnats.errors import DataError, InputError, message


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a series.

    Attributes:
        label: its name in results, unique in the series.
        step: training steps taken, None where the name does not say.
        path: its folder.
    """

    label: str
    step: int | None
    path: Path


def find_series(path: str | os.PathLike[str]) -> list[Checkpoint]:
    """The checkpoints in a folder, by training step; a folder that is itself a checkpoint is a series of one.

    A checkpoint is a folder with a `config.json`; its step is the integer at the end of its name (`step512`,
    `checkpoint-512`, `512`). Folders without a step come last, by name.

    Raises:
        DataError: no such folder, no checkpoint in it, or two checkpoints of one step.
    """
    root = Path(path)
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing there"
        raise DataError(message(expected=f"a folder of checkpoints at {root}", got=got, do="check the path's spelling"))
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
    series = sorted((_checkpoint(p) for p in inside), key=lambda c: (c.step is None, c.step or 0, c.label))
    for first, second in pairwise(series):
        if first.step is not None and first.step == second.step:
            raise DataError(
                message(
                    expected="one checkpoint a step",
                    got=f"{first.label} and {second.label}, both step {first.step}",
                    do="move one of them out of the folder",
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
    if len(checkpoints) <= at_most:
        return list(checkpoints)
    if at_most == 1:
        return [checkpoints[-1]]
    known = all(c.step is not None for c in checkpoints)
    places = [math.log1p(c.step or 0) if known else float(i) for i, c in enumerate(checkpoints)]
    chosen = [0]
    for pick in range(1, at_most):
        # Each pick leaves room for those still to come, so that exactly `at_most` are taken.
        last = len(checkpoints) - at_most + pick
        wanted = places[0] + (places[-1] - places[0]) * pick / (at_most - 1)
        chosen.append(min(range(chosen[-1] + 1, last + 1), key=lambda i, goal=wanted: abs(places[i] - goal)))
    return [checkpoints[i] for i in chosen]


def _checkpoint(path: Path) -> Checkpoint:
    digits = re.search(r"(\d+)$", path.name)
    return Checkpoint(label=path.name, step=int(digits.group(1)) if digits else None, path=path)
