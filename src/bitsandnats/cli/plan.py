"""`bitsandnats plan VERB ARGS…`: what a command will cost, before it runs."""

import json as json_room
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import console, options, plan_tables
from bitsandnats.errors import InputError, message

EXAMPLES = (
    "bitsandnats plan llc runs/suite/step768 --draws 200",
    "bitsandnats plan study runs/suite --out runs/study",
    "bitsandnats plan --gpu h200 --config config.json llc EleutherAI/pythia-6.9b --draws 100 --precision bfloat16",
)
SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}

_VERBS = ("llc", "study", "compress")
_SAMPLING = (
    "sampler",
    "step_size",
    "gamma",
    "nbeta",
    "batch_size",
    "chains",
    "draws",
    "burn_in",
    "precision",
    "micro_batch",
    "statistics",
    "center",
    "compile",
    "variates",
)
_CHOSEN = {"step_size": 1e-5, "gamma": 100.0, "nbeta": 100.0, "batch_size": 16, "draws": 1333, "burn_in": 667}
_ITEMS = 1000  # of data that are not looked at


def plan(
    verb: Annotated[str, typer.Argument(metavar="VERB", help="llc, study or compress.")],
    words: Annotated[list[str], typer.Argument(metavar="ARGS…", help="Its arguments, as it would be given them.")],
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="For a GPU that is not here: a100, h100, h200.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(metavar="X", help="Share of its published peak that products reach.")
    ] = 0.4,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="config.json of a model that is not here; needs --gpu.")
    ] = None,
    items: Annotated[int, typer.Option(min=1, metavar="N", help="Items of data, beside --config.")] = _ITEMS,
    json: options.Json = False,
) -> None:
    """What a command will cost: parameters, work, peak memory, time, disk. Its options go before VERB."""
    if verb not in _VERBS:
        raise InputError(message(expected=f"a verb among {', '.join(_VERBS)}", got=repr(verb), do="name one of them"))
    if config is not None and gpu is None:
        raise InputError(message(expected="--gpu beside --config", got="none", do="name a GPU, or a model to probe"))
    given = _parsed(verb, list(words))
    found = _planned(verb, given, gpu=gpu, utilisation=utilisation, config=config, items=items)
    actual = _actual(None if given.get("out") is None else Path(given["out"]))
    if json:
        console.show_json({"command": console.command_line(), "plan": found.as_record(), "achieved": actual})
        return
    plan_tables.show_plan(verb, found, actual)


def _parsed(verb: str, words: list[str]) -> dict[str, Any]:
    """The verb's own options, by its own parser."""
    from bitsandnats.cli.app import app

    command: Any = typer.main.get_command(app)
    return dict(command.commands[verb].make_context(f"bitsandnats {verb}", words).params)


def _planned(
    verb: str, given: dict[str, Any], *, gpu: str | None, utilisation: float, config: Path | None, items: int
) -> Any:
    """The plan of one verb."""
    from bitsandnats import plan as room
    from bitsandnats.plan.work import stored_bytes
    from bitsandnats.settings import settings_from

    fields = {name: given[name] for name in _SAMPLING if given.get(name) is not None}
    if given.get("recipe", "local") != "local":
        from bitsandnats.recipes.published import published_settings

        published = published_settings(given["recipe"], 0)
        assert published is not None
        settings = settings_from({**published.model_dump(), **fields})
    else:
        settings = settings_from({**_CHOSEN, **({"burn_in": 0} if "draws" in fields else {}), **fields})
    calibrated = given.get("recipe", "local") == "local" and not {"step_size", "gamma", "draws"} <= set(fields)
    model, times = _model(verb, given, config)
    if config is not None:
        shape, task = _config_shape(config, given, items), None
    else:
        task = options.load_task(
            model,
            options.texts(given.get("text") or None, given["field"], given["items"]),
            given.get("context"),
            given.get("fold"),
            None if gpu else given.get("device"),
            given.get("unit"),
            bool(given.get("checkpointing")),
        )
        shape = room.task_shape(task)
    tolerances = len(options.numbers(given.get("tolerances") or given.get("tolerance") or "0.5", "--tolerance"))
    held = shape.items if verb == "compress" else min(32, shape.items)
    stages: tuple[Any, ...] = ()
    if verb in ("llc", "study"):
        stages += room.llc_work(settings, shape, calibrated=calibrated)
    if verb in ("compress", "study"):
        schemes = options.names(given.get("schemes") or "quantize")
        stages += room.compress_work(shape, tolerances=tolerances, items=held) * len(schemes)
    disk = stored_bytes(settings) * times if given.get("out") is not None else 0.0
    if gpu is not None:
        kinds = {"utilisation": utilisation, "disk": disk, "times": times}
        return room.plan_on_gpu(gpu, shape, stages, settings, **kinds)
    assert task is not None
    from bitsandnats.paging import center_in

    task = center_in(task, settings.center)
    return room.plan_at_hand(task, stages, settings, disk=disk, times=times)


def _model(verb: str, given: dict[str, Any], config: Path | None) -> tuple[str, int]:
    """The model that is looked at, and how many checkpoints there are."""
    if verb != "study":
        return str(given["model"]), 1
    if config is not None:
        return str(config), int(given.get("at_most") or 1)
    from bitsandnats import hf

    series = hf.find_series(given["series"], given.get("revisions"))
    if given.get("at_most") is not None:
        series = hf.choose(series, given["at_most"])
    return str(series[-1].reference), len(series)


def _config_shape(config: Path, given: dict[str, Any], items: int) -> Any:
    from bitsandnats.hf.shape import config_sizes
    from bitsandnats.plan import Shape
    from bitsandnats.plan.work import counted_flops

    fields = json_room.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    context = int(given.get("context") or min(fields.get("max_position_embeddings", 2048), 2048))
    lowered = given.get("precision") == "bfloat16"
    sizes = config_sizes(config, context, bfloat16=lowered, checkpointing=bool(given.get("checkpointing")))
    passes = 4.0 if given.get("checkpointing") else 3.0
    one, two = sizes.kept(1), sizes.kept(2)
    flops = counted_flops(lambda: sizes.forward(1)) + sizes.head_flops
    return Shape(
        sizes.parameters, flops, two - one, max(2 * one - two, 0.0) + sizes.head_bytes, items, context, "token", passes
    )


def _actual(out: Path | None) -> dict[str, Any] | None:
    """What the finished run in a folder did cost, where it says."""
    summary = None if out is None else out / "summary.json"
    if summary is None or not summary.is_file():
        return None
    found: dict[str, Any] | None = json_room.loads(summary.read_text(encoding="utf-8")).get("achieved")
    return found
