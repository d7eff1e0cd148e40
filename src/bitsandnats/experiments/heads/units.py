"""Units of the two studies in a run folder: a trained network with its ablations, and records of what is measured."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import xarray as xr
from torch import nn

from bitsandnats import losses
from bitsandnats._types import Progress
from bitsandnats._version import __version__
from bitsandnats.experiments.heads.ablation import ablation
from bitsandnats.experiments.heads.text import LABELS, Text
from bitsandnats.experiments.heads.training import Recipe, held_out, restored, texts, train
from bitsandnats.store import ContentKey, Run
from bitsandnats.task import Task

UNIT = "training"

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""
_JUDGED = 64  # texts of each kind that heads are ablated on


@dataclass(frozen=True)
class TrainWork:
    """One network to be trained.

    Attributes:
        folder: the run folder.
        label: of the network in it.
        recipe: how it is made.
        seed: of everything random.
        steps: whose weights are kept.
        device: where it is measured.
    """

    folder: Path
    label: str
    recipe: Recipe
    seed: int
    steps: tuple[int, ...]
    device: str


def trained(work: TrainWork, progress: Progress) -> dict[str, Any]:
    """Curves, and what the last checkpoint's heads do; a finished unit is read, not made again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    run, key = Run(work.folder), plain_key([work.recipe, work.seed, work.steps])
    tree = run.finished(work.label, UNIT, key)
    if tree is None:
        kept = train(work.recipe, work.seed, work.steps, told=lambda at, all: progress("training", at, all))
        last = restored(work.recipe, kept.weights[-1], "cpu")
        found = ablation(last, held_out(work.recipe.probes, _JUDGED, seed=work.seed))
        data = xr.Dataset(
            {
                "weights": (("step", "parameter"), kept.weights),
                "loss": (("step", "label"), kept.losses),
                "rise": (("head", "label"), found.rise),
                "previous": ("head", found.previous),
                "match": ("head", found.match),
                "role": ("head", list(found.labels)),
            },
            coords={"step": list(kept.steps), "label": list(LABELS), "head": list(work.recipe.components)},
        )
        tree = xr.DataTree(data)
        run.finish(work.label, UNIT, key, tree)
    progress("training", 1, 1)
    data = tree.dataset
    row: dict[str, Any] = {"label": work.label, "seed": work.seed, "parameters": data.sizes["parameter"]}
    row |= {name: data[name].values.tolist() for name in ("loss", "rise", "previous", "match")}
    return row | {"steps": list(work.steps), "roles": [str(role) for role in data["role"].values]}


def network(work: TrainWork, step: int) -> nn.Module:
    """A checkpoint of a trained network.

    Raises:
        StoreError: the run is not there, or damaged.
    """
    weights = _stored(work.folder, work.label).dataset["weights"].sel(step=step).values
    return restored(work.recipe, weights, work.device)


def task_of(module: nn.Module, text: Text) -> Task:
    """Next-token prediction of a text; a unit is a token."""
    return Task.from_module(module, losses.cross_entropy(), pairs(text))


def pairs(text: Text) -> tuple[Any, Any]:
    """Inputs and the tokens to be predicted."""
    return text.tokens[:, :-1], text.tokens[:, 1:]


def training_texts(recipe: Recipe, seed: int, count: int) -> Text:
    """The first texts of every kind that a network was trained on, in the same proportions."""
    return texts(recipe.kinds, count, seed=seed)


def recorded(
    folder: Path, label: str, unit: str, key: ContentKey, measure: Callable[[], tuple[dict[str, Any], xr.Dataset]]
) -> tuple[dict[str, Any], xr.Dataset]:
    """The record and arrays of a unit, measured where they are not stored.

    Args:
        folder: the run folder.
        label: of the network.
        unit: of the measurement.
        key: everything that it follows from.
        measure: gives plain values and arrays.

    Raises:
        StoreError: the run folder cannot be used.
    """
    run = Run(folder)
    tree = run.finished(label, unit, key)
    if tree is None:
        record, data = measure()
        tree = xr.DataTree(data.assign_attrs(record=json.dumps(_finite(record))))
        run.finish(label, unit, key, tree)
    return json.loads(tree.attrs["record"]), tree.to_dataset()


def plain_key(meta: list[Any]) -> ContentKey:
    """The key of what plain values and this version define."""
    return ContentKey(hashlib.sha256(json.dumps([*meta, __version__]).encode()).hexdigest(), ())


@lru_cache(maxsize=2)
def _stored(folder: Path, label: str) -> xr.DataTree:
    return Run(folder).tree(label, UNIT)


def _finite(value: Any) -> Any:
    """Plain values in which numbers that JSON does not have are None."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
