"""`bitsandnats llc` and `bitsandnats compress`: one model, one number, its verdict."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import attribution_tables, complexity, console, options, refined, size_tables, tables
from bitsandnats.cli.reading import Center, Reading

LLC_EXAMPLES = (
    "bitsandnats llc runs/suite/step768",
    "bitsandnats llc MODEL --text corpus.txt --draws 1000 --out runs/llc",
    "bitsandnats llc MODEL --text corpus.txt --target-se 5% --budget 10m",
    "bitsandnats llc MODEL --text corpus.txt --component layer.0.head.3",
    "bitsandnats llc MODEL --text corpus.txt --component 'layer.*.head.*,all' --data code=src --out runs/heads",
    "bitsandnats llc package.module:function --controls resolution --json",
)
COMPRESS_EXAMPLES = (
    "bitsandnats compress runs/suite/step768 --tolerance 0.1,0.5",
    "bitsandnats compress MODEL --text corpus.txt --method \"quantize(max_abs='largest')\"",
    "bitsandnats compress MODEL --text corpus.txt --tolerance 0.1 --write model.bnz",
)


def llc(
    model: options.Model,
    text: options.Text = None,
    field: options.Field = "text",
    items: options.Items = "contexts",
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
    precision: options.Precision = None,
    micro_batch: options.MicroBatch = None,
    statistics: options.Statistics = None,
    variates: options.Variates = None,
    metric: options.Metric = None,
    center: Center = None,
    compile: options.Compile = False,
    target_se: options.TargetSe = None,
    budget: options.Budget = None,
    controls: options.Controls = None,
    seed: options.Seed = 0,
    fold: options.Fold = None,
    device: options.Device = None,
    checkpointing: options.Checkpointing = False,
    component: refined.Component = None,
    data: refined.OtherData = None,
    revisions: refined.Revisions = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="Run folder for the draws and a report.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of several: write them as a table, .parquet.")
    ] = None,
    json: options.Json = False,
) -> None:
    """The local learning coefficient of one model, with its error bar and its verdict."""
    from bitsandnats.calibration import calibrate, check_stopping
    from bitsandnats.component import on_component
    from bitsandnats.paging import center_in
    from bitsandnats.recipes import single
    from bitsandnats.recipes.controls import check_controls
    from bitsandnats.recipes.llc import check_given, drawn, estimate_llc
    from bitsandnats.recipes.subsets import subset_losses
    from bitsandnats.report import write_report
    from bitsandnats.store import alone, check_run

    given: dict[str, Any] = {
        "sampler": sampler,
        "step_size": step_size,
        "gamma": gamma,
        "nbeta": nbeta,
        "batch_size": batch_size,
        "chains": chains,
        "draws": draws,
        "burn_in": burn_in,
        "precision": precision,
        "micro_batch": micro_batch,
        "statistics": statistics,
        "variates": variates,
        "metric": metric,
        "center": center,
        "compile": compile or None,
    }
    stop: dict[str, Any] = {
        "target_se": options.share(target_se, "--target-se"),
        "budget": options.seconds(budget, "--budget"),
    }
    further = options.names(controls or "")
    check_given(given)
    if refined.is_refined(component, data, revisions):
        plain = {"precision", "micro_batch", "statistics", "variates", "metric", "center", "compile"}
        only = {f"--{name.replace('_', '-')}": given.pop(name) for name in sorted(plain)}
        only |= {"--target-se": target_se, "--budget": budget, "--controls": controls}
        options.check_alone("several components, data or checkpoints", only)
        reading = Reading(text, field, items, context, fold, device, unit)
        asked = refined.Asked(model, reading, component or [], data or [], revisions)
        found = refined.run(asked, given, seed, out, export)
        attribution_tables.show_refined(found["record"], found["page"], json)
        return
    options.check_alone("one λ̂", {"--export": export})
    check_stopping(given, **stop)
    check_controls(further)
    label, command = options.label(model), console.command_line()
    page = None
    with console.job({"model": 0.02, "settings": 0.28, "sampling": 0.65, "report": 0.05}) as job, ExitStack() as held:
        job.at("model", 0.0, "loading the model")
        task = options.load_task(model, options.texts(text, field, items), context, fold, device, unit, checkpointing)
        if component:
            task = on_component(task, component[0])
        task = center_in(task, "cpu" if center == "cpu" else "device")
        held.enter_context(alone(out))

        def progress(stage: str, done: int, total: int) -> None:
            job.at("sampling" if stage == "sampling" else "settings", done / max(total, 1), console.words(stage))

        began = time.perf_counter()
        settings = calibrate(task, given={**given, "seed": seed}, **stop, progress=progress)
        if out is not None:
            check_run(out, single.llc_options(settings, label))
        if "draws" in settings.reasons:
            job.note(f"{settings.sampler}: {settings.reasons['draws']}")
        if stop["budget"] is not None:
            stop["budget"] = max(stop["budget"] - (time.perf_counter() - began), 0.1)
        estimate = estimate_llc(task, settings=settings, **stop, controls=further, progress=progress)
        settings = drawn(settings, estimate)
        if out is not None:
            job.at("report", 0.5, "writing the report")
            page = write_report(single.store_llc(out, task, estimate, settings, label=label, command=command).path)
    if json:
        console.show_json(single.llc_summary(task, estimate, settings, label=label, command=command))
        return
    tables.show_llc(estimate, settings)
    tables.show_subsets(subset_losses(task))
    console.show_page(page)


def compress(
    model: options.Model,
    text: options.Text = None,
    field: options.Field = "text",
    items: options.Items = "contexts",
    context: options.Context = None,
    unit: options.Unit = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compressor, see 'bitsandnats ls compressors'; with --write as in 'bitsandnats complexity'.",
        ),
    ] = None,
    tolerance: Annotated[
        str, typer.Option(metavar="XS", help="Loss increases allowed, nats a unit, separated by commas.")
    ] = "0.5",
    seed: options.Seed = 0,
    fold: options.Fold = None,
    device: options.Device = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="Run folder for the curve and a report.")] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the smallest network found as a file that decodes.")
    ] = None,
    json: options.Json = False,
) -> None:
    """How far one model can be compressed before its loss has risen by a tolerance."""
    if write is not None:
        options.check_alone("--write", {"--out": out, "--fold": fold})
        tolerances = options.numbers(tolerance, "--tolerance")
        record = complexity.write(
            model, (options.texts(text, field, items), context, device, unit), method, tolerances, seed, write
        )
        show: Any = console.show_json if json else size_tables.show_written
        show(record)
        return
    from bitsandnats import compressors
    from bitsandnats.critical import check_tolerances, critical_points
    from bitsandnats.recipes import single
    from bitsandnats.report import write_report
    from bitsandnats.store import alone

    tolerances = options.numbers(tolerance, "--tolerance")
    check_tolerances(tolerances)
    compressor = compressors.registry.build(method or "quantize")()
    label, command = options.label(model), console.command_line()
    page = None
    with console.job({"model": 0.1, "compress": 0.8, "report": 0.1}) as job, ExitStack() as held:
        job.at("model", 0.0, "loading the model")
        task = options.load_task(model, options.texts(text, field, items), context, fold, device, unit)
        held.enter_context(alone(out, single.compress_options(compressor.scheme, tolerances, seed, label)))

        def progress(stage: str, done: int, total: int) -> None:
            job.at("compress", done / max(total, 1), console.words(stage))

        points = critical_points(compressor, task, tolerances, seed=seed, progress=progress)
        if out is not None:
            job.at("report", 0.5, "writing the report")
            run = single.store_compress(out, task, points, label=label, command=command, seed=seed)
            page = write_report(run.path)
    if json:
        console.show_json(single.compress_summary(task, points, label=label, command=command, seed=seed))
        return
    tables.show_critical(label, points)
    console.show_page(page)
