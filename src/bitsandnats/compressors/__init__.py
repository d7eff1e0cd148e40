"""Compressors: families of smaller networks with a price."""

from bitsandnats._registry import Entry, Registry
from bitsandnats.compressors.quantize import quantize as quantize

registry = Registry(
    family="compressors",
    bound=(),
    builtin={
        "quantize": Entry(
            "bitsandnats.compressors.quantize:quantize",
            "symmetric quantization with one range m for all weights, m minimising the loss (2510.12077, 4.1)",
            tags=("deterministic",),
        ),
        "quantize-largest": Entry(
            "bitsandnats.compressors.quantize:quantize_largest",
            "the same with m = the largest weight (2510.12077, C.3)",
            tags=("deterministic",),
        ),
    },
)
