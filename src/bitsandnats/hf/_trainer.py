"""The class that transformers asks its callbacks to be derived from."""

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers import TrainerCallback


class MonitorCallback(TrainerCallback):
    """Calls `monitor(step, model)` at the beginning and after each step; changes nothing."""

    def __init__(self, monitor: Callable[[int, nn.Module], Any]) -> None:
        self.monitor = monitor

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the first step, or the first after a resumption."""
        self._tell(state, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After each optimizer step."""
        self._tell(state, kwargs["model"])

    def _tell(self, state: Any, model: nn.Module) -> None:
        if state.is_world_process_zero:
            self.monitor(state.global_step, model)
