"""`bitsandnats llc` and `bitsandnats compress`: one model, one number, its verdict."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bitsandnats.cli import console, options

Model = Annotated[str, typer.Argument(help="Hugging Face folder, or package.module:function that returns a Task.")]


def llc(
    model: Model,
    text: options.Text = None,
    context: options.Context = None,
    unit: options.Unit = None,
    sampler: options.Sampler = None,
    step_size: options.StepSize = None,
    gamma: options.Gamma = None,
    nbeta: options.Nbeta = None,
    batch_size: options.BatchSize = None,
    chains: options.Chains = None,
    draws: options.Draws = None,
    burn_in: options.BurnIn = None,
    seed: options.Seed = 0,
    fold: options.Fold = None,
    device: options.Device = None,
    out: Annotated[Path | None, typer.Option(help="Run folder for the draws and a report.")] = None,
    json: options.Json = False,
) -> None:
    """The local learning coefficient of one model, with its error bar and its verdict."""
    from bitsandnats.calibrate import calibrate
    from bitsandnats.recipes import single
    from bitsandnats.recipes.llc import estimate_llc
    from bitsandnats.report import write_report

    given: dict[str, Any] = {
        "sampler": sampler,
        "step_size": step_size,
        "gamma": gamma,
        "nbeta": nbeta,
        "batch_size": batch_size,
        "chains": chains,
        "draws": draws,
        "burn_in": burn_in,
    }
    task = options.load_task(model, text, context, fold, device, unit)
    with console.job({"llc": 1.0}) as job:

        def progress(stage: str, done: int, total: int) -> None:
            job.at("llc", done / max(total, 1) if stage == "sampling" else 0.0, stage)

        settings = calibrate(task, given={**given, "seed": seed}, progress=progress)
        estimate = estimate_llc(task, settings=settings, progress=progress)
    label, command = options.label(model), console.command_line()
    page = None
    if out is not None:
        page = write_report(single.store_llc(out, task, estimate, settings, label=label, command=command).path)
    if json:
        console.show_json(single.llc_summary(task, estimate, settings, label=label, command=command))
        return
    console.show_llc(estimate, settings, Console())
    console.show_page(page)


def compress(
    model: Model,
    text: options.Text = None,
    context: options.Context = None,
    unit: options.Unit = None,
    method: Annotated[str, typer.Option(help="Compressor, see 'bitsandnats ls compressors'.")] = "quantize",
    tolerance: Annotated[str, typer.Option(help="Loss increases allowed, nats a unit, separated by commas.")] = "0.5",
    seed: options.Seed = 0,
    fold: options.Fold = None,
    device: options.Device = None,
    out: Annotated[Path | None, typer.Option(help="Run folder for the curve and a report.")] = None,
    json: options.Json = False,
) -> None:
    """How far one model can be compressed before its loss has risen by a tolerance."""
    from bitsandnats import compressors
    from bitsandnats.critical import check_tolerances, critical_points
    from bitsandnats.recipes import single
    from bitsandnats.report import write_report

    tolerances = options.numbers(tolerance, "--tolerance")
    check_tolerances(tolerances)
    compressor = compressors.registry.build(method)()
    task = options.load_task(model, text, context, fold, device, unit)
    with console.job({"compress": 1.0}) as job:

        def progress(stage: str, done: int, total: int) -> None:
            job.at("compress", done / max(total, 1), stage)

        points = critical_points(compressor, task, tolerances, seed=seed, progress=progress)
    label, command = options.label(model), console.command_line()
    page = None
    if out is not None:
        run = single.store_compress(out, task, points, label=label, command=command, seed=seed)
        page = write_report(run.path)
    if json:
        console.show_json(single.compress_summary(task, points, label=label, command=command, seed=seed))
        return
    for point in points:
        console.say(f"tolerance {point.tolerance:g}: {point}")
    console.show_page(page)
