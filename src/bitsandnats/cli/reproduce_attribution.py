"""`bitsandnats reproduce` of the studies of attribution."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import attribution_study_tables, console, options, studies

RETRAINING_EXAMPLES = (
    "bitsandnats reproduce influence-retraining --small",
    "bitsandnats reproduce influence-retraining --data digits --workers 2",
    "bitsandnats reproduce influence-retraining --device cuda --chains 64 --draws 300 --workers 16",
    "bitsandnats reproduce influence-retraining --plan",
)

KERNEL_EXAMPLES = (
    "bitsandnats reproduce loss-kernel --small",
    "bitsandnats reproduce loss-kernel --workers 2",
    "bitsandnats reproduce loss-kernel --device cuda --workers 6",
)

Models = Annotated[int | None, typer.Option(min=1, metavar="N", help="Networks, of different first weights.")]
Draws = Annotated[int | None, typer.Option(min=10, metavar="N", help="Of each chain.")]
PlanOnly = Annotated[bool, typer.Option("--plan", help="Print what it would measure and cost, and stop.")]
Out = Annotated[Path | None, typer.Option(metavar="PATH", help="Run folder; the same command continues it.")]
Workers = Annotated[int, typer.Option(min=1, metavar="N", help="Processes of one thread that share the units.")]


def influence_retraining(
    data: Annotated[
        str | None, typer.Option(metavar="NAMES", help="digits, fashion; by default those that are installed.")
    ] = None,
    models: Models = None,
    chains: Annotated[int | None, typer.Option(min=2, metavar="N", help="At each setting.")] = None,
    draws: Draws = None,
    small: Annotated[
        bool, typer.Option("--small", help="400 digits, fewer subsets and networks: about two minutes.")
    ] = False,
    plan: PlanOnly = False,
    device: options.Device = None,
    out: Out = None,
    seed: options.Seed = 0,
    workers: Workers = 1,
    json: options.Json = False,
) -> None:
    """Attributions of every method against retraining on subsets and without single images (2509.26544)."""
    from bitsandnats.experiments.influence_retraining import influence_plan, measured_plan
    from bitsandnats.experiments.influence_retraining import influence_retraining as run_study
    from bitsandnats.store import check_run

    options.checked_device(device)
    asked = influence_plan(
        data=None if data is None else options.names(data),
        models=models,
        chains=chains,
        draws=draws,
        small=small,
        device=device or "cpu",
        seed=seed,
    )
    folder = out or Path("runs/influence-retraining-small" if small else "runs/influence-retraining")
    if not plan:
        check_run(folder, asked.run_settings())
    costs = measured_plan(asked)
    if not json:
        attribution_study_tables.show_retraining_plan(costs, workers)
    if plan:
        if json:
            console.show_json([row.as_record() for row in costs])
        return
    study = functools.partial(run_study, folder, asked, costs=costs, workers=workers)
    studies.conducted(
        study,
        {"first": 0.65, "further networks": 0.33, "report": 0.02},
        show=attribution_study_tables.show_study,
        json=json,
    )


def loss_kernel(
    models: Models = None,
    draws: Draws = None,
    small: Annotated[
        bool, typer.Option("--small", help="A smaller modulus, fewer images and networks: about a minute.")
    ] = False,
    device: options.Device = None,
    out: Out = None,
    seed: options.Seed = 0,
    workers: Workers = 1,
    json: options.Json = False,
) -> None:
    """Kernels of two tasks in one network and in two halves, and of images against WordNet's tree (2509.26537)."""
    from bitsandnats.experiments.loss_kernel import loss_kernel_plan, loss_kernel_study
    from bitsandnats.store import check_run

    options.checked_device(device)
    asked = loss_kernel_plan(models=models, draws=draws, small=small, device=device or "cpu", seed=seed)
    folder = out or Path("runs/loss-kernel-small" if small else "runs/loss-kernel")
    check_run(folder, asked.run_settings())
    if asked.classes is None and not json:
        console.say("Fashion-MNIST is not installed (Debian's dataset-fashion-mnist): arithmetic alone")
    study = functools.partial(loss_kernel_study, folder, asked, workers=workers)
    studies.conducted(study, {"kernels": 0.97, "report": 0.03}, show=attribution_study_tables.show_study, json=json)
