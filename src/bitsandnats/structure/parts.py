"""The submodules that structure is read from: linear maps and norms, known by their tensors."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

_AFFINE_TOLERANCE = 1e-4


def linear_maps(module: nn.Module) -> dict[str, nn.Module]:
    """Every linear map by name, in the order of definition."""
    return {name: part for name, part in module.named_modules() if is_linear(part)}


def is_linear(part: nn.Module) -> bool:
    """Whether it is a linear map: `nn.Linear`, or a weight `[inputs, outputs]` with the number of outputs in `nf`."""
    if isinstance(part, nn.Linear):
        return True
    weight = getattr(part, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and getattr(part, "nf", None) == weight.shape[1]


def is_transposed(linear: nn.Module) -> bool:
    """Whether a linear map stores its weight as `[inputs, outputs]`."""
    return not isinstance(linear, nn.Linear)


def outputs(linear: nn.Module) -> int:
    """Number of outputs of a linear map."""
    return int(weight_of(linear).shape[1 if is_transposed(linear) else 0])


def weight_of(part: nn.Module) -> Tensor:
    """The weight of a linear map or of a norm that has one."""
    weight = part.weight
    assert isinstance(weight, Tensor)
    return weight


def is_norm(part: nn.Module) -> bool:
    """Whether it may be a norm: nothing but one number a coordinate to scale with, and perhaps one to shift by."""
    if isinstance(part, nn.LayerNorm | nn.RMSNorm):
        return len(part.normalized_shape) == 1
    own = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    return "weight" in own and set(own) <= {"weight", "bias"} and all(t.ndim == 1 for t in own.values())


def scales_and_shifts(norm: nn.Module) -> bool:
    """Whether a norm's weight g and bias b act as g⊙x̂ + b, tried on random numbers; false of (1 + g)⊙x̂."""
    own = {name: p.detach() for name, p in norm.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(p.shape, generator=generator).to(p) for name, p in own.items()}
    plain = {name: torch.full_like(p, float(name == "weight")) for name, p in own.items()}
    width = next(iter(own.values())).shape[0]
    x = torch.randn(8, width, generator=generator).to(next(iter(own.values())))
    with torch.no_grad():
        got, normalised = functional_call(norm, drawn, (x,)), functional_call(norm, plain, (x,))
    expected = normalised * drawn.get("weight", 1.0) + drawn.get("bias", 0.0)
    return bool((got - expected).abs().max() <= _AFFINE_TOLERANCE * expected.abs().max())
