"""`bitsandnats reproduce compressibility`."""

from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, experiment_tables, options

EXAMPLES = (
    "bitsandnats reproduce compressibility",
    "bitsandnats reproduce compressibility --small",
    "bitsandnats reproduce compressibility --suite runs/first --suite runs/second --workers 2",
)


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
