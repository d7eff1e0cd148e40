"""`bitsandnats llc` with several components, other data or a series: refined λ̂."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import console, options, parsing
from bitsandnats.cli.reading import Reading
from bitsandnats.errors import InputError, message

_PANEL = "Model and data"

Component = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="The part that moves, see 'bitsandnats components'; several, one after another: repeated, or with commas.",
        rich_help_panel=_PANEL,
    ),
]
OtherData = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="NAME=PATH", help="Other text that λ̂ is taken on too, repeatable.", rich_help_panel=_PANEL
    ),
]
Revisions = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Checkpoints of MODEL, one after another: step1000..step90000:8, a,b.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class Asked:
    """What a refined λ̂ is asked of.

    Attributes:
        model: MODEL.
        reading: the task's own data, and how other data are read.
        components: names, and patterns over names, separated by commas.
        data: NAME=PATH of other data.
        revisions: which checkpoints of a series; None = MODEL is one.
    """

    model: str
    reading: Reading
    components: list[str]
    data: list[str]
    revisions: str | None


def is_refined(components: list[str] | None, data: list[str] | None, revisions: str | None) -> bool:
    """Whether more is asked than one λ̂ of at most one component."""
    return bool(data) or revisions is not None or len(_split(components or [])) > 1


def run(asked: Asked, given: dict[str, Any], seed: int, out: Path | None, export: Path | None) -> dict[str, Any]:
    """The estimates, stored where a folder was named, as a record; `page` is the report's path or None.

    Raises:
        InputError: an option is out of range, or a component does not exist.
        DataError: no such text or checkpoints.
    """
    from bitsandnats.recipes.attribution import refined_stored as stored
    from bitsandnats.recipes.attribution.refined import WHOLE, refined_llc
    from bitsandnats.recipes.attribution.stored import write_parquet
    from bitsandnats.report import write_report
    from bitsandnats.store import alone

    label, page = options.label(asked.model), None
    sources = dict(_named(text) for text in asked.data)
    with console.job({"model": 0.05, "settings": 0.25, "sampling": 0.65, "report": 0.05}) as job, alone(out):
        job.at("model", 0.0, "loading the model")
        series = _series(asked, label)
        task = next(iter(series.values()))
        data = {WHOLE: None, **{name: _other(asked, path) for name, path in sources.items()}}

        def progress(stage: str, done: int, total: int) -> None:
            job.at("sampling" if stage == "sampling" else "settings", done / max(total, 1), console.words(stage))

        found = refined_llc(
            series, names_of(task, _split(asked.components) or [WHOLE]), data, **given, seed=seed, progress=progress
        )
        record = stored.refined_summary(series, found, label=label, command=console.command_line())
        if export is not None:
            write_parquet(stored.refined_table(found), export)
        if out is not None:
            job.at("report", 0.5, "writing the report")
            page = write_report(stored.store_refined(out, series, found, record).path)
    return {"record": record, "page": page}


def names_of(task: Any, asked: list[str]) -> list[str]:
    """The components that are meant: patterns over their names stand for all that match."""
    from bitsandnats.component import sizes

    known = [name for name, _ in sizes(task)]
    found: list[str] = []
    for name in asked:
        found += [other for other in known if fnmatch.fnmatchcase(other, name)] or [name]
    return list(dict.fromkeys(found))


def _series(asked: Asked, label: str) -> dict[str, Any]:
    if asked.revisions is None:
        return {label: asked.reading.load(asked.model)}
    options.check_no_function(asked.model, "--revisions")
    from bitsandnats.recipes.series import checkpoint_series

    own = asked.reading
    chosen: Any = {"device": options.checked_device(own.device), "unit": options.checked_unit(own.unit) or "token"}
    series = checkpoint_series(
        asked.model, revisions=asked.revisions, text=own.texts, context=own.context, fold=own.fold, **chosen
    )
    return {name: load() for name, load in series.load.items()}


def _other(asked: Asked, path: str) -> Any:
    """Other text as data of the task's form, in contexts of the same length."""
    options.check_no_function(asked.model, "--data")
    model = asked.model
    if asked.revisions is not None:
        from bitsandnats import hf

        model = str(hf.find_series(asked.model, asked.revisions)[-1].reference)
    return asked.reading.load_other(model, [path]).data


def _split(components: list[str]) -> list[str]:
    return [name for text in components for name in parsing.names(text)]


def _named(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not separator or not name.isidentifier() or not path or name == "all":
        expected = "--data NAME=PATH with a name of letters and digits other than all"
        raise InputError(message(expected=expected, got=repr(text), do="give for instance code=src"))
    return name, path
