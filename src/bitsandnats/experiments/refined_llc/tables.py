"""What is made of the curves: groups by shape, and how they agree with what ablations say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import comb

from bitsandnats.estimators.curves import cluster_curves
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.refined_llc.plan import METHODS, OWN, Plan

TRACE = "Hessian trace"


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
            values = {"values": [c["trace"][i] for c in own], "se": [c["trace_se"][i] for c in own]}
            rows.append({**place, "quantity": TRACE, **values, "statuses": []})
    return rows  # fmt: skip


def agreement_rows(plan: Plan, curves: Sequence[Row]) -> list[Row]:
    """One row a seed and quantity whose curves are whole: the adjusted Rand index of its groups by each method.

    `λ̂, all data` are the curves on all of the data one behind the other.
    """
    rows = []
    for seed in plan.seed_range:
        own = [c for c in curves if c["seed"] == seed]
        by = {name: [c for c in own if c["quantity"] == name] for name in (*plan.data, TRACE)}
        if not own or any(len(c["steps"]) < len(plan.steps) for c in own):
            continue
        roles = [c["role"] for c in by[OWN]]
        shapes = {name: shape(np.array([c["values"] for c in some])) for name, some in by.items()}
        if len(plan.data) > 1:
            shapes["λ̂, all data"] = np.concatenate([shapes[name] for name in plan.data], 1)
        for name, values in shapes.items():
            count = min(len(set(roles)), len(np.unique(values.round(9), axis=0)))
            groups = {m: cluster_curves(values, count, method=m, seed=seed) for m in METHODS}
            found = {m: adjusted_rand(groups[m].tolist(), roles) for m in METHODS}
            own_groups = {m: groups[m].tolist() for m in METHODS}
            rows.append({"seed": seed, "quantity": name, "labels": len(set(roles)), **found, "groups": own_groups})
    return rows


def shape(curves: Float[ndarray, "head checkpoint"]) -> Float[ndarray, "head checkpoint"]:
    """Each curve less its mean and over its s.d."""
    away = curves - curves.mean(1, keepdims=True)
    spread = away.std(1, keepdims=True)
    return np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)


def adjusted_rand(found: Sequence[Any], truth: Sequence[Any]) -> float:
    """Agreement of two groupings by pairs, less that expected by chance: 1 = the same (Hubert & Arabie 1985).

    Checked in `tests/experiments/test_refined_llc.py`.
    """
    table = np.array([[sum(a == x and b == y for a, b in zip(found, truth, strict=True)) for y in dict.fromkeys(truth)]
                      for x in dict.fromkeys(found)])  # fmt: skip
    both, one, other = (float(comb(part, 2).sum()) for part in (table, table.sum(1), table.sum(0)))
    expected = one * other / comb(len(found), 2)
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
