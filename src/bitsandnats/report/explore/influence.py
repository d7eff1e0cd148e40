"""The table of influence: which training samples help and harm each query most, and which look suspicious."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy import ndarray

from bitsandnats.estimators.bif import SIGN, Influence, bif, normalised_reliability
from bitsandnats.report.explore.packing import columns_described, packed
from bitsandnats.report.explore.section import Section, reliability_line, row_reliability

LISTED = 6
"""Samples that are listed on each side of a query."""

QUERIES = 2000
"""Queries that a page holds; of more, evenly spaced ones."""

_SUSPECTS = 24


def influence_section(tree: xr.DataTree) -> Section:
    """The section of the influence of subset `train` on subset `query`."""
    found = bif(tree)
    queries, samples = found.bif.shape
    rows = np.unique(np.linspace(0, queries - 1, min(queries, QUERIES)).round().astype(int))
    lists = {name: _ends(matrix[rows]) for name, matrix in (("raw", found.bif), ("normalised", found.normalised))}
    own = found.dataset["self_influence"].values
    suspects = np.argsort(own, kind="stable")[:_SUSPECTS]
    used = np.unique(np.concatenate([suspects, *(part.ravel() for both in lists.values() for part in both)]))
    data: dict[str, Any] = {
        "count": len(rows),
        "listed": lists["raw"][0].shape[1],
        "queries": columns_described(tree["subsets/query"].dataset, rows),
        "train": columns_described(tree["subsets/train"].dataset, used),
        "reliability_raw": packed(row_reliability(found.reliability)[rows], "i8", 0.01),
        "reliability_normalised": packed(row_reliability(normalised_reliability(found))[rows], "i8", 0.01),
        "suspects": packed(np.searchsorted(used, suspects), "u32"),
        "self": packed(-own[suspects], "f32"),
        "self_median": float(np.median(-own)),
    }
    for name, ends in lists.items():
        for side, chosen in zip(("helpful", "harmful"), ends, strict=True):
            data[f"{name}_{side}"] = _listed(found, rows, chosen, used)
    shown = f" Of {queries:,} queries {len(rows):,} evenly spaced ones are shown." if len(rows) < queries else ""
    return Section(
        name="influence",
        kind="influence",
        title="Which training samples help and harm",
        said=f"{SIGN[:1].upper()}{SIGN[1:]}. In brackets the standard error, from the scatter of the chains. "
        "Normalised influence is the correlation of the two losses with its sign turned: it leaves out how much each "
        f"loss moves at all, and ranks differently.{shown}",
        help="The samples listed are the extremes of many: their values are too large on average, more so where the "
        "row’s reliability is low. Bold: a sample of another label than the query’s. Self-influence is the variance of "
        "a sample’s own loss: largest for samples that are memorised, rare or mislabelled.",
        verdict=found.reliability.verdict,
        numbers=reliability_line(found.reliability, f"{queries:,} queries × {samples:,} training samples"),
        data=data,
    )


def _ends(matrix: Float[ndarray, "row column"]) -> tuple[Int[ndarray, "row near"], Int[ndarray, "row near"]]:
    """The most negative and the most positive entries of each row."""
    count = min(LISTED, matrix.shape[1])
    some = np.argsort(matrix, axis=1, kind="stable")
    return some[:, :count], some[:, ::-1][:, :count]


def _listed(found: Influence, rows: ndarray, chosen: Int[ndarray, "row near"], used: ndarray) -> dict[str, Any]:
    at = rows[:, None]
    return {
        "index": packed(np.searchsorted(used, chosen), "u32"),
        "raw": packed(found.bif[at, chosen], "f32"),
        "se": packed(found.dataset["bif_se"].values[at, chosen], "f32"),
        "normalised": packed(found.normalised[at, chosen], "i16", 1e-4),
    }
