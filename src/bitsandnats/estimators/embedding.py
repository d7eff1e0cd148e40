"""A map of inputs: points near each other where the loss kernel says that the inputs are alike."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import InputError, message
from bitsandnats.estimators.kernel_map import KernelMap

_FEWEST = 5  # inputs that UMAP can lay out
_NEAR = 15
_SPREAD = 2.0  # of the start, over the distance at which UMAP ceases to push points apart: groups stay near each other


class Embedding(NamedTuple):
    """Places of inputs on a map.

    Attributes:
        coordinates: of each input; their units mean nothing.
        method: `umap`, or `principal`: the first two principal coordinates of R.
        seed: of UMAP.
    """

    coordinates: Float[ndarray, "input 2"]
    method: str
    seed: int


def umap_embedding(near: KernelMap, *, seed: int = 0) -> Embedding:
    r"""UMAP of inputs at distances √(2 − 2R) between the features whose correlation R is.

    It starts from the principal coordinates. Distances on the map mean little, groups and neighbours more; the same
    seed gives the same map. The first call of a process takes half a minute, in which umap-learn is compiled. Source:
    McInnes, Healy & Melville, arXiv 1802.03426.

    Args:
        near: the nearest inputs, 15 where there are as many.
        seed: of its random choices.

    Raises:
        InputError: umap-learn is not installed, or fewer than 5 inputs.
    """
    inputs = len(near.neighbours)
    if inputs < _FEWEST:
        raise InputError(message(expected=f"at least {_FEWEST} inputs", got=str(inputs), do="give more"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what is not asked of it: TensorFlow, transforms of new points
        try:
            from umap import UMAP
        except ImportError as error:
            do = "run: pip install 'bitsandnats[kernel]'"
            raise InputError(message(expected="umap-learn", got="none installed", do=do)) from error
        count = min(_NEAR, near.neighbours.shape[1])
        own = np.arange(inputs)[:, None]
        index = np.concatenate([own, near.neighbours[:, : count - 1]], 1).astype(np.int32)
        apart = np.sqrt(np.maximum(2 - 2 * near.correlation[:, : count - 1], 0))
        distance = np.concatenate([np.zeros((inputs, 1)), apart], 1).astype(np.float32)
        spread = near.start.std(0)
        start = near.start / np.where(spread > 0, spread, 1) * _SPREAD
        umap = UMAP(
            n_neighbors=count,
            min_dist=0.1,
            init=start.astype(np.float32),  # pyright: ignore[reportArgumentType]  # an array is documented
            precomputed_knn=(index, distance),
            random_state=seed,
            n_jobs=1,
        )
        found = umap.fit_transform(near.start.astype(np.float32))
    return Embedding(np.asarray(found, dtype=np.float64), "umap", seed)


def principal_embedding(near: KernelMap) -> Embedding:
    """The first two principal coordinates of R: needs no further library, and shows groups less well."""
    return Embedding(near.start, "principal", 0)
