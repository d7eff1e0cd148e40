"""GPUs by what their makers publish."""

from typing import NamedTuple

from bitsandnats.errors import InputError, message
from bitsandnats.precision import Precision


class Gpu(NamedTuple):
    """A GPU's published figures.

    Attributes:
        name: in words.
        bfloat16: peak of dense products in bfloat16, FLOP/s.
        tf32: in TF32.
        float32: without tensor cores.
        memory: bytes; the H200's as CUDA counts them on one, the others' as published.
        bandwidth: of its memory, bytes a second.
        link: from the host's memory to its own, bytes a second: half of what is published of both directions.
    """

    name: str
    bfloat16: float
    tf32: float
    float32: float
    memory: float
    bandwidth: float
    link: float

    def peak(self, precision: Precision) -> float:
        """Peak of dense products, FLOP/s."""
        return {"bfloat16": self.bfloat16, "tf32": self.tf32, "float32": self.float32}[precision]


GPUS = {
    "a100": Gpu("NVIDIA A100 SXM 80 GB", 312e12, 156e12, 19.5e12, 80e9, 2.039e12, 32e9),
    "h100": Gpu("NVIDIA H100 SXM", 989.4e12, 494.7e12, 66.9e12, 80e9, 3.35e12, 64e9),
    "h200": Gpu("NVIDIA H200 SXM", 989.4e12, 494.7e12, 66.9e12, 150.1e9, 4.8e12, 64e9),
}


def named_gpu(name: str) -> Gpu:
    """A GPU by its short name.

    Raises:
        InputError: it is not known.
    """
    if name.lower() not in GPUS:
        raise InputError(message(expected=f"a GPU among {', '.join(GPUS)}", got=repr(name), do="choose one"))
    return GPUS[name.lower()]
