"""The map of inputs: where each one lies, what it is, and which are nearest to it."""

from typing import Any

import numpy as np
import xarray as xr

from bitsandnats.estimators.embedding import principal_embedding
from bitsandnats.estimators.kernel_map import kernel_map
from bitsandnats.estimators.reliability import Lines
from bitsandnats.report.explore.packing import described, packed
from bitsandnats.report.explore.section import Section, reliability_line, row_reliability

NEAR = 10
"""Neighbours that are listed."""

_METHODS = {
    "umap": "Laid out by UMAP (seed {seed}) from distances √(2 − 2R): neighbours and groups mean something, distances "
    "between groups and the axes do not.",
    "principal": "Laid out by the first two principal coordinates of R, since umap-learn was not installed when the "
    "run was stored; groups overlap more than on a map by UMAP. The lists of neighbours are the same.",
}


def kernel_section(tree: xr.DataTree, name: str) -> Section:
    """The section of one subset's kernel."""
    near = kernel_map(tree, name, count=NEAR)
    columns = tree[f"subsets/{name}"].dataset
    if "maps" in tree.children and name in tree["maps"].children:
        stored = tree[f"maps/{name}"].dataset
        xy, how = np.stack([stored["x"].values, stored["y"].values], 1), dict(stored.attrs)
    else:
        xy, how = principal_embedding(near).coordinates, {"method": "principal", "seed": 0}
    inputs = len(xy)
    rows = row_reliability(near.reliability)
    low, high = xy.min(0), xy.max(0)
    place = (xy - (low + high) / 2) / max(float((high - low).max()), 1e-12) + 0.5
    item = columns["item"].values.astype(int)
    data: dict[str, Any] = {
        "count": inputs,
        "near_count": near.neighbours.shape[1],
        "x": packed(np.clip(place[:, 0] * 65535, 0, 65535).round(), "u16"),
        "y": packed(np.clip(place[:, 1] * 65535, 0, 65535).round(), "u16"),
        "near": packed(near.neighbours, "u16" if inputs < 65536 else "u32"),
        "r": packed(near.correlation, "i16", 1e-4),
        "variance": packed(near.variance, "f32"),
        "reliability": packed(rows, "i8", 0.01),
        "poor": int((~(rows >= Lines().poor)).sum()),
        "item": packed(item, "u32"),
        "thumbs_from": max(2.5, inputs**0.5 / 6),  # zoom at which points give way to images
        **described(columns, item.tolist()),
    }
    return Section(
        name=f"map-{name}",
        kind="map",
        title="Which inputs the network treats alike" + ("" if name == "inputs" else f": {name}"),
        said="Each point is an input; two are near each other where their losses rise and fall together as the weights "
        "move within the basin (R, the correlation of their losses). "
        + _METHODS[how["method"]].format(seed=how["seed"]),
        help="Rest the pointer on a point to see the input; click, or use the arrow keys, to choose one and list its "
        "nearest by R. Plus and minus zoom, 0 shows all, a key of the legend shows one label alone.",
        verdict=near.reliability.verdict,
        numbers=reliability_line(near.reliability, f"{inputs:,} inputs", " of R"),
        data=data,
    )
