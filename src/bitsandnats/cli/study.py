"""`bitsandnats study` and `bitsandnats replay`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import console, options, tables
from bitsandnats.cli.reading import Center

EXAMPLES = (
    "bitsandnats study runs/suite --out runs/study",
    "bitsandnats study CHECKPOINTS --text corpus.txt --at-most 8 --out runs/study",
    "bitsandnats study EleutherAI/pythia-70m --revisions step2000..step90000:8 --text corpus.txt --out runs/pythia",
    "bitsandnats study runs/suite --recipe 2510.12077 --out runs/published",
    "bitsandnats study runs/suite --schemes quantize,factorize,noise-relative --out runs/schemes",
    "bitsandnats study runs/suite --shard 1/8 --out runs/study",
)
REPLAY_EXAMPLES = ("bitsandnats replay runs/study --out runs/again",)


def study(
    series: Annotated[
        str, typer.Argument(metavar="SERIES", help="Folder of Hugging Face checkpoints (step512 …), or org/name.")
    ],
    out: Annotated[Path, typer.Option(metavar="PATH", help="Run folder; the same command continues it.")],
    revisions: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help="Checkpoints: step1000..step90000, step*000, a,b; :8 after one leaves 8, log-spaced."
        ),
    ] = None,
    text: options.Text = None,
    field: options.Field = "text",
    items: options.Items = "contexts",
    context: options.Context = None,
    unit: options.Unit = None,
    schemes: Annotated[str, typer.Option(metavar="NAMES", help="Compressors, separated by commas.")] = "quantize",
    tolerances: Annotated[
        str, typer.Option(metavar="XS", help="Loss increases allowed, nats a unit.")
    ] = "0.1,0.3,0.5,1.0",
    at_most: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Checkpoints to measure, log-spaced; by default all.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="local (measured settings) or 2510.12077 (the published ones).")
    ] = "local",
    sampler: options.Sampler = None,
    step_size: options.StepSize = None,
    gamma: options.Gamma = None,
    nbeta: options.Nbeta = None,
    batch_size: options.BatchSize = None,
    chains: options.Chains = None,
    draws: options.Draws = None,
    burn_in: options.BurnIn = None,
    precision: options.Precision = None,
    micro_batch: options.MicroBatch = None,
    statistics: options.Statistics = None,
    center: Center = None,
    compile: options.Compile = False,
    variates: options.Variates = None,
    seed: options.Seed = 0,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes of one thread; by default one a core for small models."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only every N-th checkpoint, from the I-th on; all shards share --out."),
    ] = None,
    fold: options.Fold = None,
    device: options.Device = None,
    evict: Annotated[
        bool, typer.Option("--evict", help="Delete what was fetched for this run, once it is measured.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Over a series of checkpoints: the LLC, the critical quantization, and how the two relate."""
    from bitsandnats import hf
    from bitsandnats.recipes.series import checkpoint_series
    from bitsandnats.recipes.shards import shard_of
    from bitsandnats.recipes.study import check_plan
    from bitsandnats.recipes.study import study as run_study
    from bitsandnats.report import write_report

    given = {
        "sampler": sampler,
        "step_size": step_size,
        "gamma": gamma,
        "nbeta": nbeta,
        "batch_size": batch_size,
        "chains": chains,
        "draws": draws,
        "burn_in": burn_in,
        "precision": precision,
        "micro_batch": micro_batch,
        "statistics": statistics,
        "center": center,
        "compile": compile or None,
        "variates": variates,
    }
    plan = options.names(schemes), options.numbers(tolerances, "--tolerances")
    check_plan(*plan, given)
    if shard is not None:
        shard_of(shard)
    keep = None if at_most is None else lambda found: hf.choose(found, at_most)
    chosen: Any = {"device": options.checked_device(device), "unit": options.checked_unit(unit) or "token"}
    with console.job({"study": 0.95, "report": 0.05}) as job:
        job.at("study", 0.0, "reading text")
        chosen |= {"revisions": revisions, "out": out, "evict": evict, "text": options.texts(text, field, items)}
        source = checkpoint_series(series, context=context, fold=fold, keep=keep, **chosen)
        run = run_study(
            source,
            schemes=plan[0],
            tolerances=plan[1],
            settings=given,
            out=out,
            fold=fold,
            context=context,
            recipe=recipe,
            seed=seed,
            workers=workers,
            command=console.command_line(),
            shard=shard,
            progress=console.StudyProgress(job, "study"),
        )
        job.at("report", 0.5, "writing the report")
        page = None if tables.pending(run) else write_report(run.path)  # the last of several shards writes it
    tables.show_run(run, page, json)


def replay(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Run folder of a study of checkpoints.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="New run folder; the same command continues it.")],
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes of one thread; by default as many as then.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Makes a study again from its run.toml, and says whether every number is the same to the last bit."""
    import torch

    from bitsandnats.recipes.replay import replay as run_replay
    from bitsandnats.recipes.replay import stored_threads
    from bitsandnats.report import write_report

    threads = stored_threads(folder)
    if threads is not None:  # sums over threads are rounded in another order
        torch.set_num_threads(threads)
    with console.job({"study": 0.95, "report": 0.05}) as job:
        job.at("study", 0.0, "reading text")
        show = console.StudyProgress(job, "study")
        found = run_replay(folder, out, workers=workers, command=console.command_line(), progress=show)
        job.at("report", 0.5, "writing the report")
        page = write_report(found.run.path)
    if json:
        answer = {"identical": found.identical, "compared": found.compared, "differences": list(found.differences)}
        console.show_json(answer)
    else:
        tables.show_replay(found)
        console.show_page(page)
    if not found.identical:
        raise typer.Exit(1)
