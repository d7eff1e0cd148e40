"""Text whose tokens are coloured by influence or susceptibility."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.bif import bif
from bitsandnats.estimators.susceptibility import Susceptibility
from bitsandnats.report.explore.packing import packed
from bitsandnats.report.explore.section import Section, reliability_line, row_reliability
from bitsandnats.store.previews import SEPARATOR

CELLS = 1_500_000
"""Values that one section holds; of more, those of the items that respond most."""

_SAMPLES = 200  # rows, where rows are training samples


class Side(NamedTuple):
    """The tokens of one subset within the columns of a matrix."""

    name: str
    columns: xr.Dataset
    first: int


def has_tokens(tree: xr.DataTree, name: str) -> bool:
    """Whether a subset's columns are tokens whose text was kept."""
    columns = tree[f"subsets/{name}"].dataset
    return columns.attrs.get("preview") == "tokens" and bool((columns["token"].values >= 0).all())


def influence_tokens(tree: xr.DataTree, side: str) -> Section:
    """Tokens of the training samples coloured by their influence on a query, or of queries by a sample's."""
    found = bif(tree)
    known = tree[f"subsets/{side}"].dataset
    other = tree[f"subsets/{'query' if side == 'train' else 'train'}"].dataset
    matrix = found.bif if side == "train" else found.bif.T
    rows = np.arange(len(matrix))
    if side == "query":
        rows = np.sort(np.argsort(-np.abs(matrix).sum(1), kind="stable")[:_SAMPLES])
    judged = row_reliability(found.reliability) if side == "train" else np.full(len(matrix), np.nan)
    what = "query" if side == "train" else "sample"
    names = [f"{what} {item}" for item in other["item"].values[rows]]
    data = _texts(matrix[rows], names, judged[rows], [Side("", known, 0)])
    of = "training samples" if side == "train" else "queries"
    by = "the chosen query" if side == "train" else "each token, of the chosen training sample"
    return Section(
        name=f"tokens-{side}",
        kind="tokens",
        title=f"Token by token: {of}",
        said=f"Tokens of {of}, coloured by their influence on {by}. "
        if side == "train"
        else f"Tokens of {of}, coloured by the influence on {by}. ",
        help=_HELP,
        verdict=found.reliability.verdict,
        numbers=reliability_line(found.reliability, "{:,} × {:,}".format(*found.bif.shape)),
        data=data | {"unit": " nats²", "low": "helps", "high": "harms", "judged": side == "train"},
    )


def susceptibility_tokens(tree: xr.DataTree, found: Susceptibility, probes: Sequence[str]) -> Section:
    """Tokens of the probes coloured by a component's response."""
    names = found.dataset["column_probe"].values
    sides = [Side(p, tree[f"subsets/{p}"].dataset, int(np.argmax(names == p))) for p in probes]
    rows = [str(name) for name in found.dataset["component"].values]
    data = _texts(found.standardised(), rows, row_reliability(found.reliability), sides)
    return Section(
        name="tokens-susceptibility",
        kind="tokens",
        title="Token by token: responses of a component",
        said="Tokens of the probes, coloured by the chosen component’s susceptibility less its mean and over its s.d. ",
        help=_HELP,
        verdict=found.reliability.verdict,
        numbers=reliability_line(
            found.reliability, "{:,} components × {:,} tokens".format(*found.susceptibility.shape)
        ),
        data=data | {"unit": " s.d.", "low": "lowers its cost", "high": "raises its cost", "judged": True},
    )


def _texts(
    matrix: Float[ndarray, "row column"], names: list[str], judged: Float[ndarray, " row"], sides: Sequence[Side]
) -> dict[str, Any]:
    """The items that respond most, as many as fit: their tokens, and the values of those of one weight."""
    size = np.abs(matrix)
    span = np.quantile(size, 0.99, axis=1)
    span = np.where(span > 0, span, 1.0)
    found = []
    for side in sides:
        item, token = side.columns["item"].values.astype(int), side.columns["token"].values.astype(int)
        for i in np.unique(item):
            own = np.flatnonzero(item == i)
            strength = float((size[:, side.first + own] / span[:, None]).sum(0).max())
            found.append((strength, side, int(i), side.first + own, token[own]))
    total = len(found)
    chosen, cells = [], 0
    for place in sorted(range(total), key=lambda k: -found[k][0]):
        cells += len(found[place][3]) * len(matrix)
        if chosen and cells > CELLS:
            break
        chosen.append(place)
    items, columns, width = [], [], 0
    for _, side, i, own, token in (found[place] for place in sorted(chosen)):
        tokens = str(side.columns["preview"].values[i]).split(SEPARATOR)
        at = np.full(len(tokens), -1)
        inside = token + 1 < len(tokens)  # the loss of token t + 1 stands at t
        at[token[inside] + 1] = width + np.flatnonzero(inside)
        items.append({"name": " ".join(filter(None, (side.name, f"item {i}"))), "tokens": tokens, "at": at.tolist()})
        columns.append(own)
        width += len(own)
    kept = matrix[:, np.concatenate(columns)]
    reach = np.maximum(np.abs(kept).max(1), 1e-300)
    return {
        "rows": names,
        "items": items,
        "total": total,
        "width": width,
        "values": packed(kept / reach[:, None], "i16", 1 / 32767),
        "reach": reach.tolist(),
        "span": span.tolist(),
        "reliability": packed(judged, "i8", 0.01),
    }


def _size(found: Susceptibility) -> str:
    return "{:,} components × {:,} tokens".format(*found.susceptibility.shape)


_HELP = (
    "The colour of a token is that of the loss of predicting it from those before; the first has none. Rest the "
    "pointer on a token, or move along the text with the arrow keys, for its value."
)
