"""A benchmark's run folder with invented numbers: what tables and page are made from, without measuring."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bitsandnats.experiments.dln_benchmark.plan import Plan, benchmark_plan, network_seed, parameter_count
from bitsandnats.experiments.dln_benchmark.study import benchmark_summary
from bitsandnats.store import ContentKey, Run, create_run, write_json
from bitsandnats.theory.learning_coefficient import deep_linear
from bitsandnats.toys.size_classes import SIZE_CLASSES, SizeClass, architecture

SCATTER = {"calibrated": (0.0, 0.012), "sgld": (-0.12, 0.1), "mclmc": (-0.01, 0.02), "rmsprop_sgld": (0.12, 0.05)}


def invented_row(plan: Plan, size: str, samples: int, sampler: str, net: int) -> dict[str, Any]:
    """One estimate: λ from the network's true architecture, the rest drawn."""
    seed = network_seed(plan.seed, net)
    random = np.random.default_rng([net, len(sampler), samples, len(size)])
    widths, rank = architecture(size, seed)
    known = deep_linear(widths, rank)
    shift, spread = SCATTER.get(sampler, (0.03, 0.06))
    error = shift + spread * float(random.standard_normal())
    diverged = sampler == "sgnht" and net == 1
    llc = None if diverged else known.llc * (1 + error)
    status = "not usable" if diverged else "usable with caution" if abs(error) > 0.09 else "usable"
    reasons = {
        "usable": [],
        "usable with caution": ["38% of the dimensions are still spreading: draw longer or raise gamma"],
        "not usable": ["chain 3 diverged and no average is given: reduce the step size"],
    }
    settings = {"gamma": 10.0, "step_size": 0.000924, "burn_in": 60, "draws": 160, "chains": 8}
    return {
        "label": f"{size}-{net:03d}-n{samples}",
        "size": size,
        "samples": samples,
        "net": net,
        "sampler": sampler,
        "unit": sampler,
        "widths": widths,
        "rank": rank,
        "parameters": parameter_count(widths),
        "truth": known.llc,
        "multiplicity": known.multiplicity,
        "llc": llc,
        "se": None if llc is None else 0.008 * known.llc,
        "interval": None if llc is None else [0.984 * llc, 1.016 * llc],
        "error": None if llc is None else error,
        "relative_se": None if llc is None else 0.008,
        "rhat": 1.02,
        "ess": 250.0,
        "settings": settings,
        "evaluations": 160_000 + 1000 * net,
        "seconds": float(np.exp(random.normal(2.5, 0.5))) * (parameter_count(widths) / 1000) ** 0.7,
        "verdict": {"status": status, "reasons": reasons[status]},
        "failed": None,
    }


def invented_run(folder: Path, plan: Plan) -> Run:
    """The run folder of a plan, as if it had been measured."""
    run = create_run(folder, plan.run_settings(), provenance={})
    networks = []
    for (size, samples), arms in plan.groups().items():
        for net in range(max(arm.nets for arm in arms)):
            for arm in arms:
                if net < arm.nets:
                    row = invented_row(plan, size, samples, arm.sampler, net)
                    networks.append(row)
                    rise = 1 - np.exp(-np.linspace(0.05, 1, 100) * 12)
                    level = 1 + (row["error"] if row["error"] is not None else np.nan)
                    values = row["truth"] * level * rise * np.random.default_rng(net).normal(1, 0.05, (8, 100))
                    data = xr.Dataset({"contribution": (("chain", "point"), values)})
                    data = data.assign_coords(share=("point", np.linspace(0.01, 1, 100)))
                    run.finish(row["label"], row["unit"], ContentKey("", ()), xr.DataTree(data))
    made = {
        "version": "0.1.0",
        "torch": "2.13.0",
        "python": "3.11.7",
        "platform": "Linux x86_64",
        "cores": 2,
        "threads": 2,
        "command": "bitsandnats reproduce dln-benchmark",
        "started": "2026-11-22T01:40:00+00:00",
        "seconds": 5431.0,
        "workers": 1,
        "seed": 0,
    }
    write_json(folder / "summary.json", benchmark_summary(plan, networks, made))
    return run


@pytest.fixture
def invented() -> Callable[[Path, Plan], Run]:
    return invented_run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The default plan as if it had been measured."""
    return invented_run(tmp_path_factory.mktemp("benchmark") / "run", benchmark_plan())


@pytest.fixture
def tiny_class(monkeypatch: pytest.MonkeyPatch) -> str:
    """A size class whose networks have some tens of weights."""
    monkeypatch.setitem(SIZE_CLASSES, "tiny", SizeClass(30, (2, 2), (3, 5)))
    return "tiny"
