"""The precision of a loss's products. Weights, steps and noise are float32 or float64 always."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bitsandnats._types import Batch, LossFn, Params
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

Precision = Literal["float32", "tf32", "bfloat16"]
"""`float32`: the weights' own type; `tf32`: float32 with products on tensor cores; `bfloat16`: autocast."""


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within it, products of float32 matrices are made as `tf32` says; otherwise nothing changes.

    torch has one switch for all of a process; it is put back at the end.

    Args:
        precision: as asked for.
        device: where the products are made.
    """
    if precision != "tf32" or device.type != "cuda":
        yield
        return
    switch = torch.backends.cuda.matmul
    before, switch.fp32_precision = switch.fp32_precision, "tf32"
    try:
        yield
    finally:
        switch.fp32_precision = before


def in_precision(task: Task, precision: Precision) -> Task:
    """The task whose loss is computed in a precision; w*, positions and what is done to them stay as they are.

    Args:
        task: the task.
        precision: `float32` gives the task itself.

    Raises:
        InputError: `tf32` where there are no such tensor cores, or lower precision of float64 weights.
    """
    if precision == "float32":
        return task
    double = [name for name, w in task.center.items() if w.dtype != torch.float32]
    if double:
        raise InputError(
            message(
                expected=f"float32 weights for precision {precision}",
                got=f"{double[0]} in {str(task.center[double[0]].dtype).removeprefix('torch.')}",
                do="convert the model with .float(), or ask for precision float32",
            )
        )
    if precision == "tf32" and task.device.type != "cuda":
        raise InputError(
            message(
                expected="a CUDA device for precision tf32",
                got=task.device.type,
                do="ask for precision float32 or bfloat16",
            )
        )
    return dataclasses.replace(task, loss=_Lowered(task.loss, precision, task.device))


@dataclass(frozen=True)
class _Lowered:
    """A loss whose products are computed in lower precision; what it returns is float32."""

    loss: LossFn
    precision: Precision
    device: torch.device

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        if self.precision == "tf32":
            with computing("tf32", self.device):
                return self.loss(params, batch)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            losses = self.loss(params, batch)
        return losses.float()
