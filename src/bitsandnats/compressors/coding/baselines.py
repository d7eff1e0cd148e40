"""What others would need: first-order entropy, and general-purpose compressors over the same numbers."""

import bz2
import lzma
from collections.abc import Callable

import numpy as np

from bitsandnats.compressors.coding.types import Grid, Network


def first_order_bits(network: Network) -> float:
    r"""First-order entropy of the symbols, $-\sum_k c_k\log_2(c_k/n)$ for each coded matrix, bits.

    What a coder of independent symbols with a distribution for each matrix cannot go below; side information aside.
    """
    return sum(_entropy(grid) for grid in grids(network))


def grids(network: Network) -> list[Grid]:
    """All coded matrices in order."""
    return [grid for piece in network.pieces.values() for grid in piece.grids]


def published_bytes(network: Network) -> int:
    """bzip2 of the coarse matrices (factors apart) as float32, one behind the other: 2412.09810's size.

    Zeros have no sign here. In the published arithmetic, Δ·round(θ/Δ), small negative weights become −0, which takes
    bzip2 up to a bit each; that size is what `method="published"` minimises.
    """
    return len(bz2.compress(b"".join(_floats(grid) for grid in grids(network)), 9))


def symbol_bytes(network: Network) -> dict[str, int]:
    """bzip2, xz and zstd over the same whole numbers, each in the narrowest type that holds all of them; bytes."""
    from numcodecs.zstd import Zstd  # zarr depends on it

    data = _symbols(network)
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "bzip2": lambda raw: bz2.compress(raw, 9),
        "xz": lambda raw: lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME),
        "zstd": lambda raw: bytes(Zstd(level=19).encode(raw)),
    }
    return {name: len(compress(data)) for name, compress in compressors.items()}


def _symbols(network: Network) -> bytes:
    found = grids(network)
    largest = max((int(np.abs(g.symbols.astype(np.int64)).max()) for g in found if g.symbols.size), default=0)
    width = np.int8 if largest < 1 << 7 else np.int16 if largest < 1 << 15 else np.int32
    return b"".join(g.symbols.astype(width).tobytes() for g in found)


def _floats(grid: Grid) -> bytes:
    return (grid.symbols.astype(np.float64) * grid.spacing).astype(np.float32).tobytes()


def _entropy(grid: Grid) -> float:
    if not grid.symbols.size:
        return 0.0
    flat = grid.symbols.ravel()
    low, high = int(flat.min()), int(flat.max())
    if high - low < 4 * flat.size + 1024:
        counts = np.bincount(flat.astype(np.int64) - low)
        counts = counts[counts > 0]
    else:
        counts = np.unique(flat, return_counts=True)[1]
    share = counts / flat.size
    return float(-(counts * np.log2(share)).sum())
