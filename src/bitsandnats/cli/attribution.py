"""`bitsandnats influence` and `bitsandnats kernel`: which data a network's losses move with."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import attribution_tables, console, options, parsing
from bitsandnats.cli.reading import Reading, TextItems
from bitsandnats.errors import InputError, message

INFLUENCE_EXAMPLES = (
    "bitsandnats influence runs/suite/step768 --items 512 --queries 16",
    "bitsandnats influence MODEL --text corpus.txt --query questions.txt --out runs/influence",
    "bitsandnats influence package.module:function --export influence.parquet",
)
KERNEL_EXAMPLES = (
    "bitsandnats kernel runs/suite/step768 --items 256",
    "bitsandnats kernel package.module:function --out runs/kernel",
)

Items = Annotated[int | None, typer.Option(min=2, metavar="N", help="Items followed, evenly spaced.")]
Looks = Annotated[int, typer.Option(min=2, metavar="N", help="Draws a chain at which losses are evaluated, at most.")]
Reliability = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="Draw until the matrix has this split-half reliability; 0.9 unless --draws is given."
    ),
]
Export = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the matrix as a table, .parquet.")]
Out = Annotated[Path | None, typer.Option(metavar="PATH", help="Run folder for the moments and a report.")]


def influence(
    model: options.Model,
    text: options.Text = None,
    field: options.Field = "text",
    text_items: TextItems = "contexts",
    query: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Text of the queries, repeatable; by default items of the data."),
    ] = None,
    context: options.Context = None,
    unit: options.Unit = None,
    items: Items = 256,
    queries: Annotated[int, typer.Option(min=1, metavar="N", help="Queries, evenly spaced.")] = 16,
    tokens: Annotated[
        str, typer.Option(metavar="SIDE", help="A row or column a token of train or query; none for neither.")
    ] = "none",
    looks: Looks = 256,
    sampler: options.Sampler = None,
    step_size: options.StepSize = None,
    gamma: options.Gamma = None,
    nbeta: options.Nbeta = None,
    batch_size: options.BatchSize = None,
    chains: options.Chains = None,
    draws: options.Draws = None,
    burn_in: options.BurnIn = None,
    reliability: Reliability = None,
    budget: options.Budget = None,
    seed: options.Seed = 0,
    fold: options.Fold = None,
    device: options.Device = None,
    out: Out = None,
    export: Export = None,
    json: options.Json = False,
) -> None:
    """Which items of the data help or harm which queries: Bayesian influence, with its reliability."""
    from bitsandnats.estimators.bif import bif
    from bitsandnats.observables.subsets import as_subset
    from bitsandnats.recipes.attribution import stored
    from bitsandnats.recipes.attribution.influence import TOKENS, per_of
    from bitsandnats.store import alone

    if tokens not in TOKENS:
        raise InputError(message(expected=f"--tokens {', '.join(TOKENS)}", got=repr(tokens), do="choose one"))
    given = given_settings(sampler, step_size, gamma, nbeta, batch_size, chains, draws, burn_in, seed)
    length = Length(looks, reliability, draws, budget)
    work = Work(model, Reading(text, field, text_items, context, fold, device, unit), out, export)
    with console.job({"model": 0.02, "sampling": 0.93, "report": 0.05}) as job, alone(out):
        task = work.load(job)
        train, asked = work.split(task, items, queries, query)
        sides = {
            "train": as_subset(task, train, per=per_of(tokens, "train")),
            "query": as_subset(task, asked, per=per_of(tokens, "query")),
        }
        tree = work.observe(job, task, sides, [("query", "train")], given, length)
        found = bif(tree)
        record = stored.influence_summary(task, found, label=work.label, command=work.command)
        page = work.finish(job, task, tree, record, "influence", lambda: stored.influence_table(found))
    if json:
        console.show_json(record)
        return
    attribution_tables.show_influence(found)
    console.show_page(page)


def kernel(
    model: options.Model,
    text: options.Text = None,
    field: options.Field = "text",
    text_items: TextItems = "contexts",
    context: options.Context = None,
    unit: options.Unit = None,
    items: Items = 256,
    looks: Looks = 256,
    sampler: options.Sampler = None,
    step_size: options.StepSize = None,
    gamma: options.Gamma = None,
    nbeta: options.Nbeta = None,
    batch_size: options.BatchSize = None,
    chains: options.Chains = None,
    draws: options.Draws = None,
    burn_in: options.BurnIn = None,
    reliability: Reliability = None,
    budget: options.Budget = None,
    seed: options.Seed = 0,
    fold: options.Fold = None,
    device: options.Device = None,
    out: Out = None,
    export: Export = None,
    json: options.Json = False,
) -> None:
    """Which items of the data the network treats alike: the covariance of their losses, with its reliability."""
    from bitsandnats.estimators.kernel_map import kernel_map
    from bitsandnats.estimators.loss_kernel import loss_kernel
    from bitsandnats.observables.subsets import as_subset
    from bitsandnats.recipes.attribution import stored
    from bitsandnats.recipes.attribution.describe import split_items
    from bitsandnats.recipes.attribution.maps import MATRIX
    from bitsandnats.store import alone

    if items is not None and items > MATRIX:
        options.check_alone(f"--items above {MATRIX:,}", {"--export": export, "--reliability": reliability})
    given = given_settings(sampler, step_size, gamma, nbeta, batch_size, chains, draws, burn_in, seed)
    length = Length(looks, reliability, draws, budget)
    work = Work(model, Reading(text, field, text_items, context, fold, device, unit), out, export)
    with console.job({"model": 0.02, "sampling": 0.93, "report": 0.05}) as job, alone(out):
        task = work.load(job)
        chosen = as_subset(task, split_items(len(task.data), 0, items)[0])
        many = len(chosen.data) > MATRIX
        pairs = [] if many else [("inputs", "inputs")]
        tree = work.observe(job, task, {"inputs": chosen}, pairs, given, length, traces=many)
        found = kernel_map(tree)
        record = stored.kernel_summary(task, found, tree, label=work.label, command=work.command)
        page = work.finish(job, task, tree, record, "kernel", lambda: stored.kernel_table(loss_kernel(tree)))
    if json:
        console.show_json(record)
        return
    attribution_tables.show_kernel(found)
    console.show_page(page)


def given_settings(*values: Any) -> dict[str, Any]:
    """The options of sampling by name, checked; in the order in which the verbs take them."""
    from bitsandnats.recipes.llc import check_given

    names = ("sampler", "step_size", "gamma", "nbeta", "batch_size", "chains", "draws", "burn_in", "seed")
    given: dict[str, Any] = dict(zip(names, values, strict=True))
    check_given(given)
    return given


class Length:
    """For how long the chains run, and how often they are looked at."""

    def __init__(self, looks: int, reliability: float | None, draws: int | None, budget: str | None) -> None:
        from bitsandnats.recipes.attribution.stopping import check_target, target_or_default

        self.looks, self.budget = looks, parsing.seconds(budget, "--budget")
        self.reliability = target_or_default(reliability, draws, None)
        check_target(self.reliability, draws, self.budget)


class Work:
    """What both verbs do with their options."""

    def __init__(self, model: str, data: Reading, out: Path | None, export: Path | None):
        self.model, self.data, self.out, self.export = model, data, out, export
        self.label, self.command = options.label(model), console.command_line()

    def load(self, job: console.Job) -> Any:
        """The task."""
        job.at("model", 0.0, "loading the model")
        return self.data.load(self.model)

    def split(self, task: Any, items: int | None, queries: int, query: list[Path] | None) -> tuple[Any, Any]:
        """Training items and queries: of the data, or of text of their own."""
        from bitsandnats.recipes.attribution.describe import split_items

        if query is None:
            return split_items(len(task.data), queries, items)
        options.check_no_function(self.model, "--query")
        other = self.data.load_other(self.model, query)
        train = split_items(len(task.data), 0, items)[0]
        asked = split_items(len(other.data), 0, queries)[0]
        from bitsandnats.observables.subsets import as_subset

        return train, as_subset(other, asked).data

    def observe(
        self,
        job: console.Job,
        task: Any,
        sides: dict[str, Any],
        pairs: Any,
        given: dict[str, Any],
        length: "Length",
        components: Any = (),
        traces: bool = False,
    ) -> Any:
        """The run, with labels and previews as far as the data have them."""
        from bitsandnats.recipes.attribution import observe
        from bitsandnats.recipes.attribution.describe import images_in, labels_in

        labels = {name: labels_in(side.data) for name, side in sides.items()}
        previews = {name: self._texts(side) or images_in(side.data) for name, side in sides.items()}
        return observe(
            task,
            sides,
            pairs=pairs,
            components=components,
            options=given,
            looks=length.looks,
            reliability=length.reliability,
            budget=length.budget,
            traces=traces,
            labels={name: own.tolist() for name, own in labels.items() if own is not None},
            previews={name: own for name, own in previews.items() if own is not None},
            progress=lambda stage, done, total: job.at("sampling", done / max(total, 1), console.words(stage)),
        )

    def finish(self, job: console.Job, task: Any, tree: Any, record: Any, kind: str, table: Any) -> Path | None:
        """Writes what was asked for; the report's path."""
        from bitsandnats.recipes.attribution import stored
        from bitsandnats.report import write_report

        if self.export is not None:
            stored.write_parquet(table(), self.export)
        if self.out is None:
            return None

        def progress(stage: str, done: int, total: int) -> None:
            job.at("report", 0.5 * done / max(total, 1), console.words(stage))

        run = stored.store_attribution(self.out, task, tree, record, label=self.label, kind=kind, progress=progress)
        job.at("report", 0.5, "writing the report")
        return write_report(run.path)

    def _texts(self, side: Any) -> list[Any] | None:
        """The text of each item; its tokens one by one where each has a loss of its own."""
        if options.is_function(self.model):
            return None
        import torch

        from bitsandnats import hf
        from bitsandnats.errors import ModelError

        try:
            tokenizer = hf.load_tokenizer(self.model)
        except ModelError:  # contexts of tokens need none
            return None
        contexts = side.data.batch(torch.arange(len(side.data))).cpu()
        return (hf.decoded_tokens if side.per == "token" else hf.decoded)(tokenizer, contexts)
