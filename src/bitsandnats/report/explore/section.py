"""A section of the page to explore: its words, its verdict, its data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.reliability import Lines, Reliability
from bitsandnats.estimators.verdict import Verdict
from bitsandnats.report.numbers import decimals, number


@dataclass(frozen=True)
class Section:
    """One thing to explore.

    Attributes:
        name: of its anchor and its data.
        kind: which script draws it.
        title: its heading.
        said: what it shows, and how it may mislead.
        help: how it is used.
        verdict: on what it shows.
        numbers: the figures behind it.
        data: what its script reads.
    """

    name: str
    kind: str
    title: str
    said: str
    help: str
    verdict: Verdict
    numbers: str
    data: dict[str, Any]


def row_reliability(known: Reliability) -> Float[ndarray, " row"]:
    """Of each row, the worse of the two splits; NaN where neither is known."""
    return np.fmin(known.over_chains, known.over_draws)


def reliability_line(known: Reliability, what: str, of: str = "") -> str:
    """What a matrix is of, and how far it reproduces, in one line."""
    rows = row_reliability(known)
    poor = int((~(rows >= Lines().poor)).sum())
    said = f"{what} · split-half reliability{of} {decimals(known.overall)} · ESS {number(known.ess)}"
    said += f" · R̂ {decimals(known.rhat)}"
    return said + (f" · {poor:,} of {len(rows):,} rows do not reproduce" if poor else " · every row reproduces")
