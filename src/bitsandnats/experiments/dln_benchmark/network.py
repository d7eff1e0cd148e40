"""One network measured: by the calibrated sampler, then by others at the settings it found; each a stored unit."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from bitsandnats import toys
from bitsandnats._types import Progress
from bitsandnats.calibration import calibrate
from bitsandnats.curvature import top_curvature
from bitsandnats.errors import BitsAndNatsError
from bitsandnats.estimators.llc import LLC, as_record, excess_trace
from bitsandnats.estimators.verdict import NOT_USABLE
from bitsandnats.experiments.dln_benchmark.aims import CALIBRATED
from bitsandnats.experiments.dln_benchmark.evaluations import counted
from bitsandnats.experiments.dln_benchmark.plan import network_seed, parameter_count
from bitsandnats.experiments.dln_benchmark.rules import compared_settings
from bitsandnats.recipes.llc import drawn, estimate_llc
from bitsandnats.settings import Settings, settings_from
from bitsandnats.store import ContentKey, Run, content_key
from bitsandnats.task import Task
from bitsandnats.toys import Toy
from bitsandnats.toys.size_classes import architecture

_POINTS = 100  # of a stored trace
_FIGURES = ("rhat", "ess", "acceptance", "step_share", "drift_share", "gamma_slope", "nbeta_slope", "virial_gap")


@dataclass(frozen=True)
class NetworkWork:
    """One network of the benchmark, as work for any process.

    Attributes:
        folder: the run folder.
        size: its class.
        samples: n.
        net: its number among those of its class.
        samplers: the other samplers that measure it.
        seed: of the run.
        target_se: of the calibrated sampler, a share of λ̂; None = its default.
        gradients: of the others, as a share of those that the calibrated sampler took.
    """

    folder: Path
    size: str
    samples: int
    net: int
    samplers: tuple[str, ...]
    seed: int
    target_se: float | None
    gradients: float

    @property
    def label(self) -> str:
        """Names the network in the run folder."""
        return f"{self.size}-{self.net:03d}-n{self.samples}"


def measure_network(work: NetworkWork, progress: Progress) -> list[dict[str, Any]]:
    """One row a sampler, the calibrated one first; finished units are read, not measured again.

    A sampler that cannot measure the network gives a row that says why.

    Args:
        work: the network.
        progress: told of `network`, in thousandths of it.
    """
    seed = network_seed(work.seed, work.net)
    toy = toys.size_class(work.size, seed, samples=work.samples)
    names = (CALIBRATED, *work.samplers)
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(names):

        def within(stage: str, done: int, total: int, i: int = i) -> None:
            share = done / max(total, 1)
            share = 0.5 + share / 2 if stage == "sampling" else share / 2
            progress("network", round(1000 * (i + share) / len(names)), 1000)

        try:
            found = (
                _calibrated(work, toy, within) if name == CALIBRATED else _compared(work, toy, name, rows[0], within)
            )
        except BitsAndNatsError as error:
            found = {"failed": str(error)}
        rows.append(_row(work, toy, name, seed, found))
        progress("network", round(1000 * (i + 1) / len(names)), 1000)
    return rows


def _calibrated(work: NetworkWork, toy: Toy, progress: Progress) -> dict[str, Any]:
    """λ̂ with nothing set but nβ."""
    given = {"nbeta": toy.nbeta, "seed": work.seed}
    key = content_key(toy.task, {"sampler": CALIBRATED, "target_se": work.target_se, **given})

    def measure(task: Task) -> tuple[LLC, Settings]:
        settings = calibrate(task, given=given, target_se=work.target_se, progress=progress)
        found = estimate_llc(task, settings=settings, target_se=work.target_se, progress=progress)
        return found, settings

    return _unit(work, CALIBRATED, key, toy, measure)


def _compared(
    work: NetworkWork, toy: Toy, sampler: str, reference: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """λ̂ by another sampler at the calibrated nβ and γ, with its share of the gradients."""
    if reference.get("settings") is None:
        return {"failed": "the calibrated sampler found no settings to compare at"}
    settings = settings_from(reference["settings"])
    evaluations = round(work.gradients * reference["evaluations"])
    key = content_key(toy.task, {"sampler": sampler, "reference": settings.values(), "evaluations": evaluations})

    def measure(task: Task) -> tuple[LLC, Settings]:
        curvature = top_curvature(task, items=len(task.data), tolerance=0.005, iterations=100, seed=work.seed).value
        own = compared_settings(sampler, task, settings, curvature=curvature, evaluations=evaluations)
        return estimate_llc(task, settings=own, progress=progress), own

    return _unit(work, sampler, key, toy, measure)


def _unit(
    work: NetworkWork,
    sampler: str,
    key: ContentKey,
    toy: Toy,
    measure: Callable[[Task], tuple[LLC, Settings]],
) -> dict[str, Any]:
    """A measurement with its time and its gradients, from the run folder where it is finished."""
    run, name = Run(work.folder), unit_name(sampler)
    tree = run.finished(work.label, name, key)
    if tree is None:
        task, loss = counted(toy.task)
        began = time.perf_counter()
        estimate, settings = measure(task)
        settings = drawn(settings, estimate)
        seconds = time.perf_counter() - began
        figures = as_record(estimate)
        kept = ("llc", "se", "interval", "verdict", *(name for name in _FIGURES if name in figures))
        record = {name: figures[name] for name in kept} | {
            "settings": settings.values(),
            "reasons": settings.reasons,
            "evaluations": loss.gradients(settings.chains, str(estimate.tree.attrs["mode"])),
            "seconds": seconds,
            "threads": torch.get_num_threads(),
        }
        tree = xr.DataTree(_trace(estimate).assign_attrs(record=json.dumps(record)))
        run.finish(work.label, name, key, tree)
    return json.loads(tree.attrs["record"])


def unit_name(sampler: str) -> str:
    """A sampler's text as the name of a folder."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in sampler)


