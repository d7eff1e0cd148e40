"""Straight-line fits of critical levels, each beside its controls."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

_WORTH_NAMING = 0.3
_FEW_POINTS = 8
_ROUNDING = 1e-16  # share of variance left that is nothing but rounding


@dataclass(frozen=True)
class Fit:
    """A least-squares line response = intercept + slope · predictor.

    Attributes:
        r2: share of the response's variance that the line explains.
        slope, intercept: of the line.
        slope_interval: 95 % interval of the slope (Student t).
        difference_r2: the same R² for first differences along the series.
        partial: partial correlation of response and predictor given the third variable; None where not asked.
        points: checkpoints used.
    """

    r2: float
    slope: float
    slope_interval: tuple[float, float]
    intercept: float
    difference_r2: float | None
    partial: float | None
    points: int


def linear_fit(
    predictor: Float[ndarray, " checkpoint"],
    response: Float[ndarray, " checkpoint"],
    given: Float[ndarray, " checkpoint"] | None = None,
) -> Fit | None:
    """The line through a series, or None for fewer than three points or a constant variable.

    Args:
        predictor: e.g. λ̂ of each checkpoint, in the order of training.
        response: e.g. the critical level.
        given: a third variable (log step) whose linear effect is removed for `partial`.
    """
    if len(predictor) < 3 or np.ptp(predictor) == 0 or np.ptp(response) == 0:
        return None
    line: Any = stats.linregress(predictor, response)
    t = float(stats.t.ppf(0.975, len(predictor) - 2))
    half = t * float(line.stderr)
    return Fit(
        r2=float(line.rvalue) ** 2,
        slope=float(line.slope),
        slope_interval=(float(line.slope) - half, float(line.slope) + half),
        intercept=float(line.intercept),
        difference_r2=_difference_r2(predictor, response),
        partial=None if given is None else partial_correlation(predictor, response, given),
        points=len(predictor),
    )


def partial_correlation(
    x: Float[ndarray, " checkpoint"], y: Float[ndarray, " checkpoint"], given: Float[ndarray, " checkpoint"]
) -> float | None:
    """Correlation of what a straight line in `given` leaves of `x` and `y`; None where too little is left."""
    if len(x) < 4 or np.ptp(given) == 0:
        return None
    left = [v - np.polyval(np.polyfit(given, v, 1), given) for v in (x, y)]
    shares = [float((r**2).sum() / ((v - v.mean()) ** 2).sum()) for r, v in zip(left, (x, y), strict=True) if np.ptp(v)]
    if len(shares) < 2 or min(shares) < _ROUNDING:
        return None
    return float((left[0] * left[1]).sum() / math.sqrt((left[0] ** 2).sum() * (left[1] ** 2).sum()))


def _difference_r2(x: Float[ndarray, " checkpoint"], y: Float[ndarray, " checkpoint"]) -> float | None:
    dx, dy = np.diff(x), np.diff(y)
    if len(dx) < 3 or np.ptp(dx) == 0 or np.ptp(dy) == 0:
        return None
    return float(np.corrcoef(dx, dy)[0, 1]) ** 2


def rank_correlation(x: Float[ndarray, " checkpoint"], y: Float[ndarray, " checkpoint"]) -> float | None:
    """Spearman's correlation of two quantities along a series; None for fewer than three points or a constant one."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    found: Any = stats.spearmanr(x, y)
    return float(found.statistic)


def findings(table: Sequence[dict], tolerance: float, what: str = "n_q") -> list[str]:
    """What the fits at one tolerance say, in words: which predictor follows the critical level best.

    Args:
        table: fit records with `predictor`, `response`, `tolerance`, `r2`, `partial`, `points`.
        tolerance: the main tolerance, nats.
        what: what a level of the scheme counts.
    """
    names = {
        "llc": "λ̂",
        "noise_only": "the noise-only excess (no likelihood at all)",
        "loss": "the held-out loss",
        "log_step": "log step",
    }
    rows = {
        r["predictor"]: r
        for r in table
        if r["tolerance"] == tolerance and r["response"] == "level" and r["r2"] is not None
    }
    if "llc" not in rows or len(rows) < 2:
        return ["Too few checkpoints carry both a critical level above the floor and an estimate: no fit is given."]
    ranked = sorted(rows, key=lambda name: -rows[name]["r2"])
    said = ", ".join(f"{names[name]} {rows[name]['r2']:.2f}" for name in ranked)
    lines = [f"R² of critical {what} at tolerance {tolerance:g} over {rows['llc']['points']} checkpoints: {said}."]
    best, llc = ranked[0], rows["llc"]["r2"]
    rivals = [name for name in ranked if name != "llc" and rows[name]["r2"] >= llc - 0.05]
    if rows[best]["r2"] < _WORTH_NAMING:
        lines.append("None of them follows it.")
    elif best != "llc":
        lines.append(f"{_capital(names[best])} follows it best: λ̂ is not what explains compressibility here.")
    elif rivals:
        said = " and ".join(names[name] for name in rivals)
        lines.append(f"λ̂ follows it best, but {said} within 0.05: this series cannot tell them apart.")
    else:
        lines.append("λ̂ follows it better than loss, log step and the noise-only excess.")
    partial = {name: rows[name]["partial"] for name in ranked if rows[name].get("partial") is not None}
    if "llc" in partial:
        said = ", ".join(f"{names[name]} {value:+.2f}" for name, value in partial.items())
        lines.append(f"Partial correlation with it given log step: {said}.")
    logs = {r["predictor"]: r["r2"] for r in table if r["tolerance"] == tolerance and r["response"] == "log2_level"}
    if logs and max(logs, key=logs.__getitem__) != best:
        other = max(logs, key=logs.__getitem__)
        lines.append(
            f"The ranking depends on the scale: of log₂ {what}, {names[other]} explains most "
            f"({logs[other]:.2f}, λ̂ {logs.get('llc', 0.0):.2f})."
        )
    if rows["llc"]["points"] < _FEW_POINTS:
        lines.append(f"With {rows['llc']['points']} points of one training run, none of this is more than a hint.")
    return lines


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
