"""Maps of inputs that are kept with a run: laying out takes a minute, reading a report should not."""

import importlib.util

import numpy as np
import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.estimators.covariance import has_pair
from bitsandnats.estimators.embedding import Embedding, principal_embedding, umap_embedding
from bitsandnats.estimators.kernel_map import kernel_map

MATRIX = 1024
"""Inputs beyond which the verb `kernel` keeps traces, of which the matrix of all pairs need not be made."""

_FEWEST = 5


def mapped(tree: xr.DataTree) -> list[str]:
    """The subsets of a run that have a kernel: items whose pairs, or whose traces, were kept."""
    if "moments" not in tree.children:
        return []
    named = tree["subsets"].children
    return [
        name
        for name in named
        if named[name].dataset.sizes["column"] >= _FEWEST
        and (has_pair(tree, name, name) or ("traces" in tree.children and named[name].attrs.get("per") == "item"))
    ]


def with_maps(tree: xr.DataTree, *, seed: int = 0, progress: Progress = silent) -> xr.DataTree:
    """The run with a map of each subset that has a kernel: by UMAP where umap-learn is installed.

    Args:
        tree: the run.
        seed: of UMAP.
        progress: told of the work as it is done.
    """
    there = umap_there()
    parts = {}
    names = mapped(tree)
    for done, name in enumerate(names):
        progress("map", done, len(names))
        near = kernel_map(tree, name)
        found = umap_embedding(near, seed=seed) if there else principal_embedding(near)
        parts[f"maps/{name}"] = as_stored(found)
    return tree if not parts else xr.DataTree.from_dict({**_parts(tree), **parts})


def umap_there() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def as_stored(found: Embedding) -> xr.Dataset:
    """A map as a run holds it."""
    place = {axis: ("column", found.coordinates[:, k].astype(np.float32)) for k, axis in enumerate("xy")}
    return xr.Dataset(place, attrs={"method": found.method, "seed": found.seed})


def _parts(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    return {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
