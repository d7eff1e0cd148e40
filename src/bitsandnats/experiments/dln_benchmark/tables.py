"""The benchmark's tables: one row an arm, its aims beside what was reached."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.verdict import USABLE
from bitsandnats.experiments.dln_benchmark.aims import CALIBRATED, Aim, aim_of, miss_line
from bitsandnats.experiments.dln_benchmark.plan import Arm, Plan

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""


def arm_rows(plan: Plan, networks: Sequence[Row]) -> list[Row]:
    """One row an arm that has been begun, in the plan's order.

    Args:
        plan: the arms.
        networks: one row a network and sampler.
    """
    rows = []
    for arm in plan.arms:
        own = [r for r in networks if (r["size"], r["samples"], r["sampler"]) == (arm.size, arm.samples, arm.sampler)]
        own = [r for r in own if r["net"] < arm.nets]
        if own:
            stated = aim_of(arm.size, arm.samples, arm.sampler) if plan.target_se is None else None
            rows.append(_arm_row(arm, own, stated))
    return rows


def _arm_row(arm: Arm, own: Sequence[Row], aim: Aim | None) -> Row:
    signed = np.array([math.nan if r["error"] is None else r["error"] for r in own])
    errors = np.where(np.isnan(signed), math.inf, np.abs(signed))  # no number is the worst of numbers
    known = signed[np.isfinite(signed)]
    estimates = np.array([math.nan if r["llc"] is None else r["llc"] for r in own])
    order, pairs = order_preservation(estimates, np.array([r["truth"] for r in own], dtype=np.float64))
    line = miss_line(arm.size, arm.samples)
    flagged = np.array([r["verdict"]["status"] != USABLE for r in own])
    missed = errors > line
    seconds = [r["seconds"] for r in own if r["seconds"] is not None]
    row: Row = {
        "name": arm.name,
        "size": arm.size,
        "samples": arm.samples,
        "sampler": arm.sampler,
        "nets": len(own),
        "planned": arm.nets,
        "without_number": int((~np.isfinite(errors)).sum()),
        "median": quantile(errors, 0.5),
        "ninetieth": quantile(errors, 0.9),
        "mean": float(known.mean()) if known.size else None,
        "mean_se": float(known.std(ddof=1) / math.sqrt(known.size)) if known.size > 1 else None,
        "relative_se": _median([r["relative_se"] for r in own]),
        "order": order,
        "pairs": pairs,
        "seconds": _median(seconds),
        "worst_seconds": max(seconds, default=None),
        "evaluations": _median([r["evaluations"] for r in own]),
        "line": line,
        "missed": int(missed.sum()),
        "missed_flagged": int((missed & flagged).sum()),
        "flagged": int(flagged.sum()),
    }
    return row | {"aims": [] if aim is None else _judged(aim, row)}


def _judged(aim: Aim, row: Row) -> list[Row]:
    """Each aim beside what was reached; `met` is None until the whole arm is measured."""
    whole = row["nets"] == row["planned"]
    unflagged = row["missed"] - row["missed_flagged"]
    judged = [
        ("median absolute error", "share", "≤", aim.median, row["median"]),
        ("90th percentile of it", "share", "≤", aim.ninetieth, row["ninetieth"]),
        ("order preservation", "number", "≥", aim.order, row["order"]),
        ("missed without a warning", "count", "≤", 0, unflagged),
    ]
    if aim.seconds is not None:
        judged.append(("longest time a network", "seconds", "≤", aim.seconds, row["worst_seconds"]))
    rows = []
    for name, unit, sense, wanted, value in judged:
        reached = value is not None and (value <= wanted if sense == "≤" else value >= wanted)
        met = reached if whole else None
        rows.append({"name": name, "unit": unit, "sense": sense, "aim": wanted, "value": value, "met": met})
    return rows


def order_preservation(estimates: Float[ndarray, " net"], truths: Float[ndarray, " net"]) -> tuple[float | None, int]:
    """Share of pairs with different λ whose estimates are in the same order, and the number of such pairs.

    A pair with a number missing counts as out of order. Checked by hand in `tests/experiments/test_dln_tables.py`.

    Args:
        estimates: λ̂, NaN where there is none.
        truths: λ.
    """
    upper = np.triu_indices(len(truths), 1)
    apart = np.subtract.outer(truths, truths)[upper]
    found = np.subtract.outer(estimates, estimates)[upper]
    pairs = apart != 0
    if not pairs.any():
        return None, 0
    return float((apart * found > 0)[pairs].mean()), int(pairs.sum())


def quantile(values: Float[ndarray, " net"], share: float) -> float | None:
    """The quantile, interpolated; None where it is infinite or there are no values.

    Args:
        values: numbers, infinite where a network has none.
        share: between 0 and 1.
    """
    if not len(values):
        return None
    place = share * (len(values) - 1)
    ends = np.sort(values)[[math.floor(place), math.ceil(place)]]
    if not np.isfinite(ends).all():
        return None
    return float(ends[0] + (place - math.floor(place)) * (ends[1] - ends[0]))


def verdict(arms: Sequence[Row]) -> dict[str, str]:
    """Whether the aims are reached, in a word and in a sentence."""
    judged = [(arm, aim) for arm in arms for aim in arm["aims"]]
    unmet = [f"{aim['name']} of {arm['name']}" for arm, aim in judged if aim["met"] is False]
    open_ = sum(aim["met"] is None for _, aim in judged)
    if unmet:
        said = f"{len(unmet)} of {len(judged)} aims not met: {'; '.join(unmet)}."
        return {"status": "aims not met", "text": said}
    if not judged or open_:
        said = f"{open_} of {len(judged)} aims cannot be judged yet." if open_ else "No aim is stated for these arms."
        return {"status": "not judged", "text": said}
    return {"status": "aims met", "text": f"All {len(judged)} aims are met."}


def findings(arms: Sequence[Row]) -> list[str]:
    """What the tables say, in sentences."""
    said = []
    for arm in arms:
        if arm["sampler"] != CALIBRATED or arm["median"] is None:
            continue
        text = f"{arm['name']}: median |error| {arm['median']:.1%}"
        if arm["ninetieth"] is not None:
            text += f", 90th percentile {arm['ninetieth']:.1%}"
        if arm["order"] is not None:
            text += f", order preservation {arm['order']:.3f}"
        said.append(f"{text}, {arm['seconds']:.0f} s a network ({arm['nets']} networks).")
    others = [arm for arm in arms if arm["sampler"] != CALIBRATED]
    if others:
        first = others[0]
        ranked = sorted(others, key=lambda arm: math.inf if arm["median"] is None else arm["median"])
        listed = ", ".join(f"{a['sampler']} {_share(a['median'])} ({_share(a['mean'], '+.1%')})" for a in ranked)
        unflagged = sum(arm["missed"] - arm["missed_flagged"] for arm in others)
        said.append(
            f"Others at the same nβ and γ ({first['size']}, n = {first['samples']:,}): median |error| "
            f"(mean error) {listed}; {sum(a['missed'] for a in others)} of {sum(a['nets'] for a in others)} beyond "
            f"{first['line']:.0%}, {unflagged} of them without a warning."
        )
    return said


def _median(values: Sequence[float | int | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def _share(value: float | None, form: str = ".1%") -> str:
    return "no number" if value is None else format(value, form)
