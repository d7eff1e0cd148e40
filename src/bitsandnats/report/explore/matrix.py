"""A matrix as a field of colours, its rows and columns in the order of a hierarchical clustering."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from bitsandnats.estimators.bif import bif, normalised_reliability
from bitsandnats.estimators.susceptibility import Susceptibility
from bitsandnats.estimators.verdict import Verdict
from bitsandnats.report.explore.packing import columns_described, packed
from bitsandnats.report.explore.section import Section, reliability_line, row_reliability

ROWS, COLUMNS = 500, 2500
"""Rows and columns that are shown, at most; of more, evenly spaced ones."""

_OPTIMAL = 300  # leaves that are turned so that neighbours are as alike as can be


def influence_matrix(tree: xr.DataTree) -> Section:
    """Normalised influence, queries × training samples."""
    found = bif(tree)
    rows, columns = (_spaced(size, most) for size, most in zip(found.bif.shape, (ROWS, COLUMNS), strict=True))
    place = tree["subsets/query"].dataset
    names = [
        f"query {item}" + (f":{token}" if token >= 0 else "")
        for item, token in zip(place["item"].values[rows], place["token"].values[rows], strict=True)
    ]
    words = {
        "name": "influence-matrix",
        "title": "The whole matrix of influence",
        "said": "Normalised influence of each training sample (column) on each query (row): blue helps, orange harms.",
    }
    known = normalised_reliability(found)
    shown = columns_described(tree["subsets/train"].dataset, columns)
    numbers = reliability_line(known, "{:,} queries × {:,} training samples".format(*found.bif.shape))
    data = field(found.normalised[np.ix_(rows, columns)], names, row_reliability(known)[rows])
    data |= {"columns": shown, "what": "sample", "unit": ""}
    return _section(words, data, known.verdict, numbers, found.bif.shape)


def response_matrix(tree: xr.DataTree, found: Susceptibility, probes: Sequence[str]) -> Section:
    """Standardised responses, components × items or tokens of the probes."""
    data = found.dataset
    columns = _spaced(found.susceptibility.shape[1], COLUMNS)
    names = [str(name) for name in data["component"].values]
    judged = row_reliability(found.reliability)
    words = {
        "name": "responses",
        "title": "How components respond to data",
        "said": "Susceptibility of each component (row) to each item or token (column), less the row’s mean and over "
        "its s.d., since each row is right up to a factor: compare along rows. Orange: a shift of the data towards it "
        "raises what the component’s weights cost; blue: lowers it.",
    }
    chosen = field(found.standardised()[:, columns], names, judged)
    responses = [
        {"name": name, "values": [[_plain(c), _plain(e)] for c, e in zip(chi, se, strict=True)]}
        for name, chi, se in zip(names, found.response, data["response_se"].values, strict=True)
    ]
    further = {
        "columns": probe_columns(tree, found, probes, columns),
        "what": "item",
        "unit": " s.d.",
        "responses": responses,
        "probes": list(probes),
    }
    shape = found.susceptibility.shape
    numbers = reliability_line(found.reliability, "{:,} components × {:,} losses".format(*shape))
    return _section(words, chosen | further, found.verdict, numbers, shape)


def probe_columns(
    tree: xr.DataTree, found: Susceptibility, probes: Sequence[str], columns: Int[ndarray, " chosen"]
) -> dict[str, Any]:
    """What is known of some columns, which are those of the probes one after another."""
    names = found.dataset["column_probe"].values
    parts = []
    for probe in probes:
        first = int(np.argmax(names == probe))
        own = columns[names[columns] == probe] - first
        parts.append(columns_described(tree[f"subsets/{probe}"].dataset, own) if len(own) else {})
    joined: dict[str, Any] = {"group": packed(np.searchsorted(_firsts(names, probes), columns, "right") - 1, "u8")}
    joined["groups"] = list(probes)
    for key in ("texts", "marks"):
        if all(part.get(key) for part in parts if part):
            joined[key] = [text for part in parts for text in part.get(key, [])]
    for key in ("item", "token"):
        joined[key] = packed(np.maximum(found.dataset[f"column_{key}"].values[columns], 0), "u32")
    if (found.dataset["column_token"].values < 0).all():
        del joined["token"]
    return joined


def field(matrix: Float[ndarray, "row column"], names: list[str], judged: Float[ndarray, " row"]) -> dict[str, Any]:
    """A matrix packed, with the order of its rows and columns; colours span the 99th percentile of its sizes."""
    span = float(np.quantile(np.abs(matrix), 0.99)) or 1.0
    return {
        "rows": names,
        "width": matrix.shape[1],
        "values": packed(np.clip(matrix, -4 * span, 4 * span), "i16", 4 * span / 32767),
        "span": span,
        "row_order": packed(cluster_order(matrix), "u16"),
        "column_order": packed(cluster_order(matrix.T), "u16"),
        "reliability": packed(judged, "i8", 0.01),
    }


def cluster_order(matrix: Float[ndarray, "row column"]) -> Int[ndarray, " row"]:
    """Rows in the order of a hierarchical clustering: average linkage of 1 − correlation."""
    rows = len(matrix)
    if rows < 3 or matrix.shape[1] < 2:
        return np.arange(rows)
    away = matrix - matrix.mean(1, keepdims=True)
    size = np.linalg.norm(away, axis=1, keepdims=True)
    unit = np.divide(away, size, out=np.zeros_like(away), where=size > 0)
    apart = pdist(unit, "sqeuclidean") / 2  # 1 − correlation; rows that stand still are 0.5 from all others
    return np.asarray(leaves_list(linkage(apart, "average", optimal_ordering=rows <= _OPTIMAL)))


def _section(
    words: dict[str, str], data: dict[str, Any], verdict: Verdict, numbers: str, shape: tuple[int, int]
) -> Section:
    shown = (len(data["rows"]), data["width"])
    there, these = ("{:,} × {:,}".format(*size) for size in (shape, shown))
    part = "" if shown == shape else f" Of {there} evenly spaced {these} are shown."
    return Section(
        name=words["name"],
        kind="matrix",
        title=words["title"],
        said=words["said"] + " Rows and columns are in the order of a hierarchical clustering (average linkage of "
        f"1 − correlation): noise has an order too, so look at the rows’ reliability first.{part}",
        help="Rest the pointer on a cell for its value; click, or use the arrow keys, to choose one and see its column "
        "beside all rows. Plus and minus stretch the columns.",
        verdict=verdict,
        numbers=numbers,
        data=data,
    )


def _spaced(size: int, most: int) -> Int[ndarray, " chosen"]:
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))


def _firsts(names: ndarray, probes: Sequence[str]) -> ndarray:
    return np.array([int(np.argmax(names == probe)) for probe in probes])


def _plain(value: float) -> float | None:
    return float(f"{float(value):.4g}") if np.isfinite(value) else None
