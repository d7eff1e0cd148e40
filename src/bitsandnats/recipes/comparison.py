"""Schemes and tolerances of a study side by side: fewest bits, insensitivity to the tolerance, and what they say."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitsandnats.estimators.fits import findings, rank_correlation

_ALIKE = 0.9


def fewest_bits(
    rows: Sequence[dict[str, Any]], schemes: Sequence[str], tolerances: Sequence[float], parameters: int | None
) -> list[dict[str, Any]]:
    """For each checkpoint and tolerance, the scheme of the shortest description, and the lengths of all.

    Lengths are whole (side information and fixed parameters included), in bits a parameter of the model, at the most
    severe level within the tolerance. Schemes without a code (noise) and those that do not meet the tolerance have
    none. Only where there are lengths of at least two schemes.

    Args:
        rows: of the study's table.
        schemes: in the order asked for.
        tolerances: nats a unit.
        parameters: of the model, moving and fixed; None where no checkpoint could be loaded.
    """
    found = []
    for row, tolerance in itertools.product(rows, tolerances):
        points = {scheme: _at(row, scheme, tolerance) for scheme in schemes}
        bits = {s: p["bits"] / parameters for s, p in points.items() if parameters and p and p["bits"] is not None}
        if len(bits) > 1:
            best = min(bits, key=bits.__getitem__)
            place = {"label": row["label"], "tolerance": tolerance}
            found.append({**place, "scheme": best, "bits_per_parameter": bits[best], "of": bits})
    return found


def tolerance_ranks(
    rows: Sequence[dict[str, Any]], schemes: Sequence[str], tolerances: Sequence[float]
) -> list[dict[str, Any]]:
    """Spearman's correlation, along the series, of the critical levels at any two tolerances, scheme by scheme.

    Over the checkpoints at which both crossings were found and neither is censored.
    """
    found = []
    for scheme, (low, high) in itertools.product(schemes, itertools.combinations(sorted(tolerances), 2)):
        pairs = [(_crossing(row, scheme, low), _crossing(row, scheme, high)) for row in rows]
        both = np.array([(a, b) for a, b in pairs if a is not None and b is not None], dtype=float).reshape(-1, 2)
        value = rank_correlation(both[:, 0], both[:, 1])
        place = {"scheme": scheme, "tolerance": low, "other": high}
        found.append({**place, "spearman": value, "points": len(both)})
    return found


def level_name(rows: Sequence[dict[str, Any]], scheme: str) -> str:
    """What a level of a scheme counts, as its results say."""
    points = (point for row in rows for point in row["critical"].get(scheme) or [])
    return next((point["unit"] for point in points if point.get("unit")), "level")


def further_findings(
    rows: Sequence[dict[str, Any]], schemes: Sequence[str], fits: Sequence[dict[str, Any]], tolerance: float
) -> list[str]:
    """One sentence for each scheme beside the first: which predictor its critical level follows."""
    lines = []
    for scheme in schemes:
        own = [f for f in fits if f["scheme"] == scheme and f["tolerance"] == tolerance]
        subset = "rule" if any(f["subset"] == "rule" for f in own) else "all"
        if len({f["predictor"] for f in own if f["subset"] == subset}) > 1:
            said = findings([f for f in own if f["subset"] == subset], tolerance, level_name(rows, scheme))
            lines.append(f"{scheme}: {said[0]}")
    return lines


def comparison_findings(bits: Sequence[dict[str, Any]], ranks: Sequence[dict[str, Any]], tolerance: float) -> list[str]:
    """What the comparison of schemes at one tolerance, and that of tolerances, say in words."""
    lines = []
    at_main = [row for row in bits if row["tolerance"] == tolerance]
    if at_main:
        counts = Counter(row["scheme"] for row in at_main).most_common()
        lengths = [row["bits_per_parameter"] for row in at_main if row["scheme"] == counts[0][0]]
        said = ", ".join(f"{scheme} at {count}" for scheme, count in counts)
        span = f"{min(lengths):.2f}" + (f" to {max(lengths):.2f}" if len(lengths) > 1 else "")
        lines.append(
            f"Fewest bits at tolerance {tolerance:g}, of {len(at_main)} checkpoints: {said}; "
            f"{counts[0][0]} needs {span} bits a parameter, everything included."
        )
    known = [row for row in ranks if row["spearman"] is not None]
    if known:
        least = min(known, key=lambda row: row["spearman"])
        alike = "hardly depends" if least["spearman"] >= _ALIKE else "depends"
        lines.append(
            f"The order of the checkpoints by critical level {alike} on the tolerance: the smallest rank correlation "
            f"is {least['spearman']:.2f} ({least['scheme']}, tolerances {least['tolerance']:g} and {least['other']:g})."
        )
    return lines


def unmeasured_findings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Which schemes could not be measured, at how many checkpoints, and why: one sentence a reason."""
    counts = Counter((scheme, why) for row in rows for scheme, why in (row.get("unmeasured") or {}).items())
    return [f"{scheme} not measured at {n} of {len(rows)} checkpoints: {why}" for (scheme, why), n in counts.items()]


def _at(row: dict[str, Any], scheme: str, tolerance: float) -> dict[str, Any] | None:
    points = row["critical"].get(scheme) or []
    return next((p for p in points if p["tolerance"] == tolerance and p["level"] is not None), None)


def _crossing(row: dict[str, Any], scheme: str, tolerance: float) -> float | None:
    point = _at(row, scheme, tolerance)
    return None if point is None or point["censored"] else point["crossing"]
