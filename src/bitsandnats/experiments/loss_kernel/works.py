"""The study's units: kernels of one network with its controls, and what is read off them."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats._rng import STREAMS
from bitsandnats._types import Progress
from bitsandnats._version import __version__
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.estimators.kernel_blocks import block_energies, squared_correlations
from bitsandnats.estimators.loss_kernel import LossKernel, class_kernel, purity
from bitsandnats.estimators.loss_kernel import loss_kernel as read_kernel
from bitsandnats.experiments.chains import Chain, Sampling, chain_settings
from bitsandnats.experiments.images import CLASSES
from bitsandnats.experiments.loss_kernel import networks
from bitsandnats.experiments.loss_kernel.plan import RATIO, Plan
from bitsandnats.recipes.attribution.comparisons import noise_settings, without_likelihood
from bitsandnats.recipes.attribution.kernel import loss_kernel
from bitsandnats.recipes.attribution.observation import observe
from bitsandnats.settings import Settings
from bitsandnats.store import ContentKey, Run
from bitsandnats.task import Task


@dataclass(frozen=True)
class Work:
    """One network with its controls.

    Attributes:
        folder: the run folder.
        plan: of the run.
        part: which of the study.
        model: which network.
    """

    folder: Path
    plan: Plan
    part: Literal["tasks", "classes"]
    model: int


Row = dict[str, Any]
"""What a unit is about, its facts, and under `data` its arrays; or the reason why there are none under `failed`."""


def measured(work: Work, progress: Progress) -> Row:
    """One unit's data; a finished unit is read, not made again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    place: Row = {"part": work.part, "model": work.model, "failed": None}
    run, key, label = Run(work.folder), _key(work), f"{work.part}-{work.model}"
    tree = run.finished(label, "kernels", key)
    if tree is None:
        make: Callable[[Work, Progress], xr.Dataset] = _tasks if work.part == "tasks" else _classes
        try:
            tree = xr.DataTree(make(work, progress))
        except StoreError:
            raise
        except BitsAndNatsError as error:
            return {**place, "failed": str(error), "data": None}
        run.finish(label, "kernels", key, tree)
    progress(work.part, 1, 1)
    return {**place, "data": tree.to_dataset(), **json.loads(tree.attrs["facts"])}


def _tasks(work: Work, progress: Progress) -> xr.Dataset:
    """Kernels of the two tasks' inputs: shared, at nβ = 0, under two copies, and of the disjoint network."""
    plan, seed = work.plan, networks.seed_of(work.plan.seed, work.model)
    began = time.perf_counter()
    group = networks.arithmetic(plan.tasks.modulus).group.numpy()
    shared = networks.shared_network(plan.tasks, seed, plan.device)
    apart = networks.disjoint_network(plan.tasks, seed, plan.device)
    sampling = plan.tasks.sampling
    settings, others = (_settings(plan, task, work.model, sampling) for task in (shared, apart))
    looks = sampling.draws
    found = loss_kernel(shared, settings=settings, groups=group.tolist(), looks=looks, progress=progress)
    other = loss_kernel(apart, settings=others, looks=looks, progress=progress)
    kernels = {"shared": found, "noise": found.controls["noise"], "disjoint": other}
    kernels["copies"] = found.controls["disjoint"]
    data, facts = {}, {}
    for kind, kernel in kernels.items():
        energies = block_energies(kernel, group)
        data[f"cross_{kind}"], data[f"within_{kind}"] = ("pair", energies.cross), ("pair", energies.within)
        facts[kind] = {**_record(kernel), "purity": purity(kernel, group)}
    data["correlation"] = (("input", "other"), found.correlation.astype(np.float32))
    for kind, task in (("shared", shared), ("disjoint", apart)):
        losses = task.all_item_losses(task.center, 4096)
        facts[kind] |= {"train_loss": float(losses.mean()), "accuracy": networks.accuracy(task)}
        facts[kind] |= {"weights": task.dimension}
    whole = {"kinds": facts, "n": len(group), "seconds": time.perf_counter() - began, "settings": settings.values()}
    return xr.Dataset(data, attrs={"facts": json.dumps(whole)})


def _classes(work: Work, progress: Progress) -> xr.Dataset:
    """Kernels of test images: of the classifier, and of the same network at nβ = 0; and of their pixels."""
    plan, seed = work.plan, networks.seed_of(work.plan.seed, work.model)
    assert plan.classes is not None
    began = time.perf_counter()
    trained = networks.classifier(plan.classes, seed, plan.device)
    settings = _settings(plan, trained.task, work.model, plan.classes.sampling)
    asked, labels = tuple(trained.inputs), trained.inputs.labels.numpy()
    found = loss_kernel(
        trained.task,
        asked,
        labels=[CLASSES["fashion"][c] for c in labels],
        settings=settings,
        looks=settings.draws,
        progress=progress,
    )
    tree = observe(
        without_likelihood(trained.task),
        {"inputs": trained.task.on(asked)},
        pairs=[("inputs", "inputs")],
        settings=noise_settings(settings),
        looks=settings.draws,
        progress=progress,
    )
    noise = read_kernel(tree)
    data: dict[str, Any] = {
        "network": (("one", "other"), class_kernel(found, labels)[1]),
        "noise": (("one", "other"), class_kernel(noise, labels)[1]),
        "network, squares": (("one", "other"), _class_means(squared_correlations(found).mean(0), labels)),
        "noise, squares": (("one", "other"), _class_means(squared_correlations(noise).mean(0), labels)),
        "pixels": (("one", "other"), _class_means(networks.pixel_kernel(trained.inputs), labels)),
        "correlation": (("input", "another"), found.correlation.astype(np.float32)),
        "label": ("input", labels),
    }
    facts = {
        "kinds": {
            "network": {**_record(found), "purity": purity(found, labels), "accuracy": trained.accuracy},
            "noise": {**_record(noise), "purity": purity(noise, labels)},
        },
        "n": len(trained.task.data),
        "inputs": len(labels),
        "weights": trained.task.dimension,
        "seconds": time.perf_counter() - began,
        "settings": settings.values(),
    }
    return xr.Dataset(data, attrs={"facts": json.dumps(facts)})


def _settings(plan: Plan, task: Task, model: int, sampling: Sampling) -> Settings:
    chain = Chain(float(len(task.data)), RATIO)
    return chain_settings(task, chain, sampling, seed=plan.seed + model)


def _record(kernel: LossKernel) -> dict[str, Any]:
    draws = kernel.tree["draws"].dataset
    acceptance = float(draws["acceptance"].mean()) if "acceptance" in draws else None
    return {**kernel.reliability.record(), "acceptance": acceptance, "verdict": str(kernel.verdict)}


def _class_means(matrix: Float[ndarray, "input another"], labels: ndarray) -> Float[ndarray, "group other"]:
    """Mean over the pairs of different images of each two classes."""
    member = (labels[:, None] == np.unique(labels)[None, :]).astype(float)
    own = matrix - np.diag(np.diag(matrix))
    size = member.sum(0)
    return (member.T @ own @ member) / (np.outer(size, size) - np.diag(size))


def _key(work: Work) -> ContentKey:
    """Everything that a unit's numbers follow from."""
    meta = [replace(work.plan, models=0).run_settings(), work.part, work.model, __version__, STREAMS]
    return ContentKey(hashlib.sha256(json.dumps(meta, default=str).encode()).hexdigest(), ())
