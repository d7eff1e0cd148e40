"""Synthetic run folders in the stored layout, with numbers like those of a real study."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

STEPS = [0, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536]
LLC = [12.0, 91.2, 146.1, 108.4, 73.3, 90.2, 87.1, 94.4, 123.5, 160.2, 220.8]
NOISE = [190.0, 196.0, 202.0, 155.0, 139.0, 140.0, 145.0, 151.0, 165.0, 202.0, 251.0]
LOSS = [6.96, 6.41, 5.92, 5.11, 4.64, 4.21, 3.69, 3.31, 2.92, 2.71, 2.50]
CRITICAL = [4.0, 4.0, 4.1, 5.2, 5.3, 5.5, 5.8, 6.1, 7.4, 8.1, 10.0]
TOLERANCES = [0.1, 0.3, 0.5, 1.0]
NBETA = 3000.0


def crossing(at: int, tolerance: float) -> float:
    """A critical level that is larger where less loss is allowed."""
    return max(4.0, CRITICAL[at] * (0.5 / tolerance) ** 0.42)


def line(x: list[float], y: list[float]) -> tuple[float, float, float]:
    """Slope, intercept and R² of a least-squares line."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept), float(np.corrcoef(x, y)[0, 1] ** 2)


def checkpoint(at: int) -> dict[str, Any]:
    """One checkpoint's part of the summary."""
    status = "usable with caution" if at > 1 else "not usable"
    reasons = [
        f"pure weight noise explains {100 * NOISE[at] / LLC[at]:.0f} % of it: comparable only at equal nβ, γ, unit"
    ]
    if at <= 1:
        reasons = ["chains disagree (R̂ 1.31 > 1.1)", *reasons]
    if at == 10:
        status, reasons = "usable", []
    llc = {
        "llc": LLC[at],
        "se": 0.02 * LLC[at] + 1,
        "interval": [LLC[at] * 0.96 - 2, LLC[at] * 1.04 + 2],
        "rhat": 1.31 if at <= 1 else 1.01 + 0.003 * at,
        "ess": 21.0 if at <= 1 else 64.0 + 9 * at,
        "excess": LLC[at] / NBETA,
        "chance_share": 0.004 * at,
        "discretisation_share": 0.052,
        "noise_only": NOISE[at],
        "noise_only_se": 4.0,
        "noise_share": 0.59,
        "drift_share": 0.031,
        "top_curvature": 9.5,
        "seconds": 14.0,
        "verdict": {"status": status, "reasons": reasons},
    }
    points = []
    for tolerance in TOLERANCES:
        found = crossing(at, tolerance)
        level = max(4, 2 * math.ceil(found / 2))
        points.append(
            {
                "tolerance": tolerance,
                "level": level,
                "crossing": found,
                "bits": 660480 * math.log2(level),
                "bits_per_parameter": math.log2(level),
                "excess_loss": 0.8 * tolerance,
                "excess_loss_se": 0.012,
                "interval": [found * 0.97, found * 1.03],
                "censored": found <= 4.0,
                "monotone": not (at == 5 and tolerance == 0.3),
            }
        )
    place = {"label": f"step{STEPS[at]}", "step": STEPS[at], "loss": LOSS[at], "loss_se": 0.021}
    return {**place, "llc": llc, "critical": {"quantize": points}, "failed": None}


def fits() -> list[dict[str, Any]]:
    """Fits as a study writes them."""
    found = []
    for tolerance in TOLERANCES:
        used = [at for at in range(2, 11) if crossing(at, tolerance) > 4]
        columns = {
            "llc": LLC,
            "loss": LOSS,
            "log_step": [math.log2(step) if step else None for step in STEPS],
            "noise_only": NOISE,
        }
        for response in ("level", "log2_level"):
            y = [crossing(at, tolerance) for at in used]
            y = y if response == "level" else [math.log2(value) for value in y]
            for predictor, column in columns.items():
                slope, intercept, r2 = line([column[at] for at in used], y)
                found.append(
                    {
                        "scheme": "quantize",
                        "tolerance": tolerance,
                        "response": response,
                        "predictor": predictor,
                        "r2": r2,
                        "slope": slope,
                        "slope_interval": [slope - 0.01, slope + 0.01],
                        "intercept": intercept,
                        "points": len(used),
                        "labels": [f"step{STEPS[at]}" for at in used],
                        "difference_r2": 0.41 * r2,
                        "partial": None if predictor == "log_step" else 1.6 * r2 - 0.8,
                        "subset": "rule",
                    }
                )
    return found


