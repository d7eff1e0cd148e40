"""Options that several verbs share, and what they mean."""

import importlib
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.errors import InputError, ModelError, message

Text = Annotated[list[Path] | None, typer.Option("--text", help="Text file or folder; may be given several times.")]
Context = Annotated[int | None, typer.Option(help="Tokens a context.")]
Fold = Annotated[
    bool | None,
    typer.Option("--fold/--no-fold", help="Fold layer norms (function-preserving); by default where it is known how."),
]
Device = Annotated[str | None, typer.Option(help="Where to measure, for instance cuda or cpu.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Sampler = Annotated[str | None, typer.Option(help="Sampler and options, see 'bitsandnats ls samplers'.")]
StepSize = Annotated[float | None, typer.Option(help="ε; by default measured.")]
Gamma = Annotated[float | None, typer.Option(help="γ, the pull to w*; by default measured.")]
Nbeta = Annotated[float | None, typer.Option(help="nβ; by default min(n/ln n, 3000).")]
BatchSize = Annotated[int | None, typer.Option(help="Items a minibatch.")]
Chains = Annotated[int | None, typer.Option(help="Independent chains.")]
Draws = Annotated[int | None, typer.Option(help="Draws a chain.")]
BurnIn = Annotated[int | None, typer.Option(help="Steps a chain before the draws.")]
Unit = Annotated[str | None, typer.Option(help="token or sequence: what a loss is a mean over.")]


def load_task(
    model: str, text: list[Path] | None, context: int | None, fold: bool | None, device: str | None, unit: str | None
) -> Any:
    """The Task that MODEL names: a Hugging Face folder, or `package.module:function` that returns one.

    Raises:
        ModelError: there is no such model or function, or it returns something else.
    """
    from bitsandnats.task import Task

    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", model):
        from bitsandnats import hf

        given: Any = None if text is None else list(text)
        return hf.load_task(
            model, text=given, context=context, fold=fold, device=device, unit=checked_unit(unit) or "token"
        )
    module, name = model.split(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            message(expected=f"a function {name} in module {module}", got=str(error), do="check MODEL's spelling")
        ) from None
    task = function()
    if not isinstance(task, Task):
        raise ModelError(
            message(
                expected=f"{model}() to return a bitsandnats Task",
                got=type(task).__name__,
                do="return Task.from_module(…)",
            )
        )
    return task


def checked_unit(unit: str | None) -> Any:
    """The unit, if it is one.

    Raises:
        InputError: it is not.
    """
    if unit not in (None, "sample", "token", "sequence"):
        raise InputError(message(expected="unit token or sequence", got=repr(unit), do="choose one"))
    return unit


def numbers(text: str, name: str) -> list[float]:
    """A comma-separated list of numbers.

    Raises:
        InputError: one is not a number.
    """
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(
            message(expected=f"numbers separated by commas for {name}", got=repr(text), do="give for instance 0.1,0.5")
        ) from None


def label(model: str) -> str:
    """A short name of MODEL for results."""
    return model.split(":")[-1] if ":" in model else Path(model).resolve().name
