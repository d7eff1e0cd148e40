"""The tokens that heads, and statistical components of the response matrix, stand for."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from bitsandnats.experiments.heads.text import shown
from bitsandnats.experiments.heads.training import held_out
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.susceptibility.components import families_of
from bitsandnats.experiments.susceptibility.plan import Plan

_TOP = 4


def strongest(plan: Plan, reading: Row, roles: Sequence[str]) -> list[Row]:
    """Tokens, with what stands before them, that heads and statistical components respond to most.

    Of each head the most negative specific responses; of each component the largest scores in either direction.

    Args:
        plan: of the run.
        reading: per token.
        roles: of the heads, by ablation.
    """
    data = reading["data"]
    texts = {kind: held_out((kind,), plan.probe, seed=reading["seed"]).tokens for kind in plan.recipe.probes}
    places = zip(*(data[f"column_{name}"].values for name in ("probe", "item", "token")), strict=True)
    columns = [(str(probe), int(item), int(token)) for probe, item, token in places]

    def said(values: ndarray) -> list[str]:
        found: dict[str, None] = {}
        for j in np.argsort(values):
            probe, item, token = columns[j]
            before = [shown(int(t)) for t in texts[probe][item, max(0, token - 3) : token + 1]]
            found[f"{' '.join(before)} → {shown(int(texts[probe][item, token + 1]))}"] = None
            if len(found) == _TOP:
                break
        return list(found)

    rows = [
        {"what": str(head), "role": roles[i], "tokens": said(data["specific"].values[i])}
        for i, head in enumerate(data["component"].values)
    ]
    for family in families_of(reading):
        for place, scores in enumerate(data[f"{family} scores"].values.T):
            rows.append({"what": f"{family} {place + 1}", "role": "—", "tokens": said(-np.abs(scores))})
    return rows
