"""Options that several verbs share, and what they mean."""

import importlib
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsandnats.cli.parsing import names as names
from bitsandnats.cli.parsing import numbers as numbers
from bitsandnats.cli.parsing import seconds as seconds
from bitsandnats.cli.parsing import share as share
from bitsandnats.errors import BitsAndNatsError, InputError, ModelError, message

_DATA = "Model and data"
_SAMPLING = "Sampling; what is left out is measured or a default"

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Folder, org/name[@revision], or package.module:function."),
]
Text = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="[NAME=]PATH",
        help="File, folder or dataset:org/name, repeatable, each of a named subset or none; by default the suite's.",
        rich_help_panel=_DATA,
    ),
]
Field = Annotated[
    str,
    typer.Option(metavar="NAME", help="Of JSON lines, parquet, datasets: where the text is.", rich_help_panel=_DATA),
]
Items = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="contexts of equal length, or documents: each one's start, padded.", rich_help_panel=_DATA
    ),
]
Context = Annotated[int | None, typer.Option(metavar="N", help="Tokens a context.", rich_help_panel=_DATA)]
Fold = Annotated[
    bool | None,
    typer.Option(
        "--fold/--no-fold",
        help="Fold layer norms (function-preserving); by default where it is known how.",
        rich_help_panel=_DATA,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where to compute: cpu (the default), cuda …", rich_help_panel=_DATA),
]
Unit = Annotated[
    str | None,
    typer.Option(
        metavar="UNIT", help="token (the default) or sequence: what a loss is a mean over.", rich_help_panel=_DATA
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of every random choice.")]
Sampler = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Sampler and options, see 'bitsandnats ls samplers'.", rich_help_panel=_SAMPLING),
]
StepSize = Annotated[float | None, typer.Option(metavar="X", help="ε.", rich_help_panel=_SAMPLING)]
Gamma = Annotated[float | None, typer.Option(metavar="X", help="γ, the pull to w*.", rich_help_panel=_SAMPLING)]
Nbeta = Annotated[
    float | None, typer.Option(metavar="X", help="nβ; by default min(n/ln n, 3000).", rich_help_panel=_SAMPLING)
]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="Items a minibatch.", rich_help_panel=_SAMPLING)]
Chains = Annotated[int | None, typer.Option(metavar="N", help="Independent chains.", rich_help_panel=_SAMPLING)]
Draws = Annotated[int | None, typer.Option(metavar="N", help="Draws a chain.", rich_help_panel=_SAMPLING)]
BurnIn = Annotated[
    int | None, typer.Option(metavar="N", help="Steps a chain before the draws.", rich_help_panel=_SAMPLING)
]


def _named(help: str) -> Any:
    """An option of the sampling that takes a name."""
    return typer.Option(metavar="NAME", help=help, rich_help_panel=_SAMPLING)


Metric = Annotated[
    str | None, _named("weights (the default), or tensors: a pull that rescaled ReLU layers do not change.")
]
Precision = Annotated[str | None, _named("Of the loss's products: float32 (the default), tf32 (on CUDA), bfloat16.")]
Statistics = Annotated[
    str | None, _named("step (the default), or none: losses alone, cheaper, without the verdict's grounds.")
]
Variates = Annotated[str | None, _named("none (the default), or quadratic: a smaller error of hmc and mala.")]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Items a pass at most; by default as many as memory holds.", rich_help_panel=_SAMPLING
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Run the layers through torch.compile: faster on a GPU.", rich_help_panel=_SAMPLING),
]
Checkpointing = Annotated[
    bool,
    typer.Option(
        "--checkpointing", help="Run layers again for their gradients, to hold less memory.", rich_help_panel=_DATA
    ),
]
TargetSe = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE", help="Draw until the standard error is this share of λ̂: 5%.", rich_help_panel=_SAMPLING
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Time for calibration and draws: 90s, 10m, 2h.", rich_help_panel=_SAMPLING),
]
Controls = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Further controls: step (λ̂ at ε/2 and 2ε), resolution (λ̂ against nβ).",
        rich_help_panel=_SAMPLING,
    ),
]

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def texts(text: list[str] | None, field: str, items: str) -> Any:
    """The text that the options mean, as `hf.Texts`; None where none is given.

    Raises:
        InputError: some texts have a name and some have none, or `items` is unknown.
    """
    if text is None:
        return None
    from bitsandnats import hf

    return hf.named_texts(text, field, items)


