"""Statistical components of a reading's response matrix, kept with it."""

from contextlib import suppress
from typing import Any

import numpy as np

from bitsandnats.errors import DataError
from bitsandnats.estimators.response_components import independent_components, principal_components
from bitsandnats.estimators.susceptibility import Susceptibility
from bitsandnats.experiments.heads.units import Row

RANK = 3
"""How many of each family."""

_FAMILIES = ("PC", "IC", "PC of specific")


def kept_components(found: Susceptibility) -> dict[str, Any]:
    """Loadings, scores and explained shares by family; independent ones only where they are found."""
    rank = min(RANK, *found.susceptibility.shape)
    made = {"PC": found.principal(rank), "PC of specific": principal_components(found.specific(), rank)}
    with suppress(DataError):
        made["IC"] = independent_components(found.susceptibility, rank)
    kept: dict[str, Any] = {}
    for family, own in made.items():
        kept[f"{family} loadings"] = (("component", "place"), own.loadings)
        kept[f"{family} scores"] = (("column", "place"), own.scores.astype(np.float32))
        kept[f"{family} explained"] = ("place", own.explained)
    return kept


def families_of(reading: Row) -> list[str]:
    """Which families a reading has."""
    return [family for family in _FAMILIES if f"{family} loadings" in reading["data"]]
