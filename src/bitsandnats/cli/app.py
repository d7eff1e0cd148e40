"""The verbs, gathered."""

import typer

from bitsandnats._version import __version__
from bitsandnats.cli import demo, inspect, measure, study, train

app = typer.Typer(
    name="bitsandnats",
    help="How complex is a trained network? In nats (local learning coefficient) and in bits (critical compression).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"bitsandnats {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads for torch; by default all cores."),
) -> None:
    """Options of every verb."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


for verb in (demo.demo, study.study, measure.llc, measure.compress, train.train, inspect.report, inspect.ls):
    app.command()(verb)