def load_task(
    model: str,
    text: Any,
    context: int | None,
    fold: bool | None,
    device: str | None,
    unit: str | None,
    checkpointing: bool = False,
) -> Any:
    """The Task that MODEL names: a Hugging Face folder, or `package.module:function` that returns one.

    Raises:
        ModelError: there is no such model or function, or it returns something else.
        InputError: an option is out of range, or given for a function, which makes its own choices.
    """
    checked_unit(unit)
    if _REFERENCE.fullmatch(model):
        given = {"--text": text, "--context": context, "--fold": fold, "--device": device, "--unit": unit}
        given["--checkpointing"] = checkpointing or None
        return _made_by(model, [name for name, value in given.items() if value is not None])
    from bitsandnats import hf

    return hf.load_task(
        model,
        text=text,
        context=context,
        fold=fold,
        device=checked_device(device),
        unit=checked_unit(unit) or "token",
        checkpointing=checkpointing,
    )


def load_unfolded(model: str, text: Any, context: int | None, device: str | None, unit: str | None) -> Any:
    """The Task that MODEL names, its layer norms as they are: a network that is written must be the one that is loaded.

    Raises:
        ModelError: as `load_task`.
        InputError: as `load_task`.
    """
    return load_task(model, text, context, None if _REFERENCE.fullmatch(model) else False, device, unit)


def check_alone(option: str, others: dict[str, Any]) -> None:
    """Refuses options that mean nothing beside another.

    Raises:
        InputError: as said.
    """
    for name, value in others.items():
        if value is not None:
            raise InputError(message(expected=f"no {name} beside {option}", got="one", do="leave one of them out"))


def is_function(model: str) -> bool:
    """Whether MODEL is `package.module:function`."""
    return _REFERENCE.fullmatch(model) is not None


def check_no_function(model: str, option: str) -> None:
    """Refuses an option beside a function, which makes its own choices.

    Raises:
        InputError: as said.
    """
    if _REFERENCE.fullmatch(model):
        raise InputError(message(expected=f"no {option} beside {model}", got="one", do="let the function choose it"))


def _made_by(reference: str, given: list[str]) -> Any:
    from bitsandnats.task import Task

    if given:
        raise InputError(
            message(expected=f"no {given[0]} beside {reference}", got="one", do="let the function choose it")
        )
    module, name = reference.split(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name, None)
    except BitsAndNatsError:
        raise
    except Exception as error:
        raise _unusable(f"a module {module} that can be imported", error) from error
    if not callable(function):
        got = "none of that name" if function is None else type(function).__name__
        raise ModelError(message(expected=f"a function {name} in module {module}", got=got, do="check MODEL"))
    try:
        task = function()
    except BitsAndNatsError:
        raise
    except Exception as error:
        raise _unusable(f"{reference}() to return a bitsandnats Task", error) from error
    if not isinstance(task, Task):
        raise ModelError(
            message(
                expected=f"{reference}() to return a bitsandnats Task",
                got=type(task).__name__,
                do="return Task.from_module(…)",
            )
        )
    return task


def _unusable(expected: str, error: Exception) -> ModelError:
    said = " ".join(str(error).split())[:200]
    got = type(error).__name__ + (f" ({said})" if said else "")
    return ModelError(message(expected=expected, got=got, do="call it in Python to see where"))


def checked_unit(unit: str | None) -> Any:
    """The unit, if it is one.

    Raises:
        InputError: it is not.
    """
    if unit not in (None, "token", "sequence"):
        raise InputError(message(expected="unit token or sequence", got=repr(unit), do="choose one"))
    return unit


def checked_device(device: str | None) -> str | None:
    """The device, if torch can use it.

    Raises:
        InputError: it cannot.
    """
    if device is None:
        return None
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch asserts that it was built with CUDA
        got = str(error).partition("\n")[0].rstrip(".")
        raise InputError(
            message(expected=f"a device that torch can use, for {device!r}", got=got, do="try cpu or cuda")
        ) from None
    return device


def label(model: str) -> str:
    """A short name of MODEL for results."""
    return model.split(":")[-1] if _REFERENCE.fullmatch(model) else Path(model).resolve().name
