"""The study's tables: ratios of block energies with their controls, and kernels of classes against the hierarchy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.kernel_blocks import Energies, energy_ratio, ratios_differ
from bitsandnats.estimators.loss_kernel import Mantel, mantel
from bitsandnats.experiments.images import CLASSES
from bitsandnats.experiments.loss_kernel.hierarchy import tree_distance
from bitsandnats.experiments.loss_kernel.plan import KINDS, P_AIM, RELIABLE

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""

PERMUTATIONS = 1999

HIERARCHY = ("network", "noise", "network, squares", "noise, squares", "pixels")
"""Kernels of classes: mean correlations, or mean squares of correlations without what chance adds."""


def block_rows(rows: Sequence[Row]) -> list[Row]:
    """One row a network and kind: the ratio of energies, its interval, and p against the network at nβ = 0.

    Args:
        rows: of finished units.
    """
    listed = []
    for row in rows:
        if row["part"] != "tasks" or row["failed"]:
            continue
        own = {k: Energies(row["data"][f"cross_{k}"].values, row["data"][f"within_{k}"].values) for k in KINDS}
        for kind in KINDS:
            ratio = energy_ratio(own[kind])
            facts = {"reliability": None, "purity": None, **row["kinds"][kind]}
            p = None if kind == "noise" else ratios_differ(own[kind], own["noise"], permutations=PERMUTATIONS)
            named = {"network": row["model"], "kind": kind, "ratio": ratio.value, "low": ratio.low, "high": ratio.high}
            named |= {"within": float(own[kind].within.mean()), "p": p}
            keep = ("reliability", "purity", "ess", "rhat", "acceptance", "train_loss", "accuracy", "weights")
            listed.append(named | {name: facts.get(name) for name in keep})
    return sorted(listed, key=lambda r: (r["network"], KINDS.index(r["kind"])))


def hierarchy_rows(rows: Sequence[Row]) -> list[Row]:
    """One row a classifier: Spearman and p of its kernel, of the controls, and given the pixels.

    Args:
        rows: of finished units.
    """
    names = CLASSES["fashion"]
    distance = tree_distance(names)
    listed = []
    for row in sorted(rows, key=lambda r: r["model"]):
        if row["part"] != "classes" or row["failed"]:
            continue
        kernels = {name: row["data"][name].values for name in HIERARCHY}
        tests = {name: mantel(k, distance, permutations=PERMUTATIONS)._asdict() for name, k in kernels.items()}
        for name in ("network", "network, squares"):
            given = partial_mantel(kernels[name], distance, kernels["pixels"])
            tests[f"{name}, given pixels"] = given._asdict()
        above = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
        listed.append(
            {
                "network": row["model"],
                "tests": tests,
                "kinds": row["kinds"],
                "n": row["n"],
                "inputs": row["inputs"],
                "weights": row["weights"],
                "cells": [
                    {"one": names[i], "other": names[j], "value": float(kernels["network"][i, j])}
                    for i in range(len(names))
                    for j in range(len(names))
                ],
                "pairs": [
                    {
                        "network": row["model"],
                        "one": names[i],
                        "other": names[j],
                        "distance": float(distance[i, j]),
                        "value": float(kernels["network"][i, j]),
                    }
                    for i, j in above
                ],
            }
        )
    return listed


def partial_mantel(
    kernel: Float[ndarray, "one other"],
    distance: Float[ndarray, "one other"],
    given: Float[ndarray, "one other"],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Mantel:
    """Rank correlation of a kernel with minus a distance given another similarity; p by permuting the distance.

    Checked in `tests/experiments/test_loss_kernel_study.py`.

    Args:
        kernel: similarity of classes.
        distance: of the same.
        given: the other similarity.
        permutations: of the classes.
        seed: of the permutations.
    """
    from scipy.stats import rankdata  # a second to import

    above = np.triu_indices(len(kernel), 1)
    z = _centred(rankdata(given[above]))
    ranks = np.zeros(distance.shape)
    ranks[above] = rankdata(-distance[above])
    ranks += ranks.T

    def rest(values: ndarray) -> ndarray:
        own = _centred(values)
        return own - z * (own @ z) / (z @ z)

    x = rest(rankdata(kernel[above]))

    def correlation(order: ndarray) -> float:
        y = rest(ranks[np.ix_(order, order)][above])
        return float(x @ y / np.sqrt((x @ x) * (y @ y)))

    found, random = correlation(np.arange(len(distance))), np.random.default_rng(seed)
    beaten = sum(correlation(random.permutation(len(distance))) >= found - 1e-12 for _ in range(permutations))
    return Mantel(found, (1 + beaten) / (1 + permutations))


def _centred(values: ndarray) -> ndarray:
    return values - values.mean()


def aim_rows(blocks: Sequence[Row], hierarchy: Sequence[Row]) -> list[Row]:
    """What was to be reached, network by network."""
    listed = []
    for row in blocks:
        place = {"part": "tasks", "network": row["network"], "kind": row["kind"]}
        if row["kind"] == "shared":
            aim = {"aim": f"ratio differs from nβ = 0, p < {P_AIM:g}", "value": row["p"]}
            listed.append({**place, **aim, "met": row["p"] < P_AIM})
        if row["kind"] == "disjoint":
            aim = {"aim": "0 in the ratio's interval", "value": row["ratio"]}
            listed.append({**place, **aim, "met": row["low"] <= 0 <= row["high"]})
        if row["kind"] in ("shared", "disjoint"):
            listed.append({**place, **_reliable(row["reliability"])})
    for row in hierarchy:
        place = {"part": "classes", "network": row["network"], "kind": "network"}
        listed.append({**place, **_reliable(row["kinds"]["network"]["reliability"])})
    return listed


def _reliable(value: float | None) -> Row:
    met = value is not None and value >= RELIABLE
    return {"aim": f"split-half reliability ≥ {RELIABLE:g}", "value": value, "met": met}
