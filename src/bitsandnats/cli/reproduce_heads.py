"""`bitsandnats reproduce susceptibility` and `refined-llc`."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from bitsandnats.cli import attribution_study_tables, options, studies

SUSCEPTIBILITY_EXAMPLES = (
    "bitsandnats reproduce susceptibility --small",
    "bitsandnats reproduce susceptibility --workers 2",
    "bitsandnats reproduce susceptibility --device cuda --seeds 3",
)

REFINED_EXAMPLES = (
    "bitsandnats reproduce refined-llc --small",
    "bitsandnats reproduce refined-llc --workers 2 --refine induction",
    "bitsandnats reproduce refined-llc --device cuda --seeds 3",
)

_Seeds = Annotated[int | None, typer.Option(min=1, metavar="N", help="Networks, each from its own seed.")]
_Workers = Annotated[int, typer.Option(min=1, metavar="N", help="Processes of one thread that share the work.")]


def susceptibility(
    seeds: _Seeds = None,
    small: Annotated[bool, typer.Option("--small", help="One network, few texts and short chains.")] = False,
    device: options.Device = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Run folder; the same command continues it. By default runs/susceptibility."),
    ] = None,
    seed: options.Seed = 0,
    workers: _Workers = 1,
    json: options.Json = False,
) -> None:
    """Attention heads told apart by how they respond to shifts of the data, against ablation (2504.18274)."""
    from bitsandnats.experiments.susceptibility import susceptibility as run_study
    from bitsandnats.experiments.susceptibility import susceptibility_plan
    from bitsandnats.store import check_run

    options.checked_device(device)
    asked = susceptibility_plan(seeds=seeds, small=small, device=device or "cpu", seed=seed)
    folder = out or Path("runs/susceptibility-small" if small else "runs/susceptibility")
    check_run(folder, asked.run_settings())
    study = functools.partial(run_study, folder, asked, workers=workers)
    studies.conducted(
        study, {"training": 0.2, "sampling": 0.77, "report": 0.03}, show=attribution_study_tables.show_study, json=json
    )


def refined_llc(
    seeds: _Seeds = None,
    refine: Annotated[
        list[str] | None,
        typer.Option(metavar="STRUCTURE", help="λ̂ on texts with much of it too: bigram, skip, induction, bracket."),
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="One small network, few checkpoints, short chains.")] = False,
    device: options.Device = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Run folder; the same command continues it. By default runs/refined-llc."),
    ] = None,
    seed: options.Seed = 0,
    workers: _Workers = 1,
    json: options.Json = False,
) -> None:
    """Refined LLCs of attention heads over training, their curves grouped, against ablation (2410.02984)."""
    from bitsandnats.experiments.refined_llc import refined_llc as run_study
    from bitsandnats.experiments.refined_llc import refined_llc_plan
    from bitsandnats.store import check_run

    options.checked_device(device)
    asked = refined_llc_plan(seeds=seeds, refinements=refine or (), small=small, device=device or "cpu", seed=seed)
    folder = out or Path("runs/refined-llc-small" if small else "runs/refined-llc")
    check_run(folder, asked.run_settings())
    study = functools.partial(run_study, folder, asked, workers=workers)
    studies.conducted(
        study, {"training": 0.1, "sampling": 0.87, "report": 0.03}, show=attribution_study_tables.show_study, json=json
    )
