"""What `reproduce` prints of the studies of attribution."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from bitsandnats.cli import console

_VERDICTS = {"aims met": "green", "aims not met": "red", "not judged": "yellow"}


def show_retraining_plan(rows: Sequence[Any], workers: int) -> None:
    """What will be trained and sampled, and what it will cost."""
    head = ("images", "weights", "networks", "draws", "retraining", "chains at a setting", "in all")
    table = _table(("data",), head)
    for row in rows:
        sizes = (f"{row.items:,}", f"{row.weights:,}", f"{row.networks:,}", f"{row.draws:,}")
        table.add_row(row.set, *sizes, *map(_seconds, (row.retraining, row.chains, row.seconds)))
    _plan(table, sum(row.seconds for row in rows), workers)


def show_study(summary: dict[str, Any]) -> None:
    """The first sheet, the findings, and the verdict."""
    first = summary["sheets"][0]
    words = [i for i, name in enumerate(first["head"]) if name in ("data", "subsets of", "form", "network", "kind")]
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=first["title"], title_justify="left"
    )
    for i, name in enumerate(first["head"]):
        table.add_column(name, justify="left" if i in words else "right")
    for row in first["rows"]:
        table.add_row(*(Text(cell.partition(" (")[0]) for cell in row))
    out = console.output()
    out.print(table, highlight=False)
    for said in summary["findings"]:
        item = Table.grid(padding=(0, 1))
        item.add_row("•", Text(said))
        out.print(item, highlight=False)
    verdict = summary["verdict"]
    out.print(verdict["text"], style=_VERDICTS.get(verdict["status"], ""), markup=False, highlight=False)


def _plan(table: Table, seconds: float, workers: int) -> None:
    console.output().print(table, highlight=False)
    shared = f" by {workers} processes" if workers > 1 else ""
    console.say(
        f"predicted from a few steps of each: {_seconds(seconds / workers)} in all{shared}, within a factor of 2"
    )


def _table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
