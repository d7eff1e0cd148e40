"""A module and a user's loss as a function of the parameters, on a private copy of the module."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bitsandnats._types import Batch, Params
from bitsandnats.errors import ModelError, message

Places = dict[str, list[tuple[nn.Module, str, str]]]  # by name: submodules, `_parameters` or `_buffers`, name there


class Model:
    """What a user's loss sees as `model`: the network at given parameters, callable and nothing else."""

    def __init__(self, module: nn.Module, places: Places, params: Params) -> None:
        self._module, self._places, self._params = module, places, params

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = _swap(self._places, self._params)
        try:
            return self._module(*args, **kwargs)
        finally:
            _swap(self._places, before)

    def within(self, function: Callable[..., Any], *args: Any) -> Any:
        """`function(module, *args)`, the given parameters in their places for the time of the call."""
        before = _swap(self._places, self._params)
        try:
            return function(self._module, *args)
        finally:
            _swap(self._places, before)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, Tensor | nn.Module) or callable(value):
            raise ModelError(
                message(
                    expected="a loss that only calls model(...)",
                    got=f"model.{name}, which would bypass the weights being sampled",
                    do="compute the loss from the model's output",
                )
            )
        return value


@dataclass(frozen=True)
class FunctionalLoss:
    """A private module and a user's loss as a function of the moving parameters.

    Parameters, fixed ones and buffers are put in their places in the module for the time of a call: what
    `torch.func.functional_call` does, but with the places looked up once and not at every call.
    """

    module: nn.Module
    places: Places
    constants: Params
    loss: Callable[[Any, Batch], Tensor]

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        return self.loss(Model(self.module, self.places, {**self.constants, **params}), batch)


def within_losses(loss: Any, change: Callable[[FunctionalLoss], FunctionalLoss]) -> Any:
    """The loss with the module's one inside it changed, however often it was wrapped; itself where there is none."""
    if isinstance(loss, FunctionalLoss):
        return change(loss)
    inner = getattr(loss, "loss", None)
    if inner is None or not dataclasses.is_dataclass(loss) or isinstance(loss, type):
        return loss
    return dataclasses.replace(loss, loss=within_losses(inner, change))


def for_another_thread(loss: Any) -> Any:
    """The same loss with a module of its own, since tensors are put in and out of it during a call; tensors shared."""
    if not isinstance(loss, FunctionalLoss):
        return loss
    module = private_copy(loss.module)
    return FunctionalLoss(module, places_of(module), loss.constants, loss.loss)


def private_copy(module: nn.Module) -> nn.Module:
    """The module's structure and mode, copied; its tensors, shared."""
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)


def places_of(module: nn.Module) -> Places:
    """Where each parameter and buffer sits, by its first name; tied ones sit in several places."""
    places: Places = {}
    for kind in ("_parameters", "_buffers"):
        first: dict[int, str] = {}
        for prefix, part in module.named_modules():
            for key, tensor in getattr(part, kind).items():
                if tensor is not None:
                    name = first.setdefault(id(tensor), f"{prefix}.{key}" if prefix else key)
                    places.setdefault(name, []).append((part, kind, key))
    return places


def _swap(places: Places, values: Params) -> Params:
    """Puts tensors in their places; what was there before."""
    before = {}
    for name, value in values.items():
        for part, kind, key in places[name]:
            own = getattr(part, kind)
            before[name], own[key] = own[key], value
    return before
