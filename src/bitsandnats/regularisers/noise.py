"""Weight noise: the gradient of a moved network, applied to the one that was not moved."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bitsandnats.errors import InputError, message


@contextmanager
def weight_noise(model: nn.Module, sigma: float, generator: torch.Generator) -> Iterator[None]:
    r"""Inside, every trainable parameter is $\theta+\sigma\xi$; on leaving it is θ again, bit by bit.

    Do the forward *and* the backward pass inside, and the optimizer's step outside: gradients at the noisy weights
    are then applied to the weights themselves.

        with weight_noise(model, 1e-2, generator):
            loss(model, batch).backward()
        optimizer.step()

    Backward passes outside are refused by PyTorch, since the weights have changed. Tied parameters get one noise.

    Args:
        model: any module.
        sigma: σ, in units of weight; 0 = no noise.
        generator: of ξ, standard normal; on the model's device.

    Raises:
        InputError: σ is negative or not finite.

    Source: arXiv 2412.09810, equation 10.
    """
    if not 0 <= sigma < float("inf"):
        raise InputError(message(expected="sigma of at least 0", got=f"{sigma:g}", do="give for instance 1e-2"))
    moved = [p for p in model.parameters() if p.requires_grad and p.is_floating_point()] if sigma else []
    before = [p.detach().clone() for p in moved]
    with torch.no_grad():
        for p in moved:
            noise = torch.empty(p.shape, dtype=torch.float32, device=p.device).normal_(generator=generator)
            p.add_(noise.to(p.dtype), alpha=sigma)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(moved, before, strict=True):
                p.copy_(value)
