"""torchao's symmetric weight quantization of given tensors, one scale a tensor; run by a Python that has torchao.

    PYTHON benchmarks/quantizer_peer_torchao.py TENSORS OUT

TENSORS is a file of torch.save: {"tensors": {name: weights}, "bits": [...]}. OUT gets {(method, bits, own codes): {name:
weights}}, quantized and dequantized again, and the versions. It imports nothing of bitsandnats.
"""

import sys
from importlib.metadata import version

import torch
from torchao.quantization import quant_primitives
from torchao.quantization.quant_primitives import (
    MappingType,
    choose_qparams_affine,
    dequantize_affine,
    quantize_affine,
)

MAPPINGS = {
    "SYMMETRIC": MappingType.SYMMETRIC,
    "SYMMETRIC_NO_CLIPPING_ERR": MappingType.SYMMETRIC_NO_CLIPPING_ERR,
}
HQQ = "scale-only HQQ"


def codes(bits: int, own: bool) -> tuple[int, int]:
    """torchao's own 2^b codes, or the 2^b - 1 that lie symmetrically around zero."""
    half = 2 ** (bits - 1)
    return (-half if own else 1 - half), half - 1


def affine(weights: torch.Tensor, mapping: MappingType, low: int, high: int) -> torch.Tensor:
    block = tuple(weights.shape)
    scale, zero = choose_qparams_affine(weights, mapping, block, torch.int8, low, high, scale_dtype=torch.float32)
    found = quantize_affine(weights, block, scale, zero, torch.int8, low, high)
    return dequantize_affine(found, block, scale, zero, torch.int8, low, high)


def hqq(weights: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """The scale that least squares choose; it takes rows, so the tensor is given as one row."""
    flat = weights.reshape(1, -1)
    found, scale = quant_primitives._choose_qparams_and_quantize_scale_only_hqq(flat, [1, flat.shape[1]], low, high)
    return (found * scale).reshape(weights.shape).to(weights.dtype)


def main() -> None:
    given = torch.load(sys.argv[1])
    found = {}
    for bits in given["bits"]:
        for own in (False, True):
            low, high = codes(bits, own)
            for name, mapping in MAPPINGS.items():
                found[name, bits, own] = {k: affine(w, mapping, low, high) for k, w in given["tensors"].items()}
            found[HQQ, bits, own] = {k: hqq(w, low, high) for k, w in given["tensors"].items()}
    versions = {name: version(name) for name in ("torch", "torchao")}
    torch.save({"found": found, "versions": versions}, sys.argv[2])


if __name__ == "__main__":
    main()
