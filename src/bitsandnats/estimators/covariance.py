"""Covariances of losses from stored moments of chains and blocks of draws."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import DataError, StoreError, message


def moments_of(tree: xr.DataTree) -> xr.Dataset:
    """The stored moments.

    Raises:
        StoreError: the run followed no losses, or a chain diverged and there are none.
    """
    if "moments" not in tree.children or "count" not in tree["moments"].dataset:
        raise StoreError(
            message(
                expected="a run that followed losses of subsets",
                got="none: they were not asked for, or a chain diverged",
                do="run bn.observe again, with a smaller step if a chain diverged",
            )
        )
    return tree["moments"].dataset


def has_pair(tree: xr.DataTree, rows: str, columns: str) -> bool:
    """Whether the covariance of these subsets can be read, as it was kept or transposed."""
    kept = moments_of(tree)
    return f"cross_{rows}_{columns}" in kept or f"cross_{columns}_{rows}" in kept


def chain_sums(
    tree: xr.DataTree, rows: str, columns: str, *, blocks: Sequence[int] | None = None
) -> tuple[Float[ndarray, "chain row column"], Float[ndarray, " chain"]]:
    r"""$\sum_t(a_t-\bar a)(b_t-\bar b)$ of each chain about its own mean, and its number of draws.

    Args:
        tree: a run that followed losses.
        rows: subset whose columns are the matrix's rows; `loss` for the subsets' own losses L.
        columns: subset whose columns are the matrix's columns.
        blocks: which blocks of draws; None = all.

    Raises:
        StoreError: the pair was not kept.
    """
    kept = moments_of(tree)
    transposed = f"cross_{rows}_{columns}" not in kept and f"cross_{columns}_{rows}" in kept
    first, second = (columns, rows) if transposed else (rows, columns)
    name = f"losses_{columns}" if rows == "loss" else f"cross_{first}_{second}"
    if name not in kept:
        raise _missing(kept, rows, columns)
    chosen = list(range(kept.sizes["block"])) if blocks is None else list(blocks)
    count = kept["count"].values[:, chosen]
    total = count.sum(1)
    cross = kept[name].values[:, chosen].astype(np.float64).sum(1)
    a, b = (_means(kept, first, chosen), _means(kept, second, chosen))
    # within blocks, plus the blocks' means about the chain's
    away_a, away_b = (m - (count[..., None] * m).sum(1, keepdims=True) / total[:, None, None] for m in (a, b))
    cross += np.einsum("cb,cbi,cbj->cij", count, away_a, away_b)
    return (np.swapaxes(cross, 1, 2) if transposed else cross), total


def covariance(
    tree: xr.DataTree,
    rows: str,
    columns: str,
    *,
    chains: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
) -> Float[ndarray, "row column"]:
    r"""Cov(ℓ_row, ℓ_column) over the local posterior, squared nats; each chain about its own mean.

    $\sum_c\sum_t(a-\bar a_c)(b-\bar b_c)/\sum_c(T_c-1)$: pooling chains that are not centred would let differences of
    their means in. Checked in `tests/truth/test_influence.py`.

    Args:
        tree: a run that followed losses.
        rows: subset of the rows.
        columns: subset of the columns.
        chains: which; None = all.
        blocks: which blocks of draws; None = all.

    Raises:
        StoreError: the pair was not kept.
        DataError: fewer than two draws a chain.
    """
    sums, count = chain_sums(tree, rows, columns, blocks=blocks)
    chosen = slice(None) if chains is None else list(chains)
    free = (count[chosen] - 1).sum()
    if free < 1:
        raise DataError(message(expected="at least 2 draws a chain", got=f"{int(count.max())}", do="draw longer"))
    return sums[chosen].sum(0) / free


def variance(tree: xr.DataTree, name: str) -> Float[ndarray, " column"]:
    """Var(ℓ) of each column of a subset, each chain about its own mean; squared nats."""
    return variances(tree, name).mean(0)


def variances(tree: xr.DataTree, name: str, *, blocks: Sequence[int] | None = None) -> Float[ndarray, "chain column"]:
    """Var(ℓ) of each column of a subset in each chain; squared nats."""
    kept = moments_of(tree)
    chosen = list(range(kept.sizes["block"])) if blocks is None else list(blocks)
    count, mean = kept["count"].values[:, chosen], _means(kept, name, chosen)
    total = count.sum(1)
    away = mean - (count[..., None] * mean).sum(1, keepdims=True) / total[:, None, None]
    squares = kept[f"squares_{name}"].values[:, chosen].sum(1) + np.einsum("cb,cbi->ci", count, away**2)
    return squares / np.maximum(total - 1, 1)[:, None]


def mean(tree: xr.DataTree, name: str) -> Float[ndarray, " column"]:
    """E[ℓ] of each column of a subset, nats."""
    kept = moments_of(tree)
    blocks = list(range(kept.sizes["block"]))
    count = kept["count"].values
    return (count[..., None] * _means(kept, name, blocks)).sum((0, 1)) / count.sum()


def correlation(
    covariance: Float[ndarray, "row column"],
    row_variance: Float[ndarray, " row"],
    column_variance: Float[ndarray, " column"],
) -> Float[ndarray, "row column"]:
    """Pearson correlation; 0 where a variance is 0."""
    scale = np.sqrt(np.outer(np.maximum(row_variance, 0), np.maximum(column_variance, 0)))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def parts_of(tree: xr.DataTree, rows: str, columns: str) -> Float[ndarray, "part row column"]:
    """The covariance in each chain about its own mean, or in each block of draws where there is one chain."""
    kept = moments_of(tree)
    if kept.sizes["chain"] > 1:
        sums, count = chain_sums(tree, rows, columns)
        return sums / np.maximum(count - 1, 1)[:, None, None]
    return np.stack([covariance(tree, rows, columns, blocks=[b]) for b in range(kept.sizes["block"])])


def standard_error(tree: xr.DataTree, rows: str, columns: str) -> Float[ndarray, "row column"]:
    """Standard error of each covariance.

    From the scatter of the chains, or of the blocks where there is one chain; NaN where there is one of both.
    """
    parts = parts_of(tree, rows, columns)
    if len(parts) < 2:
        return np.full(parts.shape[1:], np.nan)
    return parts.std(0, ddof=1) / len(parts) ** 0.5


def _missing(kept: xr.Dataset, rows: str, columns: str) -> StoreError:
    pairs = [str(v)[6:].replace("_", " × ") for v in kept if str(v).startswith("cross_")]
    return StoreError(
        message(
            expected=f"the covariance of {rows} with {columns} among those kept",
            got=", ".join(pairs) or "none",
            do="name that pair when the run is made",
        )
    )


def _means(kept: xr.Dataset, name: str, blocks: Sequence[int]) -> ndarray:
    if name != "loss":
        if f"mean_{name}" not in kept:
            raise _missing(kept, name, name)
        return kept[f"mean_{name}"].values[:, list(blocks)]
    subsets = [str(s) for s in kept["subset"].values]
    return np.stack([kept[f"mean_{s}"].values[:, list(blocks)] @ kept[f"share_{s}"].values for s in subsets], -1)
