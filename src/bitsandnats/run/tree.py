"""The tree of draws, gathered from what each group of chains left behind."""

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bitsandnats.run.baseline import Baseline, unpaired_center_loss
from bitsandnats.settings import Settings
from bitsandnats.task import Task

_FOLD = 1000


class Part(NamedTuple):
    """What one group of chains left behind.

    Attributes:
        traces: by name, (chain, step).
        diverged_at: step at which a chain died (chain); −1 = never.
        observed: reduced observables by name and kind.
        acceptance: that a Metropolis test would give to the last steps (chain, step); None where it was not asked.
    """

    traces: dict[str, np.ndarray]
    diverged_at: np.ndarray
    observed: dict[str, dict[str, Tensor]]
    acceptance: np.ndarray | None


class Rows:
    """What each step leaves behind, folded into arrays as it comes: a tensor a step and quantity costs far more."""

    def __init__(self) -> None:
        self._open: list[dict[str, Tensor]] = []
        self._folded: dict[str, list[np.ndarray]] = {}
        self._steps = 0

    def add(self, row: dict[str, Tensor]) -> None:
        """One step's quantities, each (chain)."""
        self._open.append(row)
        if len(self._open) == _FOLD:
            self._fold()

    def traces(self, steps: int) -> dict[str, np.ndarray]:
        """Each quantity as (chain, step); NaN where there are no rows."""
        self._fold()
        traces = {}
        for name, blocks in self._folded.items():
            traces[name] = np.full((len(blocks[0]), steps), np.nan)
            traces[name][:, : self._steps] = np.concatenate(blocks, 1)
        traces.setdefault("baseline", np.full_like(traces["loss"], np.nan))
        return traces

    def _fold(self) -> None:
        if self._open:
            for name in self._open[0]:
                block = torch.stack([row[name] for row in self._open], 1).double().cpu().numpy()
                self._folded.setdefault(name, []).append(block)
            self._steps += len(self._open)
            self._open = []


def assemble(task: Task, settings: Settings, parts: list[Part], baseline: Baseline) -> xr.DataTree:
    """All groups' traces as one tree, see `run.sample`."""
    traces = {name: np.concatenate([p.traces[name] for p in parts]) for name in parts[0].traces}
    with np.errstate(over="ignore", invalid="ignore"):  # a runaway chain is judged by the verdict
        _add_virial(traces, settings)
    diverged = xr.DataArray(np.concatenate([p.diverged_at for p in parts]), dims="chain")

    def group(columns: slice) -> xr.Dataset:
        cut = {name: (("chain", "draw"), trace[:, columns]) for name, trace in traces.items()}
        length = len(range(*columns.indices(settings.steps)))
        return xr.Dataset(cut, coords={"chain": np.arange(settings.chains), "draw": np.arange(length)})

    center_loss_se = 0.0  # paired, it cancels: what is left of it is in the trace
    if baseline.item_losses is not None:
        center_loss = float(task.mean_loss(baseline.item_losses.double()))
    elif baseline.paired:
        center_loss = _finite_mean(traces["baseline"])
    else:
        center_loss, center_loss_se = unpaired_center_loss(task, settings)
    observed = {
        f"{name}_{kind}": ((("chain", "draw") if kind == "trace" else ("chain",)), values)
        for name, kinds in parts[0].observed.items()
        for kind, values in ((k, np.concatenate([p.observed[name][k].numpy() for p in parts])) for k in kinds)
        if all(p.observed for p in parts)
    }
    tree = xr.DataTree.from_dict(
        {
            "draws": group(slice(settings.burn_in, None)).assign(diverged_at=diverged),
            "burn_in": group(slice(0, settings.burn_in)),
            "observables": xr.Dataset(
                {k: ((*dims, *(f"{k}_{i}" for i in range(v.ndim - len(dims)))), v) for k, (dims, v) in observed.items()}
            ),
        }
    )
    tree.attrs.update(
        {
            **settings.values(),
            "center_loss": center_loss,
            "center_loss_se": center_loss_se,
            "paired": bool(baseline.paired or baseline.item_losses is not None),
            "unit": task.unit,
            "n": task.n,
            "items": len(task.data),
            "dimension": task.dimension,
        }
    )
    accepted = [p.acceptance for p in parts if p.acceptance is not None]
    if accepted:
        tree.attrs["mala_acceptance"] = float(np.concatenate(accepted).mean())
    if task.chance_loss is not None:
        tree.attrs["chance_loss"] = task.chance_loss
    return tree


def _add_virial(traces: dict[str, np.ndarray], settings: Settings) -> None:
    """Turns the step's inner products, where they were kept, into the terms of the virial identity."""
    if settings.statistics == "none":  # a sampler may have made them for its own use
        for name in ("distance_squared", "displacement_gradient", "gradient_squared", "displacement_slope"):
            traces.pop(name, None)
        return
    pull = settings.gamma * traces["distance_squared"]
    inner = settings.nbeta * traces.pop("displacement_gradient")
    gradient = settings.nbeta**2 * traces.pop("gradient_squared")
    traces["likelihood_virial"] = inner
    traces["slope_part"] = settings.nbeta * traces.pop("displacement_slope")
    traces["virial"] = inner + pull
    traces["gradient_norm_squared"] = gradient + 2 * settings.gamma * inner + settings.gamma * pull


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
