"""`bitsandnats report`, `bitsandnats ls` and `bitsandnats components`."""

from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, options, tables
from bitsandnats.errors import InputError, message

REPORT_EXAMPLES = ("bitsandnats report runs/demo",)
COMPONENTS_EXAMPLES = (
    "bitsandnats components runs/suite/step768",
    "bitsandnats components runs/suite/step768 layer.0.head.3",
    "bitsandnats components runs/suite/step768 'layer.*.mlp.*.bias'",
)
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


def components(
    model: options.Model,
    component: Annotated[
        str | None,
        typer.Argument(
            metavar="COMPONENT", help="Name, or pattern over parameters, joined by +; by default the names there are."
        ),
    ] = None,
    text: options.Text = None,
    field: options.Field = "text",
    items: options.Items = "contexts",
    context: options.Context = None,
    fold: options.Fold = None,
) -> None:
    """Which parts of a model have names, or what one of them selects."""
    from bitsandnats.component import preview, sizes

    task = options.load_task(model, options.texts(text, field, items), context, fold, None, None)
    if component is None:
        tables.show_parts("component", sizes(task), task.dimension)
    else:
        tables.show_parts("parameter", preview(task, component), task.dimension)
