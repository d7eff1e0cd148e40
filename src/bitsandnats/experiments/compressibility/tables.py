"""The study's tables: checkpoints with both estimates, fits by suite, range and settings, schemes in bits, ranks."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitsandnats.estimators.verdict import NOT_USABLE
from bitsandnats.experiments.compressibility.fits import PREDICTORS, series_fits
from bitsandnats.experiments.compressibility.plan import LATE, SETTINGS, Plan

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""

RANGES = ("full", "late")
RESPONSES = ("level", "log2_level")
_ENOUGH = 6  # checkpoints of the late range for a tolerance to be the main one
_USUAL = 0.5  # nats


def family(scheme: str) -> str:
    """A scheme without its options, by which suites are compared."""
    return scheme.partition("(")[0]


def suite_rows(plan: Plan, studies: dict[str, Row], published: Sequence[Row]) -> list[Row]:
    """One row a suite that has been begun: its model, settings, time, and its checkpoints with both estimates.

    Args:
        plan: of the run.
        studies: summaries of the suites' studies, by suite.
        published: rows of checkpoints at the published settings.
    """
    rows = []
    for suite in plan.suites:
        study = studies.get(suite.name)
        if study is None:
            continue
        other = {row["label"]: row for row in published if row["suite"] == suite.name}
        checkpoints = [_checkpoint(row, other.get(row["label"])) for row in study["checkpoints"]]
        rows.append(
            {
                "name": suite.name,
                "shape": suite.words(),
                "steps": suite.options.steps,
                "parameters": (study.get("model") or {}).get("parameters"),
                "moved": (study.get("model") or {}).get("moved"),
                "schemes": study["schemes"],
                "settings": study["settings"],
                "reasons": study["reasons"],
                "seconds": study["provenance"].get("seconds"),
                "checkpoints": checkpoints,
                "not_usable": {
                    name: sum(_status(c[name]) == NOT_USABLE for c in checkpoints if c[name]) for name in SETTINGS
                },
            }
        )
    return rows


def _checkpoint(row: Row, other: Row | None) -> Row:
    kept = {name: row[name] for name in ("label", "step", "loss", "loss_se", "critical", "unmeasured", "failed")}
    return kept | {"local": row["llc"], "published": None if other is None else other["llc"]}


def _status(llc: Row) -> str:
    return llc["verdict"]["status"]


def fit_rows(suites: Sequence[Row], tolerances: Sequence[float], seed: int) -> list[Row]:
    """One row a suite, scheme, tolerance, response, range, settings and predictor: the fit with its intervals.

    Args:
        suites: from `suite_rows`.
        tolerances: nats a token.
        seed: of the resamples.
    """
    rows = []
    for suite in suites:
        for scheme in suite["schemes"]:
            for tolerance in tolerances:
                for settings in SETTINGS:
                    points = _points(suite, scheme, tolerance, settings)
                    place = {"suite": suite["name"], "scheme": family(scheme), "tolerance": tolerance}
                    rows += _fits(points, suite["steps"], {**place, "settings": settings}, seed)
    return rows


def _fits(points: Sequence[Row], steps: int, place: Row, seed: int) -> list[Row]:
    rows = []
    for name in RANGES:
        own = [p for p in points if name == "full" or p["step"] >= steps / LATE]
        columns = {key: np.array([p[key] for p in own], dtype=np.float64) for key in PREDICTORS}
        level = np.array([p["crossing"] for p in own], dtype=np.float64)
        for response in RESPONSES:
            if response == "log2_level" and not (level > 0).all():
                continue
            fits = series_fits(columns, np.log2(level) if response == "log2_level" else level, seed)
            labels = [p["label"] for p in own]
            rows += [
                {**place, "range": name, "response": response, "predictor": key, **fit._asdict(), "labels": labels}
                for key, fit in fits.items()
            ]
    return rows


def _points(suite: Row, scheme: str, tolerance: float, settings: str) -> list[Row]:
    """The checkpoints of the full range: a crossing above the floor, and an estimate with its controls."""
    points = []
    for row in suite["checkpoints"]:
        critical = next((c for c in row["critical"].get(scheme, []) if c["tolerance"] == tolerance), None)
        llc = row[settings]
        if critical is None or critical["level"] is None or critical["censored"] or critical["crossing"] is None:
            continue
        if llc is None or llc["llc"] is None or llc.get("noise_only") is None or not row["step"]:
            continue
        found = {name: row[name] for name in ("label", "step", "loss")}
        found |= {"llc": llc["llc"], "noise_only": llc["noise_only"], "log_step": math.log2(row["step"])}
        points.append(found | {"crossing": critical["crossing"]})
    return points


def main_tolerance(suites: Sequence[Row], tolerances: Sequence[float]) -> float:
    """The tolerance that findings are about, by the rule stated beforehand (`plan.RULE`)."""
    nearest = sorted(tolerances, key=lambda t: (abs(t - _USUAL), t))
    for tolerance in nearest:
        counts = []
        for suite in suites:
            points = _points(suite, suite["schemes"][0], tolerance, "local")
            counts.append(sum(p["step"] >= suite["steps"] / LATE for p in points))
        if counts and min(counts) >= _ENOUGH:
            return tolerance
    return nearest[0]


def rank_rows(studies: dict[str, Row]) -> list[Row]:
    """Spearman's correlations between tolerances, scheme by scheme and suite by suite, as the studies found them."""
    return [
        {**row, "suite": name, "scheme": family(row["scheme"])}
        for name, study in studies.items()
        for row in study["tolerance_ranks"]
        if row["spearman"] is not None
    ]


def bits_rows(studies: dict[str, Row]) -> list[Row]:
    """One row a suite and tolerance: how often each scheme is the shortest description, and its length there."""
    rows = []
    for name, study in studies.items():
        for tolerance in study["tolerances"]:
            own = [row for row in study["fewest_bits"] if row["tolerance"] == tolerance]
            if not own:
                continue
            lengths: dict[str, list[float]] = {}
            for row in own:
                for scheme, bits in row["of"].items():
                    lengths.setdefault(family(scheme), []).append(bits)
            wins = Counter(family(row["scheme"]) for row in own)
            rows.append(
                {
                    "suite": name,
                    "tolerance": tolerance,
                    "checkpoints": len(own),
                    "shortest": dict(wins),
                    "median_bits": {scheme: float(np.median(bits)) for scheme, bits in lengths.items()},
                    "last_bits": {family(scheme): bits for scheme, bits in own[-1]["of"].items()},
                    "last_label": own[-1]["label"],
                }
            )
    return rows
