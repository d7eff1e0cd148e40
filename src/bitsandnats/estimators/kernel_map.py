"""The nearest inputs by the loss kernel, of more inputs than a matrix of all pairs is kept for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy import ndarray

from bitsandnats.errors import InputError, StoreError, message
from bitsandnats.estimators.bif import check_moved
from bitsandnats.estimators.covariance import correlation, covariance, has_pair, moments_of, variance
from bitsandnats.estimators.reliability import Estimator, Reliability, of_correlation, reliability
from bitsandnats.estimators.verdict import Verdict

_COLUMNS = 1000  # that rows are compared on, where there are more
_BLOCK = 512  # rows of R that are in memory at once

Rows = Callable[[int, int], Float[ndarray, "row input"]]
"""(first, last) -> those rows of R, float32."""


@dataclass(frozen=True)
class KernelMap:
    """Each input's nearest ones.

    Attributes:
        neighbours: of each input, the nearest first; itself left out.
        correlation: R to each of them.
        variance: of each input's loss, squared nats.
        start: the first two principal coordinates of R.
        reliability: how far the rows of R reproduce, without the diagonal.
        subset: name of the inputs.
    """

    neighbours: Int[ndarray, "input near"]
    correlation: Float[ndarray, "input near"]
    variance: Float[ndarray, " input"]
    start: Float[ndarray, "input 2"]
    reliability: Reliability
    subset: str

    @property
    def verdict(self) -> Verdict:
        """May the kernel be used?"""
        return self.reliability.verdict

    def __str__(self) -> str:
        return f"loss kernel of {len(self.neighbours)} inputs  {self.reliability}"


def kernel_map(tree: xr.DataTree, inputs: str = "inputs", *, count: int = 15) -> KernelMap:
    """The nearest inputs of each, by R: from the pair (inputs, inputs) where it was kept, else from the traces.

    What reproduces is judged of R, which is what is shown: a covariance's rows are ruled by the few inputs whose losses
    move most. From traces no matrix of all pairs is made: R is the product of the losses' deviations, a block of
    rows at a time; rows' reliability is then judged on 1,000 evenly spaced columns. Both ways give the same numbers
    (`tests/truth/test_loss_kernel.py`).

    Args:
        tree: a run that followed the inputs.
        inputs: name of the subset.
        count: neighbours of each.

    Raises:
        StoreError: neither their covariance nor the traces were kept.
        DataError: no input's loss moved at all.
        InputError: fewer than 3 inputs.
    """
    own = variance(tree, inputs)
    check_moved(own, "inputs")
    if len(own) < 3:
        raise InputError(message(expected="at least 3 inputs", got=str(len(own)), do="give more"))
    if has_pair(tree, inputs, inputs):
        whole = covariance(tree, inputs, inputs)
        r = correlation((whole + whole.T) / 2, np.diag(whole), np.diag(whole)).astype(np.float32)
        judged = reliability(
            tree, of_correlation(tree, inputs, inputs), row_variance=own, what="inputs", skip_diagonal=True
        )
        near = _nearest(lambda first, last: r[first:last], len(own), count)
        return KernelMap(*near, own, _leading(r), judged, inputs)
    unit = _unit(deviations(tree, inputs).astype(np.float32))
    judged = reliability(tree, _on_columns(tree, inputs), row_variance=own, what="inputs")
    near = _nearest(lambda first, last: unit[first:last] @ unit.T, len(own), count)
    return KernelMap(*near, own, _principal(unit), judged, inputs)


def deviations(
    tree: xr.DataTree,
    name: str,
    *,
    chains: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
) -> Float[ndarray, "column draw"]:
    """Each loss less its chain's mean over the chosen draws, nats; chains after one another.

    Raises:
        StoreError: the traces were not kept.
    """
    if "traces" not in tree.children:
        raise StoreError(
            message(expected="the traces or all pairs of " + name, got="neither", do="ask for one when the run is made")
        )
    kept = moments_of(tree)
    first = 0
    for other in (str(s) for s in kept["subset"].values):
        width = kept[f"mean_{other}"].shape[-1]
        if other == name:
            break
        first += width
    values = tree["traces"].dataset["losses"].values[:, :, first : first + kept[f"mean_{name}"].shape[-1]]
    if blocks is not None:
        count = kept["count"].values[0].astype(int)  # looks of each block, the same in every chain
        ends = np.cumsum(count)
        looks = np.concatenate([np.arange(ends[b] - count[b], ends[b]) for b in blocks])
        values = values[:, looks]
    values = values if chains is None else values[list(chains)]
    values = values.astype(np.float64)
    return np.moveaxis(values - values.mean(1, keepdims=True), 2, 0).reshape(values.shape[2], -1)


def _unit(away: Float[ndarray, "column draw"]) -> Float[ndarray, "column draw"]:
    size = np.sqrt(np.square(away).sum(1, keepdims=True))
    return np.divide(away, size, out=np.zeros_like(away), where=size > 0)


def _on_columns(tree: xr.DataTree, name: str) -> Estimator:
    """R with evenly spaced columns; an input's own entry gives way to its row's mean, to say nothing."""

    def matrix(chains: Sequence[int] | None, blocks: Sequence[int] | None) -> ndarray:
        away = _unit(deviations(tree, name, chains=chains, blocks=blocks).astype(np.float32))
        chosen = np.unique(np.linspace(0, len(away) - 1, min(len(away), _COLUMNS)).round().astype(int))
        found = away @ away[chosen].T
        places = np.arange(len(chosen))
        found[chosen, places] = 0
        found[chosen, places] = found[chosen].sum(1) / max(len(chosen) - 1, 1)
        return found.astype(np.float64)

    return matrix


def _nearest(rows: Rows, inputs: int, count: int) -> tuple[Int[ndarray, "input near"], Float[ndarray, "input near"]]:
    count = min(count, inputs - 1)
    index, value = np.zeros((inputs, count), np.int64), np.zeros((inputs, count))
    for first in range(0, inputs, _BLOCK):
        block = np.array(rows(first, min(first + _BLOCK, inputs)))
        own = np.arange(len(block))
        block[own, first + own] = -np.inf
        some = np.argpartition(-block, count - 1, axis=1)[:, :count]
        order = np.lexsort((some, -np.take_along_axis(block, some, 1)), axis=1)
        best = np.take_along_axis(some, order, 1)
        index[first : first + len(block)] = best
        value[first : first + len(block)] = np.take_along_axis(block, best, 1)
    return index, value


def _leading(r: Float[ndarray, "input input"]) -> Float[ndarray, "input 2"]:
    """Principal coordinates: the centred matrix's first two eigenvectors, each times √ of its eigenvalue."""
    from scipy.linalg import eigh

    mean = r.mean(0)
    centred = (r - mean[:, None] - mean[None, :] + mean.mean()).astype(np.float64)
    values, vectors = eigh(centred, subset_by_index=[len(r) - 2, len(r) - 1])
    return _signed(vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0)))


def _principal(unit: Float[ndarray, "input draw"]) -> Float[ndarray, "input 2"]:
    """The same from features whose inner products are R."""
    centred = (unit - unit.mean(0)).astype(np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return _signed(centred @ vectors[:, ::-1][:, :2])


def _signed(coordinates: Float[ndarray, "input 2"]) -> Float[ndarray, "input 2"]:
    """With the largest entry of each coordinate positive, so that a map does not depend on the solver."""
    largest = coordinates[np.abs(coordinates).argmax(0), [0, 1]]
    return coordinates * np.where(largest < 0, -1.0, 1.0)
