"""One spacing and one spectral threshold for the whole network (2412.09810, equations 11 to 14)."""

import torch
from torch import Tensor

from bitsandnats.coarse_grain.matrices import Checkpoint, Spectrum
from bitsandnats.compressors.coding import Network, Piece, to_grid
from bitsandnats.errors import InputError, message


def spectral_rank(values: Tensor, threshold: float) -> int:
    r"""The smallest k with $\sum_{i\le k}\bar\sigma_i\ge\tau$, $\bar\sigma_i=\sigma_i/\sum\sigma$; at least 1.

    Args:
        values: singular values, largest first.
        threshold: τ, from 0 to 1.
    """
    total = float(values.sum())
    if not total > 0:
        return 1
    sums = values.cumsum(0) / total
    return min(int((sums < threshold - 1e-12).sum()) + 1, len(values))


def kept_rank(spectrum: Spectrum, threshold: float) -> int | None:
    """The rank of a matrix at a threshold, None where factors would have no fewer numbers: only if k(m+n) < mn."""
    rank = spectral_rank(spectrum.values, threshold)
    rows, columns = spectrum.left.shape[0], spectrum.right.shape[1]
    return rank if rank * (rows + columns) < rows * columns else None


def coarse_grain(checkpoint: Checkpoint, spacing: float, threshold: float = 1.0) -> Network:
    r"""The network with every number rounded to a multiple of Δ, low-rank matrices as the factors UΣ and Vᵀ.

    Checked in `tests/truth/test_coarse_grain.py`.

    Args:
        checkpoint: the network, decomposed once.
        spacing: Δ, in units of weight; the same for tensors and factors.
        threshold: τ; at 1 all singular values are kept and no matrix is factorized.

    Raises:
        InputError: Δ not positive, or τ outside of 0 to 1.
        GridError: weights of more than 2³¹ steps.

    Source: arXiv 2412.09810, equations 11 to 14 and Algorithm 1.
    """
    if not 0 <= threshold <= 1:
        raise InputError(message(expected="a threshold from 0 to 1", got=f"{threshold:g}", do="choose another"))
    parts = matrices_at(checkpoint, threshold)
    return checkpoint.network(
        {
            name: Piece(checkpoint.task.center[name].dtype, tuple(to_grid(part, spacing) for part in found))
            for name, found in parts.items()
        }
    )


def matrices_at(checkpoint: Checkpoint, threshold: float) -> dict[str, list[Tensor]]:
    """What is rounded at a threshold, by name: each tensor, or the two factors of its truncated decomposition.

    Args:
        checkpoint: the network, decomposed once.
        threshold: τ; at 1 no matrix is factorized.
    """
    found = {}
    for name, w in checkpoint.weights.items():
        rank = kept_rank(checkpoint.spectra[name], threshold) if threshold < 1 and name in checkpoint.spectra else None
        found[name] = [w] if rank is None else _factors(checkpoint.spectra[name], rank)
    return found


def _factors(spectrum: Spectrum, rank: int) -> list[Tensor]:
    return [spectrum.left[:, :rank] * spectrum.values[:rank], spectrum.right[:rank]]


def ranks(network: Network) -> dict[str, int]:
    """Rank of each matrix that is coded as a product."""
    return {name: piece.rank for name, piece in network.pieces.items() if piece.rank is not None}


def scale(checkpoint: Checkpoint) -> float:
    """Root mean square of all weights; 1 where they are zero."""
    squares = sum(float(w.square().sum()) for w in checkpoint.weights.values())
    count = sum(w.numel() for w in checkpoint.weights.values())
    root = float(torch.tensor(squares / max(count, 1)).sqrt())
    return root if root > 0 else 1.0
