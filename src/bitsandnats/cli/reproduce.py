"""`bitsandnats reproduce`: the papers' studies, each a command."""

from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import (
    console,
    experiment_tables,
    options,
    reproduce_attribution,
    reproduce_grokking,
    reproduce_heads,
)
from bitsandnats.errors import InputError, message

DLN_EXAMPLES = (
    "bitsandnats reproduce dln-benchmark",
    "bitsandnats reproduce dln-benchmark --small",
    "bitsandnats reproduce dln-benchmark --classes 1M --nets 3 --plan",
)

COMPRESSIBILITY_EXAMPLES = (
    "bitsandnats reproduce compressibility",
    "bitsandnats reproduce compressibility --small",
    "bitsandnats reproduce compressibility --suite runs/first --suite runs/second --workers 2",
)

app = typer.Typer(
    help="Runs a published study again: see 'bitsandnats ls experiments'.",
    epilog="\n".join(("Examples:", DLN_EXAMPLES[0], COMPRESSIBILITY_EXAMPLES[0], reproduce_grokking.EXAMPLES[0])),
    no_args_is_help=True,
)
app.command("grokking", epilog="\n".join(("Examples:", *reproduce_grokking.EXAMPLES)))(reproduce_grokking.grokking)
app.command("influence-retraining", epilog="\n".join(("Examples:", *reproduce_attribution.RETRAINING_EXAMPLES)))(
    reproduce_attribution.influence_retraining
)
app.command("loss-kernel", epilog="\n".join(("Examples:", *reproduce_attribution.KERNEL_EXAMPLES)))(
    reproduce_attribution.loss_kernel
)
app.command("susceptibility", epilog="\n".join(("Examples:", *reproduce_heads.SUSCEPTIBILITY_EXAMPLES)))(
    reproduce_heads.susceptibility
)
app.command("refined-llc", epilog="\n".join(("Examples:", *reproduce_heads.REFINED_EXAMPLES)))(
    reproduce_heads.refined_llc
)


@app.command("dln-benchmark", epilog="\n".join(("Examples:", *DLN_EXAMPLES)))
def dln_benchmark(
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Size classes: 1k, 10k, 100k, 1M, 10M, 100M; by default the first three."),
    ] = None,
    nets: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Networks a class; by default 30, 30, 6, and 3 of larger.")
    ] = None,
    samplers: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Others to compare, on the smallest class, or none; by default all for 1k."),
    ] = None,
    samples: Annotated[
        str | None, typer.Option(metavar="NS", help="n; by default 20000, and 1000000 for 10 networks of 1k.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="Three networks of 1k and two other samplers.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print what it would measure and cost, and stop.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Run folder; the same command continues it. By default runs/dln-benchmark."),
    ] = None,
    seed: options.Seed = 0,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes of one thread that share the networks.")
    ] = 1,
    json: options.Json = False,
) -> None:
    """Samplers on random deep linear networks whose λ is known: error, order and time by size class (2507.21449)."""
    from bitsandnats.experiments.dln_benchmark import benchmark_plan, measured_plan
    from bitsandnats.experiments.dln_benchmark import dln_benchmark as run_benchmark
    from bitsandnats.report import write_report
    from bitsandnats.store import check_run

    asked = benchmark_plan(
        classes=None if classes is None else options.names(classes),
        nets=nets,
        samplers=None if samplers is None else [name for name in options.names(samplers) if name != "none"],
        samples=None if samples is None else _whole(samples, "--samples"),
        small=small,
        seed=seed,
    )
    folder = out or Path("runs/dln-benchmark-small" if small else "runs/dln-benchmark")
    if not plan:
        check_run(folder, asked.run_settings())
    costs = measured_plan(asked)
    if not json:
        experiment_tables.show_plan(costs, workers)
    if plan:
        if json:
            console.show_json([row.as_record() for row in costs])
        return
    with console.job({"networks": 0.98, "report": 0.02}) as job:

        def progress(stage: str, done: int, total: int) -> None:
            job.at("networks", done / total, "measuring networks")

        run = run_benchmark(
            folder, asked, costs=costs, workers=workers, command=console.command_line(), progress=progress
        )
        job.at("report", 0.5, "writing the report")
        page = write_report(run.path)
    if json:
        console.show_json(run.summary())
        return
    experiment_tables.show_benchmark(run.summary())
    console.say(f"tables: {run.path / 'tables.md'}")
    console.show_page(page)


@app.command("compressibility", epilog="\n".join(("Examples:", *COMPRESSIBILITY_EXAMPLES)))
def compressibility(
    suite: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="A suite of 'bitsandnats train', repeatable; by default three are trained."
        ),
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="Tiny models and short chains: about two minutes.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print what it would measure and cost, and stop.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Run folder; the same command continues it. By default runs/compressibility."
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes of one thread that share suites and checkpoints.")
    ] = 1,
    json: options.Json = False,
) -> None:
    """The LLC against every compression, over the training of language models of three sizes (2510.12077)."""
    from bitsandnats.experiments.compressibility import compressibility as run_study
    from bitsandnats.experiments.compressibility import compressibility_plan, measured_plan
    from bitsandnats.report import write_report
    from bitsandnats.store import check_run

    options.checked_device(device)
    asked = compressibility_plan(suites=suite, small=small, seed=seed)
    folder = out or Path("runs/compressibility-small" if small else "runs/compressibility")
    if not plan:
        check_run(folder, asked.run_settings())
    costs = measured_plan(asked, device)
    if not json:
        experiment_tables.show_compressibility_plan(costs, workers)
    if plan:
        if json:
            console.show_json([row.as_record() for row in costs])
        return
    with console.job({"parts": 0.97, "report": 0.03}) as job:
        run = run_study(
            folder,
            asked,
            costs=costs,
            workers=workers,
            device=device,
            command=console.command_line(),
            progress=lambda stage, done, total: job.at("parts", done / total, stage),
        )
        summary = run.summary()
        pages = [run.path / place for place in summary["studies"].values()]
        for at, place in enumerate([*pages, run.path]):
            job.at("report", at / (len(pages) + 1), "writing the reports")
            page = write_report(place, images=not small)
    if json:
        console.show_json(summary)
        return
    experiment_tables.show_compressibility(summary)
    console.say(f"tables: {run.path / 'tables.md'}")
    console.show_page(page)


def _whole(text: str, name: str) -> list[int]:
    """A comma-separated list of whole numbers.

    Raises:
        InputError: one is not.
    """
    values = options.numbers(text, name)
    if any(value != int(value) for value in values):
        raise InputError(message(expected=f"whole numbers for {name}", got=repr(text), do="give for instance 20000"))
    return [int(value) for value in values]
