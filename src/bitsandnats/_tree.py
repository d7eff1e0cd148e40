"""Arithmetic on dictionaries of tensors, and the same map over any batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from bitsandnats._types import Batch, Params


def numel(params: Params) -> int:
    """Number of coordinates in all."""
    return sum(p.numel() for p in params.values())


def map_batch(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """`function` applied to each tensor of a batch, structure kept."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {name: function(tensor) for name, tensor in batch.items()}
    return tuple(function(tensor) for tensor in batch)


def tensors(batch: Batch) -> list[Tensor]:
    """The tensors of a batch, in order."""
    if isinstance(batch, Tensor):
        return [batch]
    return list(batch.values()) if isinstance(batch, dict) else list(batch)


def dot(left: Params, right: Params) -> Tensor:
    """Inner product over all coordinates, accumulated in float64."""
    return torch.stack([(left[name] * right[name]).sum(dtype=torch.float64) for name in left]).sum()


def axpy(scale: float, direction: Params, params: Params) -> Params:
    """`params + scale * direction`."""
    return {name: torch.add(p, direction[name], alpha=scale) for name, p in params.items()}


def fetched(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device: itself where it is there already; from pinned memory without waiting for it."""
    return tensor if tensor.device == device else tensor.to(device, non_blocking=True)


def side_by_side(params: Params, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Params:
    """Copies that lie in one block of memory for each type: thousands of small ones would leave holes between them.

    Args:
        params: what is copied.
        device: of the copies; None = where each of them is.
        dtype: of the copies; None = as each of them.
    """
    kinds = {name: (dtype or p.dtype, device or p.device) for name, p in params.items()}
    blocks = {
        kind: torch.empty(
            sum(_padded(p) for name, p in params.items() if kinds[name] == kind), dtype=kind[0], device=kind[1]
        )
        for kind in set(kinds.values())
    }
    copies: Params = {}
    for name, p in params.items():
        kind = kinds[name]
        copies[name] = blocks[kind][: p.numel()].view(p.shape).copy_(p)
        blocks[kind] = blocks[kind][_padded(p) :]
    return copies


def _padded(tensor: Tensor) -> int:
    """Its length, so that the next one begins where processors like it."""
    return -(-tensor.numel() // 64) * 64


def gaussian(params: Params, generator: torch.Generator) -> Params:
    """Standard normal numbers in the shapes of `params`, made where the generator is, and then where they are."""
    return {
        name: torch.empty(p.shape, dtype=p.dtype, device=generator.device).normal_(generator=generator).to(p.device)
        for name, p in params.items()
    }
