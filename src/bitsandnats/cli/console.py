"""What a person sees while a job runs: one progress bar for the whole of it; and results as plain lines or JSON."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LONGEST_ESTIMATE = 1800.0
_WIDTH_OF_FILES = 120
_WORDS = {"train": "training", "tokenize": "tokenizing text", "map": "laying out the map"}


def command_line() -> str:
    """The command that was typed, to be typed again."""
    return "bitsandnats " + shlex.join(sys.argv[1:])


def words(stage: str) -> str:
    """A stage in words."""
    return _WORDS.get(stage, stage)


class Job:
    """A whole job as one bar: each stage has a share of it, and the time left is estimated over all."""

    def __init__(self, bar: Progress, task: TaskID, shares: Mapping[str, float]) -> None:
        self._bar, self._task = bar, task
        total = sum(shares.values())
        self._spans: dict[str, tuple[float, float]] = {}
        self._reached = 0.0
        before = 0.0
        for name, share in shares.items():
            self._spans[name] = (before / total, share / total)
            before += share

    def at(self, stage: str, fraction: float, said: str) -> None:
        """`fraction` of `stage` is done; `said` says what is going on. The bar never goes back."""
        start, length = self._spans[stage]
        self._reached = max(self._reached, start + length * min(max(fraction, 0.0), 1.0))
        self._bar.update(self._task, completed=self._reached, description=said)

    def note(self, text: str) -> None:
        """A line that stays, on standard error."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def job(shares: Mapping[str, float]) -> Iterator[Job]:
    """Shows the bar while the job runs; nothing where standard error is no terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=_LONGEST_ESTIMATE,
    ) as bar:
        yield Job(bar, bar.add_task("starting", total=1.0), shares)


class StudyProgress:
    """Turns the events of a study into the fraction of it that is done."""

    _SETTINGS = 0.2  # of a study is spent on choosing the settings, where they are not given

    def __init__(self, whole: Job, stage: str) -> None:
        self._job, self._stage = whole, stage

    def __call__(self, stage: str, done: int, total: int) -> None:
        """One event: `checkpoints` counts thousandths of a checkpoint."""
        fraction = done / max(total, 1)
        if stage != "checkpoints":
            self._job.at(self._stage, self._SETTINGS * fraction, words(stage))
            return
        said = f"{done // 1000} of {total // 1000} checkpoints measured"
        self._job.at(self._stage, self._SETTINGS + (1 - self._SETTINGS) * fraction, said)


def output() -> Console:
    """Standard output: as wide as the terminal, or 120 columns where it is a file or a pipe."""
    plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_WIDTH_OF_FILES if plain else None)


def show_page(page: Any) -> None:
    """Where the report is, if there is one."""
    if page is not None:
        say(f"report: {page}")


def say(text: str) -> None:
    """A plain line, never wrapped or coloured."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def show_json(value: Any) -> None:
    """A result as JSON on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False))
