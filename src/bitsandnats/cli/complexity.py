"""`bitsandnats complexity`, `decompress`, and what `compress --write` does: networks as files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import console, options, size_tables
from bitsandnats.errors import InputError, StoreError, message

EXAMPLES = (
    "bitsandnats complexity runs/suite/step768 --tolerance 0.1,0.5",
    "bitsandnats complexity MODEL --text corpus.txt --method published",
    "bitsandnats complexity package.module:function --refinements spacings,rounding --json",
)
DECOMPRESS_EXAMPLES = (
    "bitsandnats decompress model.bnz",
    "bitsandnats decompress model.bnz --like runs/suite/step768 --out decoded",
)


def complexity(
    model: options.Model,
    text: options.Text = None,
    field: options.Field = "text",
    items: options.Items = "contexts",
    context: options.Context = None,
    unit: options.Unit = None,
    test: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="PATH", help="Text on which the loss is also given, repeatable."),
    ] = None,
    tolerance: Annotated[
        str, typer.Option(metavar="XS", help="Loss differences allowed, nats a unit, separated by commas.")
    ] = "0.1",
    method: Annotated[
        str, typer.Option(metavar="NAME", help="searched, or published or quantization (arXiv 2412.09810).")
    ] = "searched",
    search: Annotated[
        str, typer.Option(metavar="NAME", help="Of searched: grid, model (needs Optuna), or auto.")
    ] = "auto",
    refinements: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Of searched: spacings, rounding, ranks, compensation (default: all), none."
        ),
    ] = None,
    seed: options.Seed = 0,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Threads that try networks at the same time.")] = 1,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """How few bytes describe a network whose loss is within a tolerance of this one's."""
    from bitsandnats.coarse_grain.tuned import REFINEMENTS
    from bitsandnats.recipes.complexity import check_options, complexities

    tolerances = options.numbers(tolerance, "--tolerance")
    tuned: Any = REFINEMENTS if refinements is None else [n for n in options.names(refinements) if n != "none"]
    check_options(tolerances, method, search, tuned)
    chosen: Any = {"method": method, "search": search}
    with console.job({"model": 0.1, "search": 0.9}) as job:
        job.at("model", 0.0, "loading the model")
        task = options.load_unfolded(model, options.texts(text, field, items), context, device, unit)
        held = None
        if test is not None:
            options.check_no_function(model, "--test")
            held = options.load_unfolded(model, options.texts(test, field, items), context, device, unit).data

        def progress(stage: str, done: int, total: int) -> None:
            job.at("search", done / max(total, 1), console.words(stage))

        found = complexities(
            task,
            tolerances=tolerances,
            **chosen,
            refinements=tuned,
            test=held,
            seed=seed,
            workers=workers,
            progress=progress,
        )
    label = options.label(model)
    if json:
        record = {"model": label, "command": console.command_line(), "complexity": [c.as_record() for c in found]}
        console.show_json(record)
        return
    size_tables.show_complexity(label, found)


def write(
    model: str, task_options: tuple[Any, ...], method: str | None, tolerances: list[float], seed: int, path: Path
) -> dict[str, Any]:
    """Searches for the smallest network, writes it, and reads it again; what was written, as plain values.

    Raises:
        InputError: more than one tolerance, or another method.
        StoreError: the file cannot be written, or does not decode to the same weights.
    """
    import torch

    from bitsandnats.compressors import coding
    from bitsandnats.hf.coded import check_config
    from bitsandnats.recipes.complexity import check_options
    from bitsandnats.recipes.complexity import complexity as search

    if len(tolerances) != 1:
        raise InputError(
            message(expected="one --tolerance beside --write", got=str(len(tolerances)), do="write a file for each")
        )
    chosen: Any = method or "searched"
    check_options(tolerances, chosen)
    coding_folder(path)
    with console.job({"model": 0.1, "search": 0.85, "write": 0.05}) as job:
        job.at("model", 0.0, "loading the model")
        task = options.load_unfolded(model, *task_options)

        def progress(stage: str, done: int, total: int) -> None:
            job.at("search", done / max(total, 1), console.words(stage))

        found = search(task, tolerance=tolerances[0], method=chosen, seed=seed, progress=progress)
        check_config(found.network.config)
        job.at("write", 0.0, "writing")
        length = found.save(path)
        decoded = coding.load(path).params()
        if not all(torch.equal(w, decoded[name]) for name, w in found.network.params().items()):
            raise StoreError(message(expected="the weights that were written", got="others", do="check the disk"))
    record = {"model": options.label(model), "file": str(path), "file_bytes": length, **found.as_record()}
    return record


def coding_folder(path: Path) -> None:
    """Refuses a file whose folder is missing, before anything is searched.

    Raises:
        StoreError: as said.
    """
    if not path.parent.is_dir() or path.is_dir():
        got = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise StoreError(message(expected=f"a file name in a folder for {path}", got=got, do="choose another"))


def decompress(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by compress --write or Complexity.save.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder of the model, or file of the weights; by default named as FILE is."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Refuse another architecture than this model's; take its tokenizer."),
    ] = None,
    json: options.Json = False,
) -> None:
    """The network in a file: a Hugging Face folder where it has a configuration, else its weights for torch.load."""
    from bitsandnats.compressors import coding
    from bitsandnats.hf import coded

    data = coding.read(file)
    network = coding.decode(data, str(file))
    if like is not None and coded.model_fingerprint(like) != data[8:16]:
        raise StoreError(
            message(expected=f"a network of the architecture of {like}", got=f"another in {file}", do="name its model")
        )
    target = out or file.with_suffix("" if network.config else ".pt")
    if network.config:
        coded.write_model(network, target, like)
    else:
        coding.save_weights(network, target)
    record = {"file": str(file), "out": str(target), "file_bytes": len(data), "tensors": len(network.pieces)}
    if json:
        console.show_json(record)
        return
    console.say(f"{file}: {len(data)} bytes, {len(network.pieces)} coarse tensors; written to {target}")
