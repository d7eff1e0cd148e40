"""What is made of the readings: specific responses, separation, agreement with ablations, additivity, modules."""

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from bitsandnats.estimators.curves import cluster_curves
from bitsandnats.experiments.heads.text import LABELS, LENGTH, STRUCTURES
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.susceptibility.components import RANK, families_of
from bitsandnats.experiments.susceptibility.plan import SHIFT, Plan

_SAME = 1e-4  # of the responses' s.d.: closer than that is the same


def head_rows(reading: Row, roles: Sequence[str], rise: Sequence[Sequence[float]], labels: ndarray) -> list[Row]:
    """One row a head: its specific responses by structure, its place on the components, what it is by each reading.

    Args:
        reading: per token.
        roles: of the heads, by ablation.
        rise: of each label's loss where a head is ablated.
        labels: of the tokens of the columns.
    """
    data = reading["data"]
    phi, means = data["phi"].values, by_label(data["specific"].values, labels)
    loadings = {name: data[f"{name} loadings"].values.tolist() for name in families_of(reading)}
    rows = []
    for i, name in enumerate(data["component"].values):
        own = dict(zip(LABELS, map(float, means[i]), strict=True))
        others = [own[s] for s in STRUCTURES if s != "induction"]
        rows.append(
            {
                "seed": reading["seed"],
                "kind": reading["kind"],
                "head": str(name),
                "role": roles[i],
                "rise": dict(zip(LABELS, rise[i], strict=True)),
                "phi": float(phi[i]),
                "specific": own,
                "found": min(STRUCTURES, key=own.__getitem__),
                "contrast": float(np.mean(others)) - own["induction"],
                "loadings": {family: each[i] for family, each in loadings.items()},
                "reliability": _least(data, "specific", i),
            }
        )
    return rows


def _least(data: Any, what: str, i: int) -> float | None:
    both = [float(data[f"{what}_over_{half}"].values[i]) for half in ("chains", "draws")]
    known = [value for value in both if np.isfinite(value)]
    return min(known) if known else None


def by_label(values: Float[ndarray, "head column"], labels: ndarray) -> Float[ndarray, "head label"]:
    """Means over the columns of each label."""
    return np.stack([values[:, labels == name].mean(1) for name in LABELS], 1)


def seed_row(reading: Row, heads: Sequence[Row]) -> Row:
    """One row a seed and reading: is it reliable, does it separate, does it agree with the ablations?"""
    known = [h for h in heads if h["role"] != "idle"]
    agree = sum(h["found"] == expected(h) for h in known)
    rises = [h["rise"][s] for h in known for s in STRUCTURES]
    responses = [-h["specific"][s] for h in known for s in STRUCTURES]
    induction = [h for h in heads if h["role"] == "induction"]
    others = [h for h in heads if h["role"] not in ("induction", "previous token")]
    row = {name: reading[name] for name in ("seed", "kind", "verdict", "loss", "center_loss", "seconds", "columns")}
    return row | {
        "reliability": reading["reliability"]["reliability"],
        "specific_reliability": reading["specific_reliability"]["reliability"],
        "ess": reading["reliability"]["ess"],
        "acceptance": min(reading["acceptance"]) if "acceptance" in reading else None,
        "heads": len(heads),
        "judged": len(known),
        "agree": agree,
        "correlation": float(np.corrcoef(rankdata(rises), rankdata(responses))[0, 1]) if len(known) > 1 else None,
        "induction": len(induction),
        "others": len(others),
        "margin": None if not induction or not others else min(_c(induction)) - max(_c(others)),
        "separating": {
            name: [_separates(_loading(induction, name, k), _loading(others, name, k)) for k in range(RANK)]
            for name in heads[0]["loadings"]
        },
        "explained": {name: reading["data"][f"{name} explained"].values.tolist() for name in families_of(reading)},
    }


def expected(head: Row) -> str:
    """The structure that a head's label by ablation stands for."""
    role = str(head["role"])
    return {"previous token": "induction"}.get(role, role)


def _c(rows: Sequence[Row]) -> list[float]:
    return [row["contrast"] for row in rows]


def _loading(rows: Sequence[Row], family: str, place: int) -> list[float]:
    return [row["loadings"][family][place] for row in rows]


