"""Training runs in the run folder: stored once, read by whatever is measured of their checkpoints."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from bitsandnats import losses
from bitsandnats._types import Progress
from bitsandnats._version import __version__
from bitsandnats.experiments.grokking.arithmetic import Table, split, whole_table
from bitsandnats.experiments.grokking.plan import Arm
from bitsandnats.experiments.grokking.stack import Layout
from bitsandnats.experiments.grokking.training import Kept, Recipe, train
from bitsandnats.store import ContentKey, Run
from bitsandnats.task import Task

UNIT = "training"
CURVES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


@dataclass(frozen=True)
class TrainWork:
    """Runs that are trained together.

    Attributes:
        folder: the run folder.
        arms: of one recipe.
        seeds: of each arm.
        measured: epochs whose weights are stored.
        device: where.
    """

    folder: Path
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    measured: tuple[int, ...]
    device: str

    @property
    def recipe(self) -> Recipe:
        """What the arms share."""
        return self.arms[0].recipe

    @property
    def runs(self) -> list[tuple[Arm, int]]:
        """Every run, in the order of the rows."""
        return [(arm, seed) for arm in self.arms for seed in self.seeds]


def trained(work: TrainWork, progress: Progress) -> list[dict[str, Any]]:
    """The curves of each run; where one is missing, all are trained again, since together they are one computation."""
    run, key = Run(work.folder), _key(work)
    labels = [arm.label(seed) for arm, seed in work.runs]
    found = [run.finished(label, UNIT, key) for label in labels]
    trees = [tree for tree in found if tree is not None]
    if len(trees) < len(labels):
        runs = [(arm.regime, seed) for arm, seed in work.runs]
        kept = train(work.recipe, runs, device=work.device, told=lambda done, total: progress("training", done, total))
        trees = [_tree(one, work.measured) for one in kept]
        for label, stored, tree in zip(labels, found, trees, strict=True):
            if stored is None:
                run.finish(label, UNIT, key, tree)
    progress("training", 1, 1)
    return [_row(arm, seed, tree.dataset) for (arm, seed), tree in zip(work.runs, trees, strict=True)]


def checkpoint(folder: Path, arm: Arm, seed: int, epoch: int, device: str) -> tuple[Task, Table, Table]:
    """A checkpoint as a task on the pairs that it was trained on, those pairs, and the rest.

    Args:
        folder: the run folder.
        arm: of the run.
        seed: of the run.
        epoch: one of those measured.
        device: where the weights and the data are to be.

    Raises:
        StoreError: the run is not there, or damaged.
    """
    weights = _stored(folder, arm.label(seed)).dataset["weights"].sel(measured=epoch).values
    module = arm.recipe.network.build(arm.recipe.modulus)
    params = Layout.of(module).params(torch.from_numpy(weights.copy()))
    module = module.to_empty(device=device)
    module.load_state_dict(params)
    train_set, test_set = tables(arm.recipe, seed, device)
    return Task.from_module(module.eval(), losses.cross_entropy(), tuple(train_set)), train_set, test_set


def tables(recipe: Recipe, seed: int, device: str) -> tuple[Table, Table]:
    """The pairs that a seed's networks are trained on, and the rest."""
    train_set, test_set = split(whole_table(recipe.operation, recipe.modulus), recipe.fraction, seed)
    return train_set.to(device), test_set.to(device)


@lru_cache(maxsize=2)
def _stored(folder: Path, label: str) -> xr.DataTree:
    return Run(folder).tree(label, UNIT)


def _key(work: TrainWork) -> ContentKey:
    """Everything that the weights follow from; runs trained together differ in rounding from the same ones alone."""
    device = "cpu" if work.device == "cpu" else "gpu"
    meta = [work.recipe, [(arm.regime, seed) for arm, seed in work.runs], work.measured, device, __version__]
    return ContentKey(hashlib.sha256(json.dumps(meta).encode()).hexdigest(), ())


def _tree(kept: Kept, measured: tuple[int, ...]) -> xr.DataTree:
    rows = [kept.epochs.index(epoch) for epoch in measured]
    data: dict[str, Any] = {name: ("epoch", getattr(kept, name)) for name in CURVES}
    data["weights"] = (("measured", "parameter"), kept.weights[rows])
    return xr.DataTree(xr.Dataset(data, coords={"epoch": list(kept.epochs), "measured": list(measured)}))


def _row(arm: Arm, seed: int, data: xr.Dataset) -> dict[str, Any]:
    place = {"arm": arm.name, "operation": arm.recipe.operation, "network": arm.recipe.network.kind}
    place |= {"regime": arm.regime.name, "seed": seed, "parameters": data.sizes["parameter"]}
    curves = {name: [float(v) for v in data[name].values] for name in CURVES}
    return {**place, "epochs": [int(e) for e in data["epoch"].values], **curves}
