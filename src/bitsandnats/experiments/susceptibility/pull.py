"""At which pull the likelihood matters: the rise of L in a head's chains over that by noise of the same pull."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bitsandnats._types import Progress
from bitsandnats.component import on_component
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.experiments.heads.chains import chain_settings, noise_rise
from bitsandnats.experiments.heads.units import TrainWork, network, plain_key, recorded, task_of, training_texts
from bitsandnats.experiments.susceptibility.plan import RATIOS, Plan
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.task import Task

_NOISES = 16


@dataclass(frozen=True)
class Pull:
    """One head of one network.

    Attributes:
        plan: of the run.
        network: trained.
        head: place among the heads.
    """

    plan: Plan
    network: TrainWork
    head: int


def pulled(work: Pull, progress: Progress) -> dict[str, Any]:
    """One row with the rises at each ratio, or why there are none; a finished unit is read, not sampled again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    plan, own = work.plan, work.network
    row: dict[str, Any] = {"seed": own.seed, "head": plan.recipe.components[work.head], "failed": None}
    key = plain_key(["pull", plan.recipe, plan.texts, plan.pilot, RATIOS, own.seed, work.head, plan.device])
    try:
        _, data = recorded(own.folder, own.label, f"pull{work.head}", key, lambda: _sampled(work, progress))
    except StoreError:
        raise
    except BitsAndNatsError as error:
        return row | {"failed": str(error)}
    progress("pull", 1, 1)
    return row | {name: data[name].values.tolist() for name in ("rise", "noise")}


def _sampled(work: Pull, progress: Progress) -> tuple[dict[str, Any], xr.Dataset]:
    plan, seed = work.plan, work.network.seed
    module = network(work.network, plan.recipe.steps)
    task = task_of(module, training_texts(plan.recipe, seed, plan.texts))
    alone = on_component(task, plan.recipe.components[work.head])
    rises = []
    for done, ratio in enumerate(RATIOS):
        settings = chain_settings(alone, plan.pilot._replace(ratio=ratio), seed=seed)
        rises.append((_rise(alone, settings), noise_rise(alone, settings.gamma, draws=_NOISES, seed=seed)[0]))
        progress("pull", done + 1, len(RATIOS))
    found = np.array(rises)
    return {}, xr.Dataset(
        {"rise": ("ratio", found[:, 0]), "noise": ("ratio", found[:, 1])}, coords={"ratio": list(RATIOS)}
    )


def _rise(task: Task, settings: Settings) -> float:
    """Mean of L over the chains' draws, above L(w*); nats."""
    tree = sample(task, settings)
    center = float(task.mean_loss(task.all_item_losses(task.center, len(task.data))))
    return float(tree["draws"].dataset["loss"].values.mean()) - center
