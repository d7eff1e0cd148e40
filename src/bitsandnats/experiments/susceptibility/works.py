"""What is sampled of a trained network, each a stored unit: susceptibilities, their control, their sums."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import bitsandnats.recipes.attribution.response as response
from bitsandnats import losses
from bitsandnats._tree import tensors
from bitsandnats._types import Progress
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.estimators.susceptibility import Susceptibility
from bitsandnats.experiments.heads.text import LABELS
from bitsandnats.experiments.heads.training import held_out, texts
from bitsandnats.experiments.heads.units import (
    TrainWork,
    network,
    pairs,
    plain_key,
    recorded,
    task_of,
    training_texts,
)
from bitsandnats.experiments.susceptibility.disjoint import KINDS, SideBySide, components, raised
from bitsandnats.experiments.susceptibility.plan import CONTROL, SHIFT, Plan
from bitsandnats.task import Task

_OTHER = 500_000  # apart from other seeds: texts and chains of the second run


@dataclass(frozen=True)
class Reading:
    """One set of chains of one network, or of two side by side.

    Attributes:
        plan: of the run.
        networks: trained.
        kind: of `READINGS`.
    """

    plan: Plan
    networks: tuple[TrainWork, ...]
    kind: str

    @property
    def seed(self) -> int:
        """Of the networks."""
        return self.networks[0].seed

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.networks[0].folder

    @property
    def label(self) -> str:
        """Of the unit's network in the run folder."""
        return f"s{self.seed}"


def read(work: Reading, progress: Progress) -> dict[str, Any]:
    """One row with the numbers, or why there are none; a finished unit is read, not sampled again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    row: dict[str, Any] = {"seed": work.seed, "kind": work.kind, "failed": None}
    try:
        record, data = recorded(work.folder, work.label, work.kind, _key(work), lambda: _sampled(work, progress))
    except StoreError:
        raise
    except BitsAndNatsError as error:
        return row | {"failed": str(error)}
    progress(work.kind, 1, 1)
    return row | record | {"data": data}


def _key(work: Reading) -> Any:
    plan = work.plan
    return plain_key(
        [
            work.kind,
            plan.recipe,
            plan.part,
            plan.texts,
            plan.probe,
            plan.reference,
            _settings(work).values(),
            work.seed,
            plan.device,
        ]
    )


def _sampled(work: Reading, progress: Progress) -> tuple[dict[str, Any], xr.Dataset]:
    began = time.perf_counter()
    found = (_side_by_side if work.kind.startswith("disjoint") else _of_heads)(work, progress)
    record = {"reliability": found.reliability.record(), "verdict": found.verdict.status}
    record |= {"seconds": time.perf_counter() - began, "columns": int(found.susceptibility.shape[1])}
    full = found.tree["draws"].dataset["loss"].values
    record |= {"center_loss": _center(found), "loss": float(full.mean())}
    data = found.dataset.drop_vars(["susceptibility_se"])
    matrices = {"susceptibility": found.susceptibility, "specific": found.specific()}
    return record, data.assign({name: (("component", "column"), m.astype(np.float32)) for name, m in matrices.items()})


def _of_heads(work: Reading, progress: Progress) -> Susceptibility:
    plan, seed = work.plan, work.seed
    own = training_texts(plan.recipe, seed, plan.texts)
    task = task_of(network(work.networks[0], plan.recipe.steps), own)
    reference = list(range(0, len(task.data), max(1, len(task.data) // plan.reference)))
    if work.kind == "whole":
        probes = {kind: _shifted(task, reference, kind, work) for kind in plan.recipe.probes}
    else:
        probes = {kind: pairs(held_out((kind,), plan.probe, seed=seed)) for kind in plan.recipe.probes}
    return response.susceptibility(
        task,
        plan.recipe.components,
        probes,
        per="item" if work.kind == "whole" else "token",
        reference=reference,
        settings=_settings(work),
        looks=plan.sampling.looks,
        progress=progress,
    )


def _shifted(task: Task, reference: list[int], kind: str, work: Reading) -> Any:
    """The reference's texts with as many other texts of one kind as make up δh of all."""
    count = round(len(reference) * SHIFT / (1 - SHIFT))
    other = pairs(texts((kind,), count, seed=_OTHER + work.seed))
    base = tensors(task.data.batch(torch.tensor(reference)))
    return tuple(torch.cat([a.cpu(), b]) for a, b in zip(base, other, strict=True))


def _side_by_side(work: Reading, progress: Progress) -> Susceptibility:
    plan, seed = work.plan, work.seed
    parts = [network(own, own.recipe.steps) for own in work.networks]
    module = SideBySide(*parts)
    data = [raised(training_texts(own.recipe, seed, plan.texts), i) for i, own in enumerate(work.networks)]
    task = Task.from_module(module, losses.cross_entropy(), tuple(torch.cat(both) for both in zip(*data, strict=True)))
    probes = {
        kind: raised(held_out((kind,), plan.probe, seed=seed), place)
        for place, kinds in enumerate(KINDS)
        for kind in kinds
    }
    return response.susceptibility(
        task,
        components(plan.part),
        probes,
        per="token",
        reference=range(0, len(task.data), max(1, len(task.data) // plan.reference)),
        settings=_settings(work),
        looks=plan.sampling.looks,
        progress=progress,
    )


def _settings(work: Reading) -> Any:
    plan = work.plan
    sampling = plan.published if work.kind == "published" else plan.sampling
    nbeta = CONTROL if work.kind.endswith("control") else None
    seed = work.seed + (_OTHER if work.kind == "whole" else 0)
    return sampling.settings(seed=seed, nbeta=nbeta, device=plan.device)


def _center(found: Susceptibility) -> float:
    own = found.tree["subsets/train"].dataset
    return float(own["center_loss"].sum() / own["weight"].sum())


def column_labels(plan: Plan, seed: int) -> np.ndarray:
    """Label of the token of every column of a reading per token, in the order of the columns."""
    own = [held_out((kind,), plan.probe, seed=seed).labels.numpy().ravel() for kind in plan.recipe.probes]
    return np.array(LABELS)[np.concatenate(own)]
