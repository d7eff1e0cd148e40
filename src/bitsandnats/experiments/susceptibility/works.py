"""What is sampled of a trained network, each a stored unit: susceptibilities, their control, their sums."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import xarray as xr

from bitsandnats import losses
from bitsandnats._types import Progress
from bitsandnats.component import on_component
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.estimators.susceptibility import Susceptibility, component_trees
from bitsandnats.estimators.susceptibility import susceptibility as read_susceptibility
from bitsandnats.experiments.heads.chains import chain_settings, noise_settings
from bitsandnats.experiments.heads.text import LABELS
from bitsandnats.experiments.heads.training import held_out
from bitsandnats.experiments.heads.units import (
    TrainWork,
    network,
    pairs,
    plain_key,
    recorded,
    task_of,
    training_texts,
)
from bitsandnats.experiments.susceptibility.components import kept_components
from bitsandnats.experiments.susceptibility.disjoint import KINDS, SideBySide, components, raised
from bitsandnats.experiments.susceptibility.plan import Plan
from bitsandnats.observables.subsets import as_subset
from bitsandnats.recipes.attribution.observation import observe
from bitsandnats.settings import Settings
from bitsandnats.task import Task

_OTHER = 500_000  # apart from other seeds: chains of the second run


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
    chains = plan.published if work.kind == "published" else plan.sampling
    sizes = [plan.texts, plan.probe, plan.shifted] + ([plan.added] if work.kind == "whole" else [])
    return plain_key([work.kind, plan.recipe, plan.part, sizes, chains, work.seed, plan.device])


def _sampled(work: Reading, progress: Progress) -> tuple[dict[str, Any], xr.Dataset]:
    began = time.perf_counter()
    found, settings = (_side_by_side if work.kind.startswith("disjoint") else _of_heads)(work, progress)
    own = found.specific_reliability()
    record = {"reliability": found.reliability.record(), "verdict": found.verdict.status}
    record |= {"specific_reliability": own.record(), "specific_verdict": own.verdict.status}
    record |= {"seconds": time.perf_counter() - began, "columns": int(found.susceptibility.shape[1])}
    full = found.tree["draws"].dataset
    record |= {"center_loss": _center(found), "loss": float(full["loss"].values.mean()), "settings": settings.values()}
    if "acceptance" in full:
        runs = [full, *(part["draws"].dataset for part in component_trees(found.tree))]
        record["acceptance"] = [float(run["acceptance"].values.mean()) for run in runs]
    data = found.dataset.drop_vars(["susceptibility_se"]).drop_attrs()
    halves = {"chains": own.over_chains, "draws": own.over_draws}
    data = data.assign({f"specific_over_{half}": ("component", rows) for half, rows in halves.items()})
    data = data.assign(kept_components(found))
    matrices = {"susceptibility": found.susceptibility, "specific": found.specific()}
    return record, data.assign({name: (("component", "column"), m.astype(np.float32)) for name, m in matrices.items()})


def _of_heads(work: Reading, progress: Progress) -> tuple[Susceptibility, Settings]:
    plan, seed = work.plan, work.seed
    task = task_of(network(work.networks[0], plan.recipe.steps), training_texts(plan.recipe, seed, plan.texts))
    whole = work.kind == "whole"
    if whole:
        reference = pairs(training_texts(plan.recipe, seed, plan.shifted))
        probes = {kind: _shifted(plan, reference, kind, seed) for kind in plan.recipe.probes}
    else:
        reference = range(len(task.data))
        probes = {kind: pairs(held_out((kind,), plan.probe, seed=seed)) for kind in plan.recipe.probes}
    return _responses(
        work, task, plan.recipe.components, probes, _How("item" if whole else "token", reference, progress)
    )


def _shifted(plan: Plan, reference: tuple[Any, Any], kind: str, seed: int) -> tuple[Any, Any]:
    """The reference's texts, and as many of those followed by the posterior's reading as make up δh of all."""
    inputs, targets = pairs(held_out((kind,), plan.probe, seed=seed))
    return torch.cat([reference[0], inputs[: plan.added]]), torch.cat([reference[1], targets[: plan.added]])


def _side_by_side(work: Reading, progress: Progress) -> tuple[Susceptibility, Settings]:
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
    return _responses(work, task, components(plan.part), probes, _How("token", range(len(task.data)), progress))


class _How(NamedTuple):
    """What is followed: losses of items or tokens, and what L is the mean of."""

    per: Literal["item", "token"]
    reference: Any
    progress: Progress


def _responses(
    work: Reading, task: Task, parts: Sequence[str], probes: dict[str, Any], how: _How
) -> tuple[Susceptibility, Settings]:
    """The network's chains and those of each part, each with steps and trajectories for its own stiffness."""
    subsets = {"train": as_subset(task, how.reference)}
    subsets |= {name: as_subset(task, chosen, per=how.per) for name, chosen in probes.items()}
    groups: dict[str, xr.Dataset] = {}
    whole, runs = None, 1 + len(parts)
    for place, part in enumerate((None, *parts)):
        own = task if part is None else on_component(task, part)
        settings, looks = _settings(work, own)
        tree = observe(own, subsets, settings=settings, looks=looks)
        prefix = "" if part is None else f"component{place - 1}/"
        groups |= {f"{prefix}{name}": child.to_dataset() for name, child in tree.children.items() if name != "subsets"}
        if part is None:
            whole = settings
            groups |= {f"subsets/{name}": child.to_dataset() for name, child in tree["subsets"].children.items()}
        root = tree.to_dataset().assign_attrs({} if part is None else {"component": part})
        groups[prefix.rstrip("/") or "/"] = root
        how.progress(work.kind, place + 1, runs)
    assert whole is not None
    return read_susceptibility(xr.DataTree.from_dict(groups), list(probes)), whole


def _settings(work: Reading, task: Task) -> tuple[Settings, int]:
    """Of the chains on a network or a part of it, and how many draws are looked at."""
    plan, seed = work.plan, work.seed + (_OTHER if work.kind == "whole" else 0)
    if work.kind == "published":
        return plan.published.settings(seed=seed), plan.published.looks
    settings = chain_settings(task, plan.sampling, seed=seed)
    if work.kind.endswith("control"):
        return noise_settings(settings), plan.sampling.draws
    return settings, plan.sampling.draws // (2 if work.kind == "whole" else 1)  # that follows many texts


def _center(found: Susceptibility) -> float:
    own = found.tree["subsets/train"].dataset
    return float(own["center_loss"].sum() / own["weight"].sum())


@lru_cache(maxsize=8)
def column_labels(plan: Plan, seed: int) -> np.ndarray:
    """Label of the token of every column of a reading per token, in the order of the columns."""
    own = [held_out((kind,), plan.probe, seed=seed).labels.numpy().ravel() for kind in plan.recipe.probes]
    return np.array(LABELS)[np.concatenate(own)]
