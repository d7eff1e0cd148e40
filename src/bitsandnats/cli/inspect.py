"""`bitsandnats report` and `bitsandnats ls`."""

from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, tables
from bitsandnats.errors import InputError, message

REPORT_EXAMPLES = ("bitsandnats report runs/demo",)
LS_EXAMPLES = ("bitsandnats ls", "bitsandnats ls compressors")

_FAMILIES = ("samplers", "compressors", "observables", "experiments")


def report(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")]) -> None:
    """Writes report.html and the figures of a run anew."""
    from bitsandnats.report import write_report

    console.show_page(write_report(folder))


def ls(
    family: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY", help="samplers, compressors, observables or experiments; by default all."),
    ] = None,
) -> None:
    """Lists the algorithms of a family with their options and defaults."""
    if family is not None and family not in _FAMILIES:
        raise InputError(message(expected=", ".join(_FAMILIES), got=repr(family), do="name one of them"))
    tables.show_families(_FAMILIES if family is None else (family,))