def study() -> dict[str, Any]:
    """The summary of a whole study."""
    return {
        "schema": 1,
        "kind": "study",
        "title": "demo",
        "verdict": {
            "status": "usable with caution",
            "text": "usable with caution: 8 of 11 checkpoints were sampled right, but pure weight noise explains most "
            "of λ̂. Compare these numbers only with others at nβ = 3000, γ = 10000 and tokens as the unit.",
        },
        "findings": [
            "Critical n_q at tolerance 0.5 follows λ̂ with R² 0.50 over 9 checkpoints; log step alone gives 0.86, "
            "held-out loss 0.79, the noise-only control 0.43.",
            "On first differences along the series R² is 0.20: most of the agreement is a shared trend.",
            "λ̂ falls from step 64 to step 192 and rises after it, while critical n_q rises throughout.",
        ],
        "recipe": "local",
        "provenance": {
            "version": "0.1.0",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            "python": "3.11.7",
            "platform": "Linux x86_64",
            "cores": 2,
            "threads": 2,
            "command": "bitsandnats demo --out runs/demo",
            "started": "2026-11-22T01:40:00Z",
            "seconds": 431.0,
            "seed": 0,
        },
        "model": {
            "parameters": 660480,
            "moved": 658176,
            "fixed": 1024,
            "unit": "token",
            "chance_loss": 6.931,
            "notes": ["layer norms folded into the next linear map (function-preserving)"],
        },
        "data": {
            "sampling": {"items": 3000, "units": 381000, "what": "training text"},
            "evaluation": {"items": 32, "units": 4064, "what": "held-out text"},
        },
        "settings": {
            "sampler": "sgld",
            "step_size": 7.78e-6,
            "gamma": 1e4,
            "nbeta": NBETA,
            "batch_size": 8,
            "chains": 2,
            "burn_in": 60,
            "draws": 140,
            "start": "noise",
            "seed": 0,
        },
        "reasons": {
            "nbeta": "min(n/ln n, 3000): n/ln n = 29657",
            "gamma": "flat directions relax within 60 steps",
            "step_size": "0.3 of the stability limit of the stiffest checkpoint (curvature 9.5)",
            "start": "w* + N(0, 1/γ): flat directions are stationary from the first step",
            "draws": "relaxation of 25 steps × 5",
        },
        "rule": "step ≥ 1, critical n_q above the floor of 4, LLC sampled right",
        "tolerances": TOLERANCES,
        "schemes": ["quantize"],
        "checkpoints": [checkpoint(at) for at in range(len(STEPS))],
        "fits": fits(),
    }


def llc_tree(at: int, *, chains: int = 2, draws: int = 140, burn_in: int = 60) -> xr.DataTree:
    """Chains like a sampler's: an autocorrelated excess over a scattered baseline."""
    rng = np.random.default_rng(at)

    def part(count: int, start: float) -> xr.Dataset:
        excess = np.full((chains, count), LLC[at] / NBETA)
        drift = np.zeros(chains)
        for draw in range(count):
            drift = 0.8 * drift + 0.12 * (LLC[at] / NBETA) * rng.normal(size=chains)
            excess[:, draw] += drift + start * math.exp(-draw / 12) * LLC[at] / NBETA
        baseline = LOSS[at] + 0.05 * rng.normal(size=(chains, count))
        variables = {"loss": baseline + excess, "baseline": baseline}
        return xr.Dataset({name: (("chain", "draw"), values) for name, values in variables.items()})

    tree = xr.DataTree(xr.Dataset(attrs={"nbeta": NBETA, "gamma": 1e4, "center_loss": LOSS[at], "unit": "token"}))
    tree["draws"] = xr.DataTree(part(draws, 0.0).assign(diverged_at=("chain", np.full(chains, -1))))
    tree["burn_in"] = xr.DataTree(part(burn_in, 0.6))
    tree["noise_only"] = xr.DataTree(xr.Dataset({"excess": ("draw", np.full(8, NOISE[at] / NBETA))}))
    return tree


def quantize_tree(at: int) -> xr.DataTree:
    """ΔL falling with n_q through the tolerances at the crossings."""
    levels = np.array([4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 64, 128, 256])
    excess = 0.5 * (levels / CRITICAL[at]) ** (-1 / 0.42)
    variables = {"excess_loss": excess, "excess_loss_se": 0.02 * excess, "max_abs": 0.2 + 0 * excess}
    data = xr.Dataset({name: ("level", values) for name, values in variables.items()}, coords={"level": levels})
    return xr.DataTree(data)


def write_run(folder: Path, summary: dict[str, Any], trees: dict[tuple[str, str], xr.DataTree]) -> Path:
    """Stores a run folder as recipes do."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text("[settings]\nseed = 0\n", encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary, allow_nan=False), encoding="utf-8")
    for (label, measurement), tree in trees.items():
        unit = folder / "units" / label / measurement
        unit.mkdir(parents=True)
        tree.to_zarr(unit / "data.zarr", consolidated=True, zarr_format=2)
        (unit / "unit.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole synthetic study, stored once."""
    trees = {(f"step{step}", "llc"): llc_tree(at) for at, step in enumerate(STEPS)}
    trees |= {(f"step{step}", "quantize"): quantize_tree(at) for at, step in enumerate(STEPS)}
    return write_run(tmp_path_factory.mktemp("run") / "demo", study(), trees)


@pytest.fixture
def summary() -> dict[str, Any]:
    """A summary to change at will."""
    return copy.deepcopy(study())


@pytest.fixture
def make_run() -> Callable[..., Path]:
    """`write_run`, for tests that change what is stored."""
    return write_run
