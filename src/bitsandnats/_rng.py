"""One random stream a chain: it depends on the seed, the chain's index and the purpose, on nothing else."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

_PURPOSES = ("noise", "batches", "start", "probe", "control", "compress")
_LANES, _CHUNK = 8, 32  # those of `_normal`, which is imported when it is first needed

STREAMS = 2
"""Counts the changes of what is drawn from a seed; part of every stored result's key."""


def generator(seed: int, chain: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose stream is a function of `(seed, chain, purpose)` only.

    Args:
        seed: the user's seed, any non-negative integer.
        chain: index of the chain, 0 where there is none.
        purpose: one of `noise`, `batches`, `start`, `probe`, `control`, `compress`.
        device: where the numbers are made.
    """
    entropy = np.random.SeedSequence([seed, chain, _PURPOSES.index(purpose)])
    return torch.Generator(device=device).manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))


class Rng(NamedTuple):
    """The random streams of a group of chains. Drawing from it moves it on.

    float32 normal numbers on the CPU come from compiled code, `_normal`: torch's are a large part of a small network's
    step. All other numbers come from torch's generators.

    Attributes:
        generators: torch's, one a chain.
        lanes: states of xoshiro256++, the four words of one lane a column.
        held: normal numbers that are made.
        used: how many of them have been given out.
    """

    generators: list[torch.Generator]
    lanes: Int64[Tensor, "chain 4 lane"]
    held: Float[Tensor, "chain held"]
    used: Int64[Tensor, " chain"]


def streams(seed: int, chains: Sequence[int], device: torch.device | str = "cpu") -> Rng:
    """The chains' noise, each chain's a function of `(seed, chain)` only.

    Args:
        seed: the user's seed, any non-negative integer.
        chains: indices of the chains.
        device: where torch's numbers are made.
    """
    purpose = _PURPOSES.index("noise")
    lanes = [
        np.random.SeedSequence([seed, chain, purpose], spawn_key=(0,)).generate_state(4 * _LANES, np.uint64)
        for chain in chains
    ]
    return Rng(
        [generator(seed, chain, "noise", device) for chain in chains],
        torch.from_numpy(np.stack(lanes).reshape(len(chains), 4, _LANES).view(np.int64)),
        torch.zeros(len(chains), _CHUNK, dtype=torch.float32, device="cpu"),  # whatever torch's defaults are
        torch.full((len(chains),), _CHUNK, dtype=torch.int64, device="cpu"),
    )


def compiled(weights: Tensor) -> bool:
    """Whether noise for these weights comes from compiled code."""
    return weights.dtype == torch.float32 and weights.device.type == "cpu"


def fill(rng: Rng, buffer: Float[Tensor, "chain ..."]) -> Tensor:
    """Standard normal numbers written to `buffer`, each chain's from its own stream.

    Where they come from compiled code, a chain's stream is one sequence, in whatever portions it is asked for
    (`tests/truth/test_normal.py`).
    """
    if not compiled(buffer):
        for own, generator in zip(buffer, rng.generators, strict=True):
            own.normal_(generator=generator)
        return buffer
    rows = _rows(buffer)
    _kernels().fill(*_begin(rng, rows), rows.data_ptr(), rows.stride(0))
    return buffer if rows is buffer else buffer.copy_(rows)


def langevin(
    rng: Rng,
    weights: Float[Tensor, "chain ..."],
    center: Float[Tensor, "..."],
    gradient: Float[Tensor, "chain ..."],
    pull: float,
    push: float,
    scale: float,
) -> None:
    r"""The step $w\leftarrow w+a(w^*-w)-b\,g+s\,\eta$ in one pass of compiled code.

    Args:
        rng: the chains' streams.
        weights: w, float32 on the CPU, contiguous but for the step from chain to chain.
        center: w*, in the order of the weights of one chain.
        gradient: g.
        pull: a.
        push: b.
        scale: s.
    """
    assert all(compiled(tensor) for tensor in (weights, center, gradient))  # the code is told addresses, no types
    assert _rows(weights) is weights
    assert weights.shape == gradient.shape
    assert weights.numel() == center.numel() * len(weights)
    center, gradient = center.contiguous(), _rows(gradient)
    arrays = (weights.data_ptr(), weights.stride(0), center.data_ptr(), 0, gradient.data_ptr(), gradient.stride(0))
    _kernels().langevin(*_begin(rng, weights), *arrays, pull, push, scale)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor, each chain's part in the order of memory: itself if it is so, else a copy."""
    return tensor if tensor.is_contiguous() or tensor[0].is_contiguous() else tensor.contiguous()


def _begin(rng: Rng, array: Tensor) -> tuple[int, int, int, int, int]:
    chains = len(rng.generators)
    assert chains == len(array)
    return rng.lanes.data_ptr(), rng.held.data_ptr(), rng.used.data_ptr(), chains, array.numel() // chains


@functools.cache
def _kernels() -> Any:
    from bitsandnats import _normal  # its libraries are needed for noise alone

    assert (_normal.LANES, _normal.CHUNK) == (_LANES, _CHUNK)
    return _normal.kernels()
