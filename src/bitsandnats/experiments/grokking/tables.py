"""The study's tables: curves with everything measured of their checkpoints, falls, rate–distortion, bounds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitsandnats.experiments.grokking.plan import ALPHA, FITTED, GENERALISED, MAIN, MEMORISED, Arm, Plan, training_pairs
from bitsandnats.theory.description_length import (
    bound_on_the_rest,
    description_length,
    finite_hypothesis_bound,
    largest_bits,
    rate_distortion_decay,
    smoothed_range,
)

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""

QUANTITIES = ("bytes", "llc")
FALL = 2.0


def run_rows(plan: Plan, trainings: Sequence[Row], measurements: Sequence[Row]) -> list[Row]:
    """One row a training run that is finished: its curves, its checkpoints with what is measured of them, its falls.

    Args:
        plan: of the run.
        trainings: from `trained`.
        measurements: from `measured`, in any order.
    """
    found = {(m["arm"], m["seed"], m["epoch"], m["kind"], m["grade"]): m for m in measurements}
    arms = {arm.name: arm for arm in plan.arms}
    rows = []
    for row in sorted(trainings, key=lambda r: (list(arms).index(r["arm"]), r["seed"])):
        arm = arms[row["arm"]]
        checkpoints = [_checkpoint(plan, arm, row, epoch, found) for epoch in plan.epochs(arm.recipe)]
        whole = {**row, "checkpoints": checkpoints, "memorised": _first(row, "train_accuracy", MEMORISED)}
        whole["generalised"] = _first(row, "test_accuracy", GENERALISED)
        rows.append({**whole, "falls": {name: _fall(checkpoints, name) for name in QUANTITIES}})
    return rows


def _checkpoint(plan: Plan, arm: Arm, row: Row, epoch: int, found: dict[Any, Row]) -> Row:
    at = row["epochs"].index(epoch)
    own: Row = {name: row[name][at] for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")}
    searched = found.get((arm.name, row["seed"], epoch, "complexity", plan.grade)) or {}
    published = found.get((arm.name, row["seed"], epoch, "complexity", "published")) or {}
    llc = found.get((arm.name, row["seed"], epoch, "llc", None)) or {}
    points = [{**p, **_promises(p, arm)} for p in searched.get("points", [])]
    main = next((p for p in points if p["tolerance"] == MAIN), None)
    return {
        "epoch": epoch,
        **own,
        "points": points,
        "bytes": None if main is None else main["bytes"],
        "naive": searched.get("naive"),
        "published": (published.get("points") or [None])[0] if plan.grade != "published" else None,
        "llc": llc.get("llc"),
        "llc_se": llc.get("se"),
        "noise_only": llc.get("noise_only"),
        "status": (llc.get("verdict") or {}).get("status"),
        "failed": [m["failed"] for m in (searched, published, llc) if m.get("failed")],
    }


def _promises(point: Row, arm: Arm) -> Row:
    """What a coarse network's size and losses promise of pairs not seen, and the description of data and model."""
    recipe, bits = arm.recipe, 8 * point["bytes"]
    n, whole = training_pairs(recipe), all_pairs(arm)
    error = finite_hypothesis_bound(point["train_error"], bits, n)
    spread = smoothed_range(classes(arm), ALPHA)
    mixed = finite_hypothesis_bound(point["train_mixed"], bits, n, loss_range=spread)
    return {
        "error_bound": error,
        "error_bound_rest": bound_on_the_rest(error, point["train_error"], n, whole),
        "mixed_bound": mixed,
        "description": description_length(bits, point["train_loss"], n),
    }


def all_pairs(arm: Arm) -> int:
    """N: pairs of the whole table."""
    p = arm.recipe.modulus
    return p * (p - 1) if arm.recipe.operation == "division" else p * p


def classes(arm: Arm) -> int:
    """V: answers that a network chooses from."""
    return arm.recipe.modulus + (0 if arm.recipe.network.kind == "mlp" else 2)


def _first(row: Row, name: str, least: float) -> int | None:
    """The first epoch looked at at which a share has passed a value."""
    return next((e for e, v in zip(row["epochs"], row[name], strict=True) if v >= least), None)


def _fall(checkpoints: Sequence[Row], name: str) -> Row | None:
    """How far a quantity falls from its peak in memorisation; None until all checkpoints are measured."""
    known = [c for c in checkpoints if c[name] is not None and c[name] > 0]
    if len(known) < len(checkpoints):
        return None
    after = [c for c in known if c["test_accuracy"] >= GENERALISED]
    before = [c for c in known if not after or c["epoch"] < after[0]["epoch"]]
    if not before:
        return None
    peak = max(before, key=lambda c: c[name])
    at = {"peak": peak[name], "peak_epoch": peak["epoch"], "last": known[-1][name]}
    at |= {"generalised": after[0][name] if after else None, "generalised_epoch": after[0]["epoch"] if after else None}
    passed = None if not after else peak[name] / after[0][name]
    return {**at, "fall": passed, "fall_last": peak[name] / known[-1][name]}


