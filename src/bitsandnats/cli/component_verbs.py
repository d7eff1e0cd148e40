"""`bitsandnats susceptibility`: which components respond to which data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli import attribution, attribution_tables, console, options, parsing, refined
from bitsandnats.cli.reading import Reading, TextItems
from bitsandnats.errors import InputError, message

EXAMPLES = (
    "bitsandnats susceptibility runs/suite/step768 --components 'layer.*.head.*' --probe code=src --probe prose=docs",
    "bitsandnats susceptibility MODEL --text corpus.txt --components layer.0,layer.1 --probe legal=legal.txt",
)


def susceptibility(
    model: options.Model,
    components: Annotated[
        str, typer.Option(metavar="NAMES", help="Components, separated by commas; patterns over their names too.")
    ],
    probe: Annotated[
        list[str], typer.Option(metavar="NAME=PATH", help="Text that the data are shifted to, repeatable.")
    ],
    text: options.Text = None,
    field: options.Field = "text",
    text_items: TextItems = "contexts",
    context: options.Context = None,
    unit: options.Unit = None,
    items: attribution.Items = 64,
    per: Annotated[str, typer.Option(metavar="WHAT", help="A response an item or a token.")] = "item",
    looks: attribution.Looks = 256,
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
    out: attribution.Out = None,
    export: attribution.Export = None,
    json: options.Json = False,
) -> None:
    """How each component's share of the loss responds to a shift of the data, with its reliability."""
    from bitsandnats.estimators.susceptibility import susceptibility as read
    from bitsandnats.observables.subsets import as_subset
    from bitsandnats.recipes.attribution import stored
    from bitsandnats.recipes.attribution.describe import split_items
    from bitsandnats.recipes.attribution.response import check_disjoint
    from bitsandnats.store import alone

    if per not in ("item", "token"):
        raise InputError(message(expected="--per item or token", got=repr(per), do="choose one"))
    probes = dict(_probe(given) for given in probe)
    given = attribution.given_settings(sampler, step_size, gamma, nbeta, batch_size, chains, draws, burn_in, seed)
    options.check_no_function(model, "--probe")
    length = attribution.Length(looks, None, draws or 0, None)
    work = attribution.Work(model, Reading(text, field, text_items, context, fold, device, unit), out, export)
    with console.job({"model": 0.02, "sampling": 0.93, "report": 0.05}) as job, alone(out):
        task = work.load(job)
        names = refined.names_of(task, parsing.names(components))
        check_disjoint(task, names)
        sides: dict[str, Any] = {"train": as_subset(task, split_items(len(task.data), 0, items)[0])}
        for name, path in probes.items():
            other = work.data.load_other(model, [path])
            chosen = as_subset(other, split_items(len(other.data), 0, items)[0])
            sides[name] = as_subset(task, chosen.data, per="token" if per == "token" else "item")
        tree = work.observe(job, task, sides, [], given, length, components=names)
        found = read(tree, list(probes))
        record = stored.susceptibility_summary(task, found, label=work.label, command=work.command)
        page = work.finish(job, task, tree, record, "susceptibility", lambda: stored.susceptibility_table(found))
    if json:
        console.show_json(record)
        return
    attribution_tables.show_susceptibility(found)
    console.show_page(page)


def _probe(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    expected = "--probe NAME=PATH with a name of letters and digits"
    if not separator or not name.isalnum() or not path:
        raise InputError(message(expected=expected, got=repr(text), do="give for instance code=src"))
    return name, Path(path)
