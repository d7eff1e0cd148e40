"""The verbs, gathered."""

import typer

from bitsandnats._version import __version__
from bitsandnats.cli import (
    attribution,
    complexity,
    component_verbs,
    demo,
    doctor,
    inspect,
    measure,
    plan,
    reproduce,
    selftest,
    study,
    train,
)

_EXAMPLES = (
    "Examples:",
    "bitsandnats demo",
    "bitsandnats study CHECKPOINTS --text FILE --out DIR",
    "bitsandnats llc MODEL --text FILE",
    "bitsandnats compress MODEL --text FILE --tolerance 0.1,0.5",
    "bitsandnats complexity MODEL --text FILE --tolerance 0.1",
    "bitsandnats VERB --help",
)

app = typer.Typer(
    name="bitsandnats",
    help="How complex is a trained network? In nats (local learning coefficient) and in bits (critical compression).",
    epilog="\n".join(_EXAMPLES),
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> bool:
    if show:
        typer.echo(f"bitsandnats {__version__}")
        raise typer.Exit
    return show


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    threads: int | None = typer.Option(None, min=1, metavar="N", help="CPU threads for torch; by default all cores."),
) -> None:
    """Options of every verb."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


for verb, examples in (
    (demo.demo, demo.EXAMPLES),
    (train.train, train.EXAMPLES),
    (study.study, study.EXAMPLES),
    (study.replay, study.REPLAY_EXAMPLES),
    (measure.llc, measure.LLC_EXAMPLES),
    (measure.compress, measure.COMPRESS_EXAMPLES),
    (attribution.influence, attribution.INFLUENCE_EXAMPLES),
    (attribution.kernel, attribution.KERNEL_EXAMPLES),
    (component_verbs.susceptibility, component_verbs.EXAMPLES),
    (complexity.decompress, complexity.DECOMPRESS_EXAMPLES),
    (complexity.complexity, complexity.EXAMPLES),
    (selftest.selftest, selftest.EXAMPLES),
    (doctor.doctor, doctor.EXAMPLES),
    (inspect.report, inspect.REPORT_EXAMPLES),
    (inspect.ls, inspect.LS_EXAMPLES),
    (inspect.components, inspect.COMPONENTS_EXAMPLES),
):
    app.command(epilog="\n".join(("Examples:", *examples)))(verb)
app.command(epilog="\n".join(("Examples:", *plan.EXAMPLES)), context_settings=plan.SETTINGS)(plan.plan)
app.add_typer(reproduce.app, name="reproduce")