def arm_rows(plan: Plan, runs: Sequence[Row]) -> list[Row]:
    """One row an arm with a finished run: accuracies, epochs and falls over its seeds."""
    rows = []
    for arm in plan.arms:
        own = [run for run in runs if run["arm"] == arm.name]
        if not own:
            continue
        row: Row = {"arm": arm.name, "operation": arm.recipe.operation, "network": arm.recipe.network.kind}
        row |= {"regime": arm.regime.name, "seeds": len(own), "parameters": own[0]["parameters"]}
        row |= {"pairs": training_pairs(arm.recipe), "modulus": arm.recipe.modulus, "layers": arm.recipe.network.layers}
        row |= {"memorised": [r["memorised"] for r in own], "generalised": [r["generalised"] for r in own]}
        row["test_accuracy"] = spread([r["test_accuracy"][-1] for r in own])
        row["train_accuracy"] = spread([r["train_accuracy"][-1] for r in own])
        for name in QUANTITIES:
            falls = [r["falls"][name] for r in own]
            row[name] = _falls(falls) if all(f is not None for f in falls) else None
        row["vacuous_above"] = math.floor(largest_bits(training_pairs(arm.recipe)) / 8)
        rows.append(row)
    return rows


def _falls(falls: Sequence[Row]) -> Row:
    passed = [f["fall"] for f in falls]
    row: Row = {name: spread([f[name] for f in falls]) for name in ("peak", "last", "fall_last")}
    row["fall"] = spread([f for f in passed if f is not None])
    row["generalised"] = sum(f is not None for f in passed)
    row["falls"] = all(f is not None and f >= FALL for f in passed)
    return row


def spread(values: Sequence[float | int]) -> Row | None:
    """Mean, standard deviation over seeds, least and largest."""
    if not values:
        return None
    found = np.array(values, dtype=np.float64)
    sd = float(found.std(ddof=1)) if len(found) > 1 else None
    return {"mean": float(found.mean()), "sd": sd, "least": float(found.min()), "most": float(found.max())}


def curve_rows(runs: Sequence[Row]) -> list[Row]:
    """One row a run whose last checkpoint is measured: its rate–distortion curve, and the power law up to `FITTED`."""
    rows = []
    for run in runs:
        points = [p for p in run["checkpoints"][-1]["points"] if p["bytes"] > 0]
        inside = [p for p in points if p["tolerance"] <= FITTED]
        if len(inside) < 2:
            continue
        law = rate_distortion_decay([p["tolerance"] for p in inside], [p["bytes"] for p in inside])
        place = {name: run[name] for name in ("arm", "operation", "network", "regime", "seed")}
        curve = [{"tolerance": p["tolerance"], "bytes": p["bytes"]} for p in points]
        rows.append({**place, "epoch": run["checkpoints"][-1]["epoch"], **law._asdict(), "curve": curve})
    return rows


def size_rows(runs: Sequence[Row]) -> list[Row]:
    """The same coarse networks by every coder, at the main tolerance: the peak of each run, and its last checkpoint."""
    rows = []
    for run in runs:
        fall, by_epoch = run["falls"]["bytes"], {c["epoch"]: c for c in run["checkpoints"]}
        chosen = {} if fall is None else {"peak": fall["peak_epoch"], "last": run["checkpoints"][-1]["epoch"]}
        for what, epoch in chosen.items():
            point = next(p for p in by_epoch[epoch]["points"] if p["tolerance"] == MAIN)
            place = {name: run[name] for name in ("arm", "regime", "seed")}
            rows.append({**place, "what": what, "epoch": epoch, "sizes": point["sizes"], "excess": point["excess"]})
    return rows


def published_rows(runs: Sequence[Row]) -> list[Row]:
    """Where the published procedure was run: its size beside ours at the same tolerance."""
    rows = []
    for run in runs:
        for c in run["checkpoints"]:
            if c["published"] is not None and c["bytes"]:
                place = {name: run[name] for name in ("arm", "regime", "seed")}
                place |= {"epoch": c["epoch"], "tolerance": c["published"]["tolerance"], "ours": c["bytes"]}
                rows.append({**place, "published": c["published"]["bytes"], "naive": c["naive"]})
    return rows


def bound_rows(runs: Sequence[Row]) -> list[Row]:
    """One row a run: the least bounds and the shortest description at its last checkpoint, and at which tolerance."""
    rows = []
    for run in runs:
        points = run["checkpoints"][-1]["points"]
        if not points:
            continue
        row: Row = {name: run[name] for name in ("arm", "regime", "seed")}
        for name in ("error_bound", "error_bound_rest", "mixed_bound", "description"):
            best = min(points, key=lambda p, name=name: p[name])
            row |= {name: best[name], f"{name}_tolerance": best["tolerance"]}
        rows.append(row)
    return rows
