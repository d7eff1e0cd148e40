"""Compressors: families of smaller networks with a price."""

from bitsandnats._registry import Entry, Registry
from bitsandnats.compressors.factorize import factorize as factorize
from bitsandnats.compressors.noise import noise as noise
from bitsandnats.compressors.prune_heads import prune_heads as prune_heads
from bitsandnats.compressors.prune_magnitude import prune_magnitude as prune_magnitude
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
        "factorize": Entry(
            "bitsandnats.compressors.factorize:factorize",
            "the same fraction of the singular values of every matrix in every second layer (2510.12077, C.2)",
            tags=("deterministic",),
        ),
        "factorize-energy": Entry(
            "bitsandnats.compressors.factorize:factorize_energy",
            "the same share of the squared singular values, so that each matrix has a rank of its own",
            tags=("deterministic",),
        ),
        "noise-absolute": Entry(
            "bitsandnats.compressors.noise:noise_absolute",
            "Gaussian noise of one standard deviation on every weight, averaged over draws (2510.12077, C.4)",
            tags=("random",),
        ),
        "noise-relative": Entry(
            "bitsandnats.compressors.noise:noise_relative",
            "Gaussian noise in proportion to each weight, averaged over draws (2510.12077, C.4)",
            tags=("random",),
        ),
        "prune-heads": Entry(
            "bitsandnats.compressors.prune_heads:prune_heads",
            "random attention heads set to zero, then the rest trained on (2510.12077, C.5)",
            tags=("random",),
        ),
        "prune-magnitude": Entry(
            "bitsandnats.compressors.prune_magnitude:prune_magnitude",
            "the smallest weights set to zero",
            tags=("deterministic",),
        ),
    },
)
