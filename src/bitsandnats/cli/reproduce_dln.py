"""`bitsandnats reproduce dln-benchmark`."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import console, experiment_tables, options, studies
from bitsandnats.errors import InputError, message

EXAMPLES = (
    "bitsandnats reproduce dln-benchmark",
    "bitsandnats reproduce dln-benchmark --small",
    "bitsandnats reproduce dln-benchmark --classes 1M --nets 3 --plan",
)


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
    study = functools.partial(run_benchmark, folder, asked, costs=costs, workers=workers)
    studies.conducted(study, {"networks": 0.98, "report": 0.02}, show=experiment_tables.show_benchmark, json=json)


def _whole(text: str, name: str) -> list[int]:
    """A comma-separated list of whole numbers.

    Raises:
        InputError: one is not.
    """
    values = options.numbers(text, name)
    if any(value != int(value) for value in values):
        raise InputError(message(expected=f"whole numbers for {name}", got=repr(text), do="give for instance 20000"))
    return [int(value) for value in values]
