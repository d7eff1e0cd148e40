"""What is made of the curves: groups by shape, and how they agree with what ablations say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.curves import cluster_curves
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.refined_llc.plan import METHODS, OWN, Plan

TRACE = "Hessian trace"
NOISE = "λ̂ at nβ = 0"
"""nβ times the rise of L under noise of the chains' pull, in the place of λ̂."""


def curve_rows(plan: Plan, trainings: Sequence[Row], checkpoints: Sequence[Row]) -> list[Row]:
    """One row a seed, head and quantity: λ̂ on each of the data, and the trace, over the checkpoints measured so far."""
    rows = []
    for trained in sorted(trainings, key=lambda t: t["seed"]):
        own = sorted(
            (c for c in checkpoints if c["seed"] == trained["seed"] and not c["failed"]), key=lambda c: c["step"]
        )
        for i, head in enumerate(plan.recipe.components):
            place = {
                "seed": trained["seed"],
                "head": head,
                "role": trained["roles"][i],
                "steps": [c["step"] for c in own],
            }
            for j, name in enumerate(plan.data):
                values = {"values": [c["llc"][i][j] for c in own], "se": [c["se"][i][j] for c in own]}
                statuses = [c["status"][i][j] for c in own]
                rows.append({**place, "quantity": name, **values, "statuses": statuses})
            for name, key in ((NOISE, "noise"), (TRACE, "trace")):
                values = {"values": [c[key][i] for c in own], "se": [c[f"{key}_se"][i] for c in own]}
                rows.append({**place, "quantity": name, **values, "statuses": []})
    return rows  # fmt: skip


POOLED = "all"


def agreement_rows(plan: Plan, curves: Sequence[Row]) -> list[Row]:
    """One row a seed and quantity whose curves are whole: the adjusted Rand index of its groups by each method.

    `λ̂, all data` are the curves on all of the data one behind the other; seed `all` the heads of all networks pooled,
    once every network's curves are whole.
    """
    whole = [
        seed
        for seed in plan.seed_range
        if any(c["seed"] == seed for c in curves)
        and all(len(c["steps"]) == len(plan.steps) for c in curves if c["seed"] == seed)
    ]
    groups: list[tuple[Any, list[int]]] = [(seed, [seed]) for seed in whole]
    if len(whole) == plan.seeds > 1:
        groups.append((POOLED, whole))
    rows = []
    for seed, seeds in groups:
        own = [c for c in curves if c["seed"] in seeds]
        by = {name: [c for c in own if c["quantity"] == name] for name in (*plan.data, NOISE, TRACE)}
        roles = [c["role"] for c in by[OWN]]
        shapes = {name: shape(np.array([c["values"] for c in some])) for name, some in by.items()}
        if len(plan.data) > 1:
            shapes["λ̂, all data"] = np.concatenate([shapes[name] for name in plan.data], 1)
        for name, values in shapes.items():
            count = min(len(set(roles)), len(np.unique(values.round(9), axis=0)))
            found = {m: cluster_curves(values, count, method=m, seed=plan.seed).tolist() for m in METHODS}
            index = {m: adjusted_rand(found[m], roles) for m in METHODS}
            p = {m: chance(found[m], roles) for m in METHODS}
            rows.append({"seed": seed, "quantity": name, "labels": len(set(roles)), **index, "p": p, "groups": found})
    return rows


def chance(found: Sequence[Any], truth: Sequence[Any], *, draws: int = 200) -> float:
    """The chance of as large an adjusted Rand index where the labels are dealt anew."""
    random, own = np.random.default_rng(0), adjusted_rand(found, truth)
    dealt = [adjusted_rand(found, list(random.permutation(list(truth)))) for _ in range(draws)]
    return (1 + sum(x >= own - 1e-12 for x in dealt)) / (1 + draws)


def shape(curves: Float[ndarray, "head checkpoint"]) -> Float[ndarray, "head checkpoint"]:
    """Each curve less its mean and over its s.d."""
    away = curves - curves.mean(1, keepdims=True)
    spread = away.std(1, keepdims=True)
    return np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)


def adjusted_rand(found: Sequence[Any], truth: Sequence[Any]) -> float:
    """Agreement of two groupings by pairs, less that expected by chance: 1 = the same (Hubert & Arabie 1985).

    Checked in `tests/experiments/test_refined_llc.py`.
    """
    one_of, other_of = ({name: i for i, name in enumerate(dict.fromkeys(own))} for own in (found, truth))
    table = np.zeros((len(one_of), len(other_of)))
    for a, b in zip(found, truth, strict=True):
        table[one_of[a], other_of[b]] += 1
    both, one, other = (float((part * (part - 1) / 2).sum()) for part in (table, table.sum(1), table.sum(0)))
    expected = one * other / (len(found) * (len(found) - 1) / 2)
    most = (one + other) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def special_rows(plan: Plan, curves: Sequence[Row]) -> list[Row]:
    """One row a seed and head: λ̂ on each structure's text over that on all, at the last checkpoint."""
    rows = []
    last = plan.steps[-1]
    for seed in plan.seed_range:
        for head in plan.recipe.components:
            own = {c["quantity"]: c for c in curves if c["seed"] == seed and c["head"] == head and last in c["steps"]}
            if not own:
                continue
            value = {name: c["values"][c["steps"].index(last)] for name, c in own.items()}
            ratios = {name: value[name] / value[OWN] for name in plan.data if name != OWN and value[OWN] > 0}
            role = own[OWN]["role"]
            found = max(ratios, key=ratios.__getitem__) if ratios else None
            expected = {"previous token": "induction"}.get(role, role)
            judged = len(ratios) > 1 and expected in ratios
            rows.append(
                {"seed": seed, "head": head, "role": role, "llc": value[OWN], "trace": value[TRACE], "ratios": ratios,
                 "found": found, "agrees": found == expected if judged else None}
            )  # fmt: skip
    return rows
