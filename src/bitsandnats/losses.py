"""Unreduced losses in nats, ready for `Task.from_module`, each knowing what guessing would cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitsandnats._types import Batch
from bitsandnats.errors import DataError, InputError, message


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of a classifier; build it with `cross_entropy()`."""

    def __call__(self, model: Callable[..., Any], batch: Batch) -> Float[Tensor, " sample *token"]:
        """Returns −log p(label) for each sample (and token), in nats."""
        inputs, labels = _pair(batch)
        logits = model(inputs)
        flat = logits.reshape(-1, logits.shape[-1])
        flat = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
        return nn.functional.cross_entropy(flat, labels.reshape(-1), reduction="none").view(labels.shape)

    def chance(self, model: Callable[..., Any], batch: Batch) -> float:
        """Loss of the uniform guess, ln(classes), in nats."""
        return math.log(model(_pair(batch)[0]).shape[-1])


@dataclass(frozen=True)
class Gaussian:
    """Negative log-likelihood of a regression with known noise; build it with `gaussian(sigma)`."""

    sigma: float

    def __call__(self, model: Callable[..., Any], batch: Batch) -> Float[Tensor, " sample"]:
        """Returns ‖y − model(x)‖² / 2σ² for each sample, in nats."""
        inputs, targets = _pair(batch)
        residual = (
            (model(inputs).reshape(targets.shape) - targets).flatten(1)
            if targets.ndim > 1
            else (model(inputs).reshape(targets.shape) - targets).unsqueeze(1)
        )
        return residual.square().sum(1) / (2 * self.sigma**2)

    def chance(self, model: Callable[..., Any], batch: Batch) -> float:
        """Loss of always answering the mean target of `batch`, in nats."""
        targets = _pair(batch)[1].double()
        return float((targets - targets.mean(0)).square().sum() / (2 * self.sigma**2 * len(targets)))


def cross_entropy() -> CrossEntropy:
    """Cross-entropy for batches `(inputs, labels)`; logits `[sample, class]` or `[sample, token, class]`."""
    return CrossEntropy()


def gaussian(sigma: float = 1.0) -> Gaussian:
    """Gaussian loss ‖y − f(x)‖²/2σ² for batches `(inputs, targets)`.

    The constant log σ√(2π) of each output is left out: no quantity measured here depends on it.

    Args:
        sigma: standard deviation of the noise on each output, > 0.

    Raises:
        InputError: `sigma` is not positive.
    """
    if not sigma > 0:
        raise InputError(message(expected="sigma > 0", got=f"sigma = {sigma}", do="give the noise's s.d."))
    return Gaussian(float(sigma))


def _pair(batch: Batch) -> tuple[Tensor, Tensor]:
    if isinstance(batch, tuple) and len(batch) == 2:
        return batch[0], batch[1]
    got = f"{len(batch)} tensors" if isinstance(batch, tuple) else type(batch).__name__
    raise DataError(
        message(expected="batches of (inputs, targets)", got=got, do="write your own loss(model, batch) for this data")
    )
