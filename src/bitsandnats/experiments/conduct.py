"""What all studies do: open the run, share out the work, write what is known after each unit, count the progress."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress
from bitsandnats.executor import Work, run_here, run_in_processes
from bitsandnats.recipes.summary import provenance
from bitsandnats.store import Run, alone, create_run, write_json, write_text

Told = Callable[[int, str, int, int], None]
"""Progress of one unit among many: (index, stage, done, total)."""


@dataclass(frozen=True)
class Conduct:
    """A run under way.

    Attributes:
        run: its folder.
        made: provenance as it was at the beginning.
        workers: processes of one thread; 1 = this process, with its own threads.
        began: of this sitting, in seconds of a clock.
        summarise: provenance -> summary of what is known.
        tabulate: summary -> Markdown.
    """

    run: Run
    made: dict[str, Any]
    workers: int
    began: float
    summarise: Callable[[dict[str, Any]], dict[str, Any]]
    tabulate: Callable[[dict[str, Any]], str]

    def write(self) -> None:
        """`summary.json` and `tables.md` of what is known by now.

        Raises:
            StoreError: the folder cannot be written.
        """
        spent = {"seconds": time.perf_counter() - self.began, "workers": self.workers}
        spent["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        summary = self.summarise({**self.made, **spent})
        write_json(self.run.path / "summary.json", summary)
        write_text(self.run.path / "tables.md", self.tabulate(summary))

    def results(
        self, work: Work, items: Sequence[Any], told: Told, *, most: int | None = None
    ) -> Generator[tuple[int, Any], None, None]:
        """Results as they are finished, from this process or several; to be closed, so that an interrupt ends them.

        Args:
            work: a function at the top level of a module.
            items: one a unit.
            told: of each unit's progress.
            most: processes at most.
        """
        workers = self.workers if most is None else min(self.workers, most)
        return run_here(work, items, told) if workers == 1 else run_in_processes(work, items, told, workers=workers)


@contextmanager
def conduct(
    out: str | Path,
    settings: dict[str, Any],
    *,
    command: str | None,
    workers: int,
    summarise: Callable[[dict[str, Any]], dict[str, Any]],
    tabulate: Callable[[dict[str, Any]], str],
    device: str | None = None,
) -> Iterator[Conduct]:
    """Opens a run folder of these settings, new or begun before, and keeps other processes off it while the block runs.

    Args:
        out: the folder.
        settings: plain values that define the results, the seed among them.
        command: what remakes the run.
        workers: processes.
        summarise: provenance -> summary of what is known.
        tabulate: summary -> Markdown.
        device: for the record; None = the CPU.

    Raises:
        StoreError: the folder cannot be used, holds a run of other settings, or another process works on it.
    """
    made = {**provenance(command, int(settings["seed"])), "device": device or "cpu"}
    with alone(out, settings):
        run = create_run(out, settings, provenance=made)
        yield Conduct(run, made, workers, time.perf_counter(), summarise, tabulate)


class Weighted:
    """Progress of many units as one count of thousandths, each by its weight; it never goes back.

    Args:
        progress: told of `stage`.
        stage: what the units are.
        weights: of the units, for instance their predicted seconds.
    """

    def __init__(self, progress: Progress, stage: str, weights: Sequence[float]) -> None:
        self._progress, self._stage, self._done = progress, stage, [0.0] * len(weights)
        self._shares = [1000 * w / (sum(weights) or 1.0) for w in weights]

    def __call__(self, index: int, stage: str, done: int, total: int) -> None:
        """One event of one unit."""
        self._done[index] = max(self._done[index], done / max(total, 1))
        reached = sum(s * d for s, d in zip(self._shares, self._done, strict=True))
        self._progress(self._stage, round(reached), 1000)
