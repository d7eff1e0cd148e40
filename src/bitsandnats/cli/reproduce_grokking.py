"""`bitsandnats reproduce grokking`."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, experiment_tables, options, studies

EXAMPLES = (
    "bitsandnats reproduce grokking --small --workers 2",
    "bitsandnats reproduce grokking --operations addition --networks transformer --device cuda",
    "bitsandnats reproduce grokking --plan",
)


def grokking(
    operations: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="addition, subtraction, multiplication, division; by default all."),
    ] = None,
    networks: Annotated[str | None, typer.Option(metavar="NAMES", help="transformer, mlp; by default both.")] = None,
    regimes: Annotated[
        str | None, typer.Option(metavar="NAMES", help="none, decay, noise, entropy; by default all.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, metavar="N", help="Seeds of each; by default 3.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of training.")] = None,
    checkpoints: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Measured of a run, at most; by default all at ⌊1.3^k⌋.")
    ] = None,
    grade: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How networks are coarse-grained: tuned, ranks, global, published."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="A small modulus, small networks, two regimes, 12 checkpoints.")
    ] = False,
    device: options.Device = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what it would measure and cost, and stop.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Run folder; the same command continues it. By default runs/grokking."),
    ] = None,
    seed: options.Seed = 0,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes of one thread that share runs and checkpoints.")
    ] = 1,
    json: options.Json = False,
) -> None:
    """Bytes and the LLC while networks memorise, then grok modular arithmetic (2412.09810)."""
    from bitsandnats.experiments.grokking import grokking as run_study
    from bitsandnats.experiments.grokking import grokking_plan, measured_plan
    from bitsandnats.store import check_run

    options.checked_device(device)
    asked = grokking_plan(
        operations=None if operations is None else options.names(operations),
        networks=None if networks is None else options.names(networks),
        regimes=None if regimes is None else options.names(regimes),
        seeds=seeds,
        epochs=epochs,
        checkpoints=checkpoints,
        grade=grade,
        small=small,
        device=device or "cpu",
        seed=seed,
    )
    folder = out or Path("runs/grokking-small" if small else "runs/grokking")
    if not plan:
        check_run(folder, asked.run_settings())
    costs = measured_plan(asked)
    if not json:
        experiment_tables.show_grokking_plan(costs, workers)
    if plan:
        if json:
            console.show_json([row.as_record() for row in costs])
        return
    training = sum(row.training for row in costs)
    rest = sum(row.seconds for row in costs) - training
    study = functools.partial(run_study, folder, asked, costs=costs, workers=workers)
    studies.conducted(
        study,
        {"training": training, "checkpoints": rest, "report": 0.02 * (training + rest)},
        show=experiment_tables.show_grokking,
        json=json,
    )
