"""A run folder's contents as flat tables (lists of rows), the only thing that figures and page look at."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from bitsandnats.errors import StoreError
from bitsandnats.report.numbers import Number, compact, finite

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""

POINTS_PER_CHAIN = 200
"""Draws of a chain that are drawn; longer traces show every k-th."""

QUANTILE = 1.959963984540054
"""Standard errors from the middle to the end of a 95 % interval."""


@runtime_checkable
class Run(Protocol):
    """What the report needs of a run folder."""

    def summary(self) -> dict[str, Any]:
        """The run's `summary.json`."""
        ...

    def tree(self, label: str, measurement: str) -> xr.DataTree:
        """One stored measurement of one checkpoint."""
        ...


@dataclass(frozen=True)
class Tables:
    """All that the report shows, read once."""

    summary: dict[str, Any]
    checkpoints: list[Row]  # one a checkpoint: step, loss, llc, noise, with the ends of their intervals
    critical: list[Row]  # one a checkpoint, scheme and tolerance
    curves: list[Row]  # one a checkpoint, scheme and level
    traces: list[Row]  # one a checkpoint, chain and shown draw
    missing: list[str]  # measurements that the summary names and the folder lacks


def read(run: Run) -> Tables:
    """All tables of a run; measurements that cannot be read are named in `missing`, not guessed.

    Raises:
        StoreError: the folder has no summary, or one of another schema.
    """
    summary = run.summary()
    missing: list[str] = []
    checkpoints = checkpoint_rows(summary)
    curves: list[Row] = []
    traces: list[Row] = []
    for checkpoint in checkpoints:
        if checkpoint["has_llc"]:
            tree = _tree(run, checkpoint["label"], "llc", missing)
            traces += trace_rows(tree, checkpoint) if tree is not None else []
        for scheme in checkpoint["schemes"]:
            tree = _tree(run, checkpoint["label"], scheme, missing)
            curves += curve_rows(tree, checkpoint, scheme) if tree is not None else []
    return Tables(summary, checkpoints, critical_rows(summary), curves, traces, missing)


def checkpoint_rows(summary: dict[str, Any]) -> list[Row]:
    """One row a checkpoint, in the series' order; intervals are 95 %."""
    rows = []
    checkpoints = summary.get("checkpoints") or []
    for order, (checkpoint, short) in enumerate(zip(checkpoints, short_labels(checkpoints), strict=True)):
        llc = checkpoint.get("llc") or {}
        verdict = llc.get("verdict") or {}
        low, high = llc.get("interval") or _ends(llc.get("llc"), llc.get("se"))
        noise_low, noise_high = _ends(llc.get("noise_only"), llc.get("noise_only_se"))
        loss_low, loss_high = _ends(checkpoint.get("loss"), checkpoint.get("loss_se"))
        rows.append(
            {
                **{key: checkpoint.get(key) for key in ("label", "step", "source", "loss", "loss_se", "failed")},
                **{key: llc.get(key) for key in _LLC_KEYS},
                "order": order,
                "short": short,
                "low": low,
                "high": high,
                "noise_low": noise_low,
                "noise_high": noise_high,
                "loss_low": loss_low,
                "loss_high": loss_high,
                "status": verdict.get("status"),
                "reasons": list(verdict.get("reasons") or []),
                "has_llc": checkpoint.get("llc") is not None,
                "schemes": [name for name, found in (checkpoint.get("critical") or {}).items() if found],
                "unmeasured": checkpoint.get("unmeasured") or {},
                "subsets": checkpoint.get("subsets") or {},
            }
        )
    return rows


def critical_rows(summary: dict[str, Any]) -> list[Row]:
    """One row a checkpoint, scheme and tolerance; `low`, `high` bound the interpolated crossing."""
    rows = []
    checkpoints = summary.get("checkpoints") or []
    for order, (checkpoint, short) in enumerate(zip(checkpoints, short_labels(checkpoints), strict=True)):
        for scheme, points in (checkpoint.get("critical") or {}).items():
            for point in points or []:
                if point is None:
                    continue
                low, high = point.get("interval") or (None, None)
                kept = {key: point.get(key) for key in _CRITICAL_KEYS}
                place = {"label": checkpoint["label"], "short": short, "step": checkpoint.get("step")}
                rows.append({**kept, **place, "order": order, "scheme": scheme, "low": low, "high": high})
    return rows


def curve_rows(tree: xr.DataTree, checkpoint: Row, scheme: str) -> list[Row]:
    """ΔL (nats a unit) at every level that was evaluated, and its whole length in bits a parameter of the model."""
    data = tree.to_dataset()
    unit, parameters = data.attrs.get("unit"), data.attrs.get("parameters")
    lengths = data["bits"].values if "bits" in data else np.full(data.sizes["level"], np.nan)
    errors = data["excess_loss_se"].values if "excess_loss_se" in data else np.full(data.sizes["level"], np.nan)
    rows = []
    columns = (data["level"].values, data["excess_loss"].values, errors, lengths)
    for level, excess, error, bits in zip(*columns, strict=True):
        if not math.isfinite(excess):
            continue
        place = {key: checkpoint[key] for key in ("label", "short", "order")} | {"scheme": scheme, "unit": unit}
        length = None if parameters is None else _plain(bits / parameters)
        found = {"level": float(level), "excess": _plain(excess), "se": _plain(error), "bits": length}
        rows.append({**place, **found})
    return rows


