"""Measuring while transformers' Trainer trains."""

from collections.abc import Callable
from typing import Any

from torch import nn


def trainer_callback(monitor: Callable[[int, nn.Module], Any]) -> Any:
    """A `TrainerCallback` that hands the model to `monitor` before the first step and after every step.

    In training on several devices the first process measures, and the others wait for it at their next exchange. Models
    whose weights are spread over devices (FSDP, ZeRO-3) cannot be measured this way: measure their checkpoints.

    Args:
        monitor: `(step, model) -> anything`, such as `Monitor`, which chooses the steps.
    """
    from bitsandnats.hf._trainer import MonitorCallback  # transformers, only when it is asked for

    return MonitorCallback(monitor)
