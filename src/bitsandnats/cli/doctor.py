"""`bitsandnats doctor MODEL`: what is wrong before anything is measured."""

from typing import Any

import typer

from bitsandnats.cli import console, options
from bitsandnats.errors import BitsAndNatsError

EXAMPLES = (
    "bitsandnats doctor runs/suite/step768",
    "bitsandnats doctor MODEL --text corpus.txt --device cuda",
)

_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


def doctor(
    model: options.Model,
    text: options.Text = None,
    field: options.Field = "text",
    items: options.Items = "contexts",
    context: options.Context = None,
    unit: options.Unit = None,
    batch_size: options.BatchSize = None,
    fold: options.Fold = None,
    device: options.Device = None,
    checkpointing: options.Checkpointing = False,
    json: options.Json = False,
) -> None:
    """Whether a model can be measured here, and how: exit code 1 where something is wrong."""
    from bitsandnats.recipes.doctor import Examination, examine, refused

    try:
        texts = options.texts(text, field, items)
        task = options.load_task(model, texts, context, fold, device, unit, checkpointing)
        found = examine(task, batch_size=batch_size or 16, tokens=_tokens(task))
    except BitsAndNatsError as error:
        found = Examination((refused(error),), "float32", 0, 0)
    if json:
        console.show_json({"model": options.label(model), **found.as_record()})
    else:
        for finding in found.findings:
            console.say(f"{_MARKS[finding.status]} {finding.check}: {finding.said}")
        if found.healthy:
            size = f"--batch-size {found.batch_size} --micro-batch {found.micro_batch}"
            console.say(f"suggested: --precision {found.precision} {size}")
    if not found.healthy:
        raise typer.Exit(1)


def _tokens(task: Any) -> Any:
    """The data's contexts, where they are tokens."""
    import torch

    batch = task.batch(torch.arange(len(task.data)))
    is_text = task.unit in ("token", "sequence") and isinstance(batch, torch.Tensor) and not batch.is_floating_point()
    return batch if is_text else None