def trace_rows(tree: xr.DataTree, checkpoint: Row) -> list[Row]:
    """Every k-th draw of every chain: its loss above that of the same batch at w*, or the raw loss without a baseline.

    Burn-in has negative draws, so that draw 0 is the first kept one.
    """
    parts = [(name, tree[name].to_dataset()) for name in ("burn_in", "draws") if name in tree.children]
    parts = [(name, data) for name, data in parts if "loss" in data and data.sizes.get("draw", 0) > 0]
    total = sum(data.sizes["draw"] for _, data in parts)
    stride = max(1, math.ceil(total / POINTS_PER_CHAIN))
    paired = all("baseline" in data and bool(np.isfinite(data["baseline"]).any()) for _, data in parts)
    center = 0.0 if paired else _plain(tree.attrs.get("center_loss"))
    nbeta = tree.attrs.get("nbeta")
    noise = checkpoint["noise_only"] / nbeta if paired and nbeta and finite(checkpoint["noise_only"]) else None
    fixed = {
        **{key: checkpoint[key] for key in ("label", "short", "order", "status")},
        "mean": checkpoint["excess"] if paired else None,
        "paired": paired,
        "center": center,
        "noise": noise,
        "stride": stride,
    }
    rows = []
    for name, data in parts:
        values = data["loss"].transpose("chain", "draw").values
        if paired:
            values = values - data["baseline"].transpose("chain", "draw").values
        first = -data.sizes["draw"] if name == "burn_in" else 0
        for chain, trace in enumerate(values):
            for draw in range(0, len(trace), stride):
                place = {"chain": chain + 1, "draw": first + draw, "part": name}
                rows.append({**fixed, **place, "value": _plain(trace[draw])})
    return rows


def short_labels(checkpoints: list[dict[str, Any]]) -> list[str]:
    """One distinct label a checkpoint, short enough for a figure: its step, or its own label, its middle cut out."""
    steps = [step for step in (checkpoint.get("step") for checkpoint in checkpoints) if finite(step)]
    labels = [str(checkpoint["label"]) for checkpoint in checkpoints]
    choices = [[label if len(label) <= 16 else f"{label[:6]}…{label[-9:]}" for label in labels]]
    if len(steps) == len(labels):
        choices = [[compact(step) for step in steps], [f"{step:.15g}" for step in steps], *choices]
    return next((choice for choice in choices if len(set(choice)) == len(choice)), labels)


def chosen_fits(summary: dict[str, Any]) -> list[Row]:
    """One fit a question: by the rule where it left at least four points, else over all uncensored checkpoints."""
    chosen: dict[tuple[Any, ...], Row] = {}
    for fit in summary.get("fits") or []:
        key = tuple(fit[name] for name in ("scheme", "tolerance", "response", "predictor"))
        if key not in chosen or _fit_rank(fit) > _fit_rank(chosen[key]):
            chosen[key] = fit
    return list(chosen.values())


def main_tolerance(summary: dict[str, Any]) -> float | None:
    """The tolerance (nats a unit) that figures show: the run's own choice, else 0.5, else the middle one."""
    if finite(summary.get("main_tolerance")):
        return float(summary["main_tolerance"])
    tolerances = sorted(summary.get("tolerances") or [])
    if not tolerances:
        return None
    return 0.5 if 0.5 in tolerances else float(tolerances[len(tolerances) // 2])


_LLC_KEYS = (
    *("llc", "se", "rhat", "ess", "excess", "chance_share", "discretisation_share", "noise_only", "noise_only_se"),
    *("noise_share", "drift_share", "slope_part", "slope_part_se", "top_curvature", "seconds"),
)
_CRITICAL_KEYS = (
    *("tolerance", "level", "crossing", "bits", "bits_per_parameter", "excess_loss", "excess_loss_se"),
    *("censored", "monotone", "unit", "bound", "remark"),
)


def _ends(value: Number | None, error: Number | None) -> tuple[Number | None, Number | None]:
    """Ends of the 95 % interval around a value, or nothing."""
    if not finite(value) or not finite(error):
        return None, None
    return value - QUANTILE * error, value + QUANTILE * error


def _fit_rank(fit: Row) -> int:
    """Which of two fits to the same question is shown: the higher."""
    enough = finite(fit["r2"]) and (fit["points"] or 0) >= 4
    return (2 if fit["subset"] == "rule" else 1) if enough else 0


def _plain(value: Any) -> float | None:
    """A float of five significant digits (what a figure can show), None where it is not finite."""
    return float(f"{float(value):.5g}") if value is not None and math.isfinite(value) else None


def _tree(run: Run, label: str, measurement: str, missing: list[str]) -> xr.DataTree | None:
    """A stored measurement; one that is not there is noted in `missing`."""
    try:
        return run.tree(label, measurement)
    except (StoreError, OSError, KeyError):
        missing.append(f"{label}/{measurement}")
        return None
