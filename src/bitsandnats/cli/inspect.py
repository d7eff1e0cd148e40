"""`bitsandnats report` and `bitsandnats ls`."""

import importlib
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bitsandnats.cli import console
from bitsandnats.errors import InputError, message

_FAMILIES = ("samplers", "compressors", "observables")


def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Writes report.html and the figures of a run anew."""
    from bitsandnats.report import write_report

    console.show_page(write_report(folder))


def ls(family: Annotated[str, typer.Argument(help="samplers, compressors or observables.")]) -> None:
    """Lists the algorithms of one family with their options."""
    if family not in _FAMILIES:
        raise InputError(message(expected=", ".join(_FAMILIES), got=repr(family), do="name one of them"))
    registry = importlib.import_module(f"bitsandnats.{family}").registry
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("name", "what it is", "options"):
        table.add_column(column)
    for name, entry in registry.entries().items():
        table.add_row(name, entry.summary, registry.options(name) or "—")
    Console().print(table)