def _trace(estimate: LLC) -> xr.Dataset:
    """nβ(L(w) − L(w*)) along each chain, nats: means of up to 100 stretches, burn-in included."""
    groups = [g for g in ("burn_in", "draws") if estimate.tree[g].dataset.sizes["draw"] > 0]
    values = np.concatenate([excess_trace(estimate.tree, g) for g in groups], axis=1)
    values = float(estimate.tree.attrs["nbeta"]) * values
    parts = np.array_split(values, min(_POINTS, values.shape[1]), axis=1)
    ends = np.cumsum([part.shape[1] for part in parts])
    return xr.Dataset(
        {"contribution": (("chain", "point"), np.stack([part.mean(1) for part in parts], axis=1))},
        coords={"share": ("point", ends / values.shape[1])},
    )


def _row(work: NetworkWork, toy: Toy, sampler: str, seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """A measurement beside what the network is and what is known of it."""
    widths, rank = architecture(work.size, seed)
    assert toy.coefficient is not None
    truth = toy.coefficient.llc
    row: dict[str, Any] = {
        "label": work.label,
        "size": work.size,
        "samples": work.samples,
        "net": work.net,
        "sampler": sampler,
        "unit": unit_name(sampler),
        "widths": widths,
        "rank": rank,
        "parameters": parameter_count(widths),
        "truth": truth,
        "multiplicity": toy.coefficient.multiplicity,
        **dict.fromkeys(("llc", "se", "interval", "error", "relative_se", "settings", "evaluations", "seconds")),
        "verdict": {"status": NOT_USABLE, "reasons": []},
        "failed": None,
        **found,
    }
    if row["llc"] is not None:
        row["error"] = row["llc"] / truth - 1
        row["relative_se"] = None if row["se"] is None else row["se"] / truth
    if row["failed"]:
        row["verdict"] = {"status": NOT_USABLE, "reasons": [row["failed"]]}
    return row
