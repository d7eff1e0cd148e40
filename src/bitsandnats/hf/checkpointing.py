"""Activation checkpointing: a layer keeps its input alone and is run again for its gradient."""

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from bitsandnats.errors import ModelError, message


def checkpoint_layers(model: nn.Module) -> int:
    """Makes each layer of a transformers model run again for its gradient; how many layers do.

    A pass then keeps one vector a token and layer, for a third more products. Values do not change: nothing in the
    model is put in training mode but the switch of the layers themselves, by which transformers decides.

    Raises:
        ModelError: the model has no layers that can.
    """
    layers = [part for part in model.modules() if hasattr(part, "gradient_checkpointing") and _is_layer(part)]
    if not layers:
        raise ModelError(
            message(
                expected="a model of transformers whose layers can be run again",
                got=type(model).__name__,
                do="leave checkpointing out and use smaller micro-batches",
            )
        )
    for layer in layers:
        switch: Any = layer
        switch.gradient_checkpointing = True
        switch._gradient_checkpointing_func = _run_again
        switch.training = True
    return len(layers)


def _is_layer(part: nn.Module) -> bool:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return isinstance(part, GradientCheckpointingLayer)


def _run_again(function: "partial[Any]", *args: Any) -> Any:
    """The layer's output. Run again in the backward pass, it sees the weights of this call: by then others are back."""
    layer: nn.Module = function.args[0] if function.args else function.func.__self__  # type: ignore[attr-defined]
    held = [(part._parameters, dict(part._parameters)) for part in layer.modules()]

    def run(*inputs: Any) -> Any:
        before = [(places, dict(places)) for places, _ in held]
        try:
            for places, values in held:
                places.update(values)
            return function(*inputs)
        finally:
            for places, values in before:
                places.update(values)

    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)