def _separates(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Whether all of one lie on one side of all of the other."""
    if not one or not other:
        return None
    return min(one) > max(other) or max(one) < min(other)


def agreement(heads: Sequence[Row], *, draws: int = 4000) -> Row | None:
    """How many labels are found, how many would be by chance, and the chance of as many.

    Chance: labels by ablation dealt anew among the heads of each network.

    Args:
        heads: of one kind of chains, idle ones aside.
        draws: deals.
    """
    if not heads:
        return None
    random = np.random.default_rng(0)
    by: dict[int, list[Row]] = {}
    for h in heads:
        by.setdefault(h["seed"], []).append(h)
    dealt = np.zeros(draws)
    for own in by.values():
        found, truth = np.array([h["found"] for h in own]), np.array([expected(h) for h in own])
        dealt += (random.permuted(np.tile(truth, (draws, 1)), axis=1) == found).sum(1)
    agree = sum(h["found"] == expected(h) for h in heads)
    p = float((1 + (dealt >= agree).sum()) / (1 + draws))
    return {"agree": agree, "heads": len(heads), "chance": float(dealt.mean()), "p": p}


def separation(seeds: Sequence[Row]) -> Row | None:
    """In how many networks the margin is above 0, and how many would be were the heads' order by contrast random."""
    judged = [s for s in seeds if s["margin"] is not None]
    if not judged:
        return None
    chance = sum(1 / comb(s["induction"] + s["others"], s["induction"]) for s in judged)
    return {"separated": sum(s["margin"] > 0 for s in judged), "networks": len(judged), "chance": chance}


def pull_rows(plan: Plan, pulls: Sequence[Row]) -> list[Row]:
    """One row a seed: at each ratio the median over heads of the rise of L over that by noise, and the largest."""
    rows = []
    for seed in plan.seed_range:
        own = [p for p in pulls if p["seed"] == seed and not p["failed"]]
        if own:
            share = np.array([p["rise"] for p in own]) / np.array([p["noise"] for p in own])
            rows.append({"seed": seed, "median": np.median(share, 0).tolist(), "largest": share.max(0).tolist()})
    return rows


def additivity_points(plan: Plan, posterior: Row, whole: Row) -> list[Row]:
    """One point a head and kind of text: the mean of its tokens' responses, and the response to the shifted data.

    Both per rise of L, χ/⟨φ⟩, in nats: L is the mean over other texts in the two, and rises by less over those that the
    chains are held by.
    """
    per_token, shifted = (
        data[name] / data["phi"] for data, name in ((posterior["data"], "susceptibility"), (whole["data"], "response"))
    )
    per_token = per_token.values
    per_kind = per_token.reshape(len(per_token), len(plan.recipe.probes), plan.probe, LENGTH)[:, :, : plan.added]
    return [
        {
            "seed": posterior["seed"],
            "head": str(head),
            "probe": str(probe),
            "whole": float(shifted.sel(component=head, probe=probe)),
            "tokens": float(per_kind[i, j].mean(dtype=np.float64)),
        }
        for i, head in enumerate(posterior["data"]["component"].values)
        for j, probe in enumerate(plan.recipe.probes)
    ]


def additivity(points: Sequence[Row]) -> Row | None:
    """r, and the slope that has no favourite among two noisy sides: s.d. over s.d.; and r within heads.

    Within: of each head's responses to the kinds of text less their mean, over that head's s.d. Heads differ by a
    factor of their own, which alone makes r large.
    """
    if len(points) < 3:
        return None
    x, y = (np.array([p[name] for p in points]) for name in ("whole", "tokens"))
    slope = float(y.std() / x.std())
    r = float(np.corrcoef(x, y)[0, 1])
    owners = [(p["seed"], p["head"]) for p in points]
    parts = [np.array([i for i, own in enumerate(owners) if own == owner]) for owner in dict.fromkeys(owners)]
    away = [[(v[own] - v[own].mean()) / (x[own].std() or 1.0) for own in parts] for v in (x, y)]
    one, other = (np.concatenate(each) for each in away)
    r_within = float(np.corrcoef(one, other)[0, 1]) if min(one.std(), other.std()) > 0 else None
    met = r >= 0.95 and abs(slope * SHIFT - 1) <= 0.1
    return {"points": len(points), "r": r, "slope": slope, "r_within": r_within, "met": met}


def module_row(reading: Row) -> Row:
    """Whether grouping the components of two networks side by side by their responses gives the two networks."""
    found = cluster_curves(
        changed_tokens(reading["data"]["specific"].values).astype(np.float64), 2, method="hierarchical"
    )
    half = len(found) // 2
    alike = int(max(np.sum(found == truth) for truth in (np.repeat([0, 1], half), np.repeat([1, 0], half))))
    row = {name: reading[name] for name in ("seed", "kind", "verdict", "seconds")}
    return row | {"components": len(found), "alike": alike, "reliability": reading["reliability"]["reliability"]}


def changed_tokens(specific: Float[ndarray, "component column"]) -> Bool[ndarray, "component column"]:
    """Where a specific response is not its component's commonest value, that of tokens which it cannot change."""
    found = []
    for row in specific.astype(np.float64):
        grain = max(_SAME * float(row.std()), 1e-12)
        values, counts = np.unique(np.round(row / grain), return_counts=True)
        found.append(np.abs(row - values[counts.argmax()] * grain) > 2 * grain)
    return np.stack(found)


def likeness(readings: Sequence[Row]) -> list[Row]:
    """One row a seed with both readings: correlation of each head's specific responses with those at nβ = 0."""
    by = {(r["seed"], r["kind"]): r["data"]["specific"].values for r in readings}
    rows = []
    for seed in sorted({seed for seed, _ in by}):
        if (seed, "posterior") in by and (seed, "control") in by:
            pairs = zip(by[seed, "posterior"], by[seed, "control"], strict=True)
            rows.append({"seed": seed, "r": [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs]})
    return rows


def points_of(plan: Plan, readings: Sequence[Row]) -> list[Row]:
    """The points of every seed that has both readings."""
    by = {(r["seed"], r["kind"]): r for r in readings if not r["failed"]}
    return [
        point
        for seed in plan.seed_range
        if (seed, "posterior") in by and (seed, "whole") in by
        for point in additivity_points(plan, by[seed, "posterior"], by[seed, "whole"])
    ]
