"""What a person sees in the terminal: one progress bar for the whole job, tables, and results as JSON."""

import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

_STYLES = {"usable": "green", "usable with caution": "yellow", "not usable": "red"}
_LONGEST_ESTIMATE = 1800.0


def command_line() -> str:
    """The command that was typed, to be typed again."""
    return "bitsandnats " + shlex.join(sys.argv[1:])


class Job:
    """A whole job as one bar: each stage has a share of it, and the time left is estimated over all."""

    def __init__(self, bar: Progress, task: TaskID, shares: Mapping[str, float]) -> None:
        self._bar, self._task = bar, task
        total = sum(shares.values())
        self._spans: dict[str, tuple[float, float]] = {}
        before = 0.0
        for name, share in shares.items():
            self._spans[name] = (before / total, share / total)
            before += share

    def at(self, stage: str, fraction: float, words: str) -> None:
        """`fraction` of `stage` is done; `words` say what is going on."""
        start, length = self._spans[stage]
        self._bar.update(self._task, completed=start + length * min(max(fraction, 0.0), 1.0), description=words)


@contextmanager
def job(shares: Mapping[str, float]) -> Iterator[Job]:
    """Shows the bar while the job runs; nothing where the output is no terminal."""
    columns = (
        TextColumn("{task.description}", table_column=None),
        BarColumn(bar_width=32),
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

    _WITHIN = {"sampling": (0.0, 0.75), "compressing": (0.75, 0.25)}

    def __init__(self, whole: Job, stage: str) -> None:
        self._job, self._stage = whole, stage
        self._index, self._count = 0, 1

    def __call__(self, stage: str, done: int, total: int) -> None:
        """One event."""
        if stage == "checkpoints":
            self._index, self._count = done, max(total, 1)
            within, words = 0.0, f"checkpoint {min(done + 1, total)} of {total}"
        elif stage in self._WITHIN:
            start, length = self._WITHIN[stage]
            within = start + length * done / max(total, 1)
            words = f"checkpoint {self._index + 1} of {self._count}: {stage}"
        else:
            within, words = 0.0, stage
        self._job.at(self._stage, (self._index + within) / self._count, words)


def show_study(summary: dict[str, Any], console: Console) -> None:
    """The table of a study, its findings and its verdict."""
    main = summary["main_tolerance"]
    schemes = summary["schemes"]
    table = Table(box=box.SIMPLE_HEAD, title=f"{summary['title']}  (n_q* at ΔL = {main:g})", title_justify="left")
    table.add_column("checkpoint", no_wrap=True)
    for name in ("loss", "λ̂ ± se", "noise only", "R̂", "ESS"):
        table.add_column(name, justify="right", no_wrap=True)
    for scheme in schemes:
        table.add_column("n_q*" if len(schemes) == 1 else scheme, justify="right")
    table.add_column("verdict", no_wrap=True)
    for row in summary["checkpoints"]:
        llc = row["llc"] or {}
        status = (llc.get("verdict") or {}).get("status", "failed" if row["failed"] else "")
        cells = [
            row["label"],
            number(row["loss"], 3),
            f"{number(llc.get('llc'), 1)} ± {number(llc.get('se'), 1)}",
            number(llc.get("noise_only"), 1),
            number(llc.get("rhat"), 2),
            number(llc.get("ess"), 0),
            *(_critical(row["critical"].get(scheme, []), main) for scheme in schemes),
            f"[{_STYLES.get(status, 'red')}]{status}[/]",
        ]
        table.add_row(*cells)
    console.print(table)
    for row in summary["checkpoints"]:
        if row["failed"]:
            console.print(f"{row['label']}: {row['failed']}", style="red", markup=False)
    for finding in summary["findings"]:
        console.print(f"• {finding}", markup=False, highlight=False)
    verdict = summary["verdict"]
    console.print(verdict["text"], style=_STYLES[verdict["status"]], markup=False, highlight=False)


def show_llc(estimate: Any, settings: Any, console: Console) -> None:
    """One estimate, the settings behind it, and why they were chosen."""
    console.print(str(estimate), markup=False, highlight=False, style=_STYLES[estimate.verdict.status])
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("setting", "value", "why"):
        table.add_column(column)
    for name, value in settings.values().items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(name, shown, settings.reasons.get(name, ""))
    console.print(table)


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


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals, or a dash."""
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _critical(points: list[dict[str, Any]], tolerance: float) -> str:
    point = next((p for p in points if p["tolerance"] == tolerance), None)
    if point is None or point["level"] is None:
        return "—"
    return f"≤ {point['level']}" if point["censored"] else f"{point['level']}  ({point['crossing']:.1f})"
