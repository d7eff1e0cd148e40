"""`bitsandnats demo`: train a small language model, measure it, look at the page."""

from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, options, tables

EXAMPLES = ("bitsandnats demo", "bitsandnats demo --quick --out runs/quick")


def demo(
    out: Annotated[Path, typer.Option(metavar="PATH", help="Run folder; the same command continues it.")] = Path(
        "runs/demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A smaller model and a shorter study.")] = False,
    json: options.Json = False,
) -> None:
    """Trains a small language model on text that Python carries, measures it over training, writes report.html."""
    from bitsandnats.recipes.demo import demo as run_demo
    from bitsandnats.recipes.demo import demo_plan
    from bitsandnats.report import write_report

    with console.job({"text": 3, "training": 42, "study": 52, "report": 3}) as job:

        def training(stage: str, done: int, total: int) -> None:
            job.at("training" if stage == "train" else "text", done / max(total, 1), console.words(stage))

        run = run_demo(
            out,
            demo_plan(quick),
            command=console.command_line(),
            training=training,
            studying=console.StudyProgress(job, "study"),
        )
        job.at("report", 0.5, "writing the report")
        page = write_report(run.path)
    tables.show_run(run, page, json)
