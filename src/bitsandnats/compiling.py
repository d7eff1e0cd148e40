"""Losses whose repeated layers are run through `torch.compile`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bitsandnats._functional import FunctionalLoss, places_of, private_copy, within_losses
from bitsandnats.errors import InputError, message
from bitsandnats.precision import Precision
from bitsandnats.task import Task

_ALIKE = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 3e-2}  # of the losses, by what other kernels round
_BACKEND = "inductor"
_COMPILED = 64  # forms of one layer: models, batches, precisions, with a gradient and without
_SAID = 160  # letters of an error


def compiled(task: Task, precision: Precision = "float32") -> Task:
    """The task whose layers are compiled, on a module of its own; weights and data are shared.

    Layer by layer, so that a network's repeated layers are one piece of code, compiled once for each form of batch,
    with a gradient and without, and again for no other checkpoint of this process. Such code has no second
    derivatives: what needs these takes the task as it was. Losses at w* are compared with those of the layers as they
    were.

    Args:
        task: the task.
        precision: that its losses are computed in: how closely compiled losses must agree.

    Raises:
        InputError: the loss is no module's, or the layers cannot be compiled here, or their losses differ.
    """
    import torch._dynamo  # takes a second, and is needed here alone

    # one limit for all shapes that one piece of code is compiled for in a process: beyond it, layers run uncompiled
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, _COMPILED)
    found: list[int] = []

    def change(loss: FunctionalLoss) -> FunctionalLoss:
        module = private_copy(loss.module)
        layers = repeated_layers(module)
        found.append(len(layers))
        for layer in layers:
            layer.compile(backend=_BACKEND)
        return FunctionalLoss(module, places_of(module), loss.constants, loss.loss)

    task_compiled = dataclasses.replace(task, loss=within_losses(task.loss, change))
    if not found:
        expected, do = "the loss of a module for compile", "compile that function itself"
        raise InputError(message(expected=expected, got="a bare function", do=do))
    one = torch.arange(1)
    with torch.no_grad():
        plain = task.item_losses(task.center, task.batch(one))
        try:
            losses = task_compiled.item_losses(task.center, task.batch(one))
        except Exception as error:  # compilers raise anything
            said = " ".join(str(error).partition("Set TORCHDYNAMO")[0].split())[:_SAID]
            raise InputError(
                message(
                    expected="layers that torch.compile can compile on this machine",
                    got=f"{type(error).__name__}: {said}",
                    do="install a compiler for C++ (on a GPU, Triton), or leave compile out",
                )
            ) from None
    difference = float((losses - plain).abs().max() / (1e-30 + plain.abs().max()))
    if not difference <= _ALIKE[precision]:
        raise InputError(
            message(
                expected="the same losses from compiled layers",
                got=f"a difference of {difference:.2g} of the loss",
                do="leave compile out",
            )
        )
    return task_compiled


def compiled_update(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a sampler does to a block of weights as one kernel or two, for blocks of any size."""
    return torch.compile(function, dynamic=True, backend=_BACKEND)


def repeated_layers(module: nn.Module) -> list[nn.Module]:
    """The outermost layers of one class that a module repeats; the module itself where there are none."""
    lists = [
        (name, list(part))
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList | nn.Sequential)
        and len(part) > 1
        and len({type(layer) for layer in part}) == 1
        and any(True for _ in part[0].parameters())
    ]
    outermost = [
        layers
        for name, layers in lists
        if not any(other != name and f"{name}.".startswith(f"{other}." if other else "") for other, _ in lists)
    ]
    return [layer for layers in outermost for layer in layers] or [module]
