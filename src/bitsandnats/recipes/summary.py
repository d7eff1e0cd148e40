"""summary.json of a study: the table, the fits beside their controls, the findings and the verdict."""

import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from bitsandnats._tree import numel
from bitsandnats._version import __version__
from bitsandnats.estimators.fits import findings, linear_fit
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE
from bitsandnats.recipes.comparison import (
    comparison_findings,
    fewest_bits,
    further_findings,
    level_name,
    tolerance_ranks,
    unmeasured_findings,
)
from bitsandnats.settings import Settings
from bitsandnats.task import Task

RULE = (
    "Checkpoints used in fits, stated beforehand: step ≥ 1, critical level found and above the scheme's floor, "
    "LLC sampled right (verdict not 'not usable'). Main tolerance: of those with at least four such checkpoints, "
    "the one nearest to 0.5 nat."
)
_NO_LLC = f"{CAUTION}: critical levels alone, no LLC was asked for."
_FEWEST_POINTS = 4
_PREDICTORS = ("llc", "noise_only", "loss", "log_step")


def provenance(command: str | None, seed: int) -> dict[str, Any]:
    """Versions, machine and the command that remakes a run."""
    packages = {name: _version(name) for name in ("torch", "transformers", "numpy", "xarray", "zarr")}
    return {
        "version": __version__,
        **{name: v for name, v in packages.items() if v},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
    }


def model_facts(task: Task) -> dict[str, Any]:
    """Size, unit and what was done to the model."""
    fixed = numel(task.fixed)
    return {
        "parameters": task.dimension + fixed,
        "moved": task.dimension,
        "fixed": fixed,
        "notes": list(task.notes),
        "unit": task.unit,
        "chance_loss": task.chance_loss,
    }


def data_facts(task: Task, held_out: Task, sampling: str, evaluation: str) -> dict[str, Any]:
    """What was sampled on and what was evaluated on."""
    return {
        "sampling": {"items": len(task.data), "units": task.n, "what": sampling},
        "evaluation": {"items": len(held_out.data), "units": held_out.n, "what": evaluation},
    }


def study_summary(
    head: dict[str, Any], rows: Sequence[dict[str, Any]], settings: Settings | None, measured: dict[str, Any]
) -> dict[str, Any]:
    """Everything that the report and the command line show of a study; without settings, one without LLCs."""
    leading = next(iter(head["schemes"]), "")
    fits = [
        fit for scheme in head["schemes"] for tolerance in head["tolerances"] for fit in _fits(rows, scheme, tolerance)
    ]
    first = [f for f in fits if f["scheme"] == leading]
    fitted = {f["tolerance"] for f in first} or set(head["tolerances"])
    main = min(fitted, key=lambda t: (abs(t - 0.5), t))
    subset = "rule" if any(f["subset"] == "rule" for f in first) else "all"
    said = findings([f for f in first if f["subset"] == subset], main, level_name(rows, leading))
    if subset == "all" and first:
        said.insert(0, "Fewer than four checkpoints pass the rule: the fits include estimates that are not usable.")
    said += further_findings(rows, head["schemes"][1:], fits, main)
    parameters = (head.get("model") or {}).get("parameters")
    bits = fewest_bits(rows, head["schemes"], head["tolerances"], parameters)
    ranks = tolerance_ranks(rows, head["schemes"], head["tolerances"])
    said += comparison_findings(bits, ranks, main) + unmeasured_findings(rows)
    return {
        "schema": 1,
        "kind": "study",
        **head,
        "verdict": _verdict(rows) if settings is not None else {"status": CAUTION, "text": _NO_LLC},
        "findings": said,
        "provenance": measured,
        "settings": {} if settings is None else settings.values(),
        "reasons": {} if settings is None else settings.reasons,
        "rule": RULE,
        "main_tolerance": main,
        "checkpoints": list(rows),
        "fits": fits,
        "fewest_bits": bits,
        "tolerance_ranks": ranks,
    }


def _fits(rows: Sequence[dict[str, Any]], scheme: str, tolerance: float) -> list[dict[str, Any]]:
    found = []
    for subset in ("rule", "all"):
        used = [p for p in (_point(row, scheme, tolerance, subset) for row in rows) if p is not None]
        if subset == "all" and any(f["subset"] == "rule" for f in found):
            break
        if len(used) < _FEWEST_POINTS:
            continue
        steps = np.array([p["log_step"] for p in used])
        for response in ("level", "log2_level"):
            y = np.array([p["crossing"] for p in used])
            if response == "log2_level":
                if y.min() <= 0:
                    continue
                y = np.log2(y)
            for predictor in _PREDICTORS:
                x = np.array([p[predictor] for p in used], dtype=float)
                if not np.isfinite(x).all():
                    continue
                fit = linear_fit(x, y, None if predictor == "log_step" else steps)
                if fit is None:
                    continue
                found.append(
                    {
                        "scheme": scheme,
                        "tolerance": tolerance,
                        "response": response,
                        "predictor": predictor,
                        "subset": subset,
                        "labels": [p["label"] for p in used],
                        "r2": fit.r2,
                        "slope": fit.slope,
                        "slope_interval": list(fit.slope_interval),
                        "intercept": fit.intercept,
                        "points": fit.points,
                        "difference_r2": fit.difference_r2,
                        "partial": fit.partial,
                    }
                )
    return found


def _point(row: dict[str, Any], scheme: str, tolerance: float, subset: str) -> dict[str, Any] | None:
    """One checkpoint's coordinates in the fits, or None where it is left out."""
    critical = next((c for c in row["critical"].get(scheme, []) if c["tolerance"] == tolerance), None)
    llc = row["llc"]
    if critical is None or critical["level"] is None or critical["censored"] or not row["step"]:
        return None
    if llc is None or llc["llc"] is None or (subset == "rule" and llc["verdict"]["status"] == NOT_USABLE):
        return None
    noise = llc.get("noise_only")
    return {
        "label": row["label"],
        "crossing": critical["crossing"],
        "llc": llc["llc"],
        "noise_only": math.nan if noise is None else noise,
        "loss": row["loss"],
        "log_step": math.log2(row["step"]),
    }


def _verdict(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The verdict on a study as a whole, from those on its checkpoints."""
    states = [row["llc"]["verdict"]["status"] for row in rows if row["llc"]]
    if not states or all(s == NOT_USABLE for s in states):
        return {"status": NOT_USABLE, "text": f"{NOT_USABLE}: no checkpoint was sampled right; see the reasons."}
    if all(s == USABLE for s in states) and len(states) == len(rows):
        return {"status": USABLE, "text": f"{USABLE}: every estimate was sampled right and may be read as λ."}
    wrong = states.count(NOT_USABLE) + len(rows) - len(states)
    said = []
    if CAUTION in states:
        said.append("λ̂ compares along this series, at equal nβ, γ and unit; it may not be read as λ everywhere")
    if wrong:
        said.append(f"{wrong} of {len(rows)} checkpoints were not sampled right")
    return {"status": CAUTION, "text": f"{CAUTION}: {'; '.join(said)}."}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
