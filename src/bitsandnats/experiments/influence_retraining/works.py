"""The study's units: losses after retraining on subsets, after leaving one item out, and attributions."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy import ndarray
from torch import Tensor

from bitsandnats._rng import STREAMS
from bitsandnats._types import Progress
from bitsandnats._version import __version__
from bitsandnats.errors import BitsAndNatsError, StoreError
from bitsandnats.experiments.chains import Chain
from bitsandnats.experiments.images import Images, split_images
from bitsandnats.experiments.influence_retraining.attributions import (
    Found,
    as_weights,
    by_chains,
    by_gradients,
    by_noise,
    predicted,
    record,
    task_of,
)
from bitsandnats.experiments.influence_retraining.plan import FORMS, Plan
from bitsandnats.experiments.small_networks import Net, Trained, item_losses, train_stack
from bitsandnats.store import ContentKey, Run

_TOGETHER = 60  # networks of a stack, at most
_SEEDS = 1_000_000  # networks of one seed; those of another do not overlap


@dataclass(frozen=True)
class Work:
    """One unit.

    Attributes:
        folder: the run folder.
        plan: of the run.
        data: which images.
        kind: what is done: retraining on subsets or without single items, chains, or attributions that need none.
        fraction: of the subsets, of retraining.
        model: which network, of the others.
        chain: the setting, of chains.
    """

    folder: Path
    plan: Plan
    data: str
    kind: Literal["retraining", "left_out", "chains", "attribution"]
    fraction: float = 0.0
    model: int = 0
    chain: Chain | None = None

    @property
    def label(self) -> str:
        """In the run folder."""
        return self.data if self.kind == "retraining" else f"{self.data}-{self.model}"

    @property
    def unit(self) -> str:
        """In the run folder."""
        if self.kind == "retraining":
            return f"retraining-{self.fraction:g}"
        if self.chain is None:
            return self.kind
        return f"chains-{self.chain.nbeta:.0f}-{self.chain.ratio:g}" + ("-penalty" if self.chain.decay else "")


Row = dict[str, Any]
"""What a unit is about, and its data under `data`: an `xarray.Dataset`, or None with the reason under `failed`."""


def measured(work: Work, progress: Progress) -> Row:
    """One unit's data; a finished unit is read, not made again.

    Raises:
        StoreError: the run folder cannot be used.
    """
    place: Row = {"set": work.data, "kind": work.kind, "fraction": work.fraction, "model": work.model}
    place |= {"chain": None if work.chain is None else work.chain._asdict(), "failed": None}
    run, key = Run(work.folder), _key(work)
    tree = run.finished(work.label, work.unit, key)
    if tree is None:
        try:
            tree = xr.DataTree(_MAKERS[work.kind](work, progress))
        except StoreError:
            raise
        except BitsAndNatsError as error:
            return {**place, "failed": str(error), "data": None}
        run.finish(work.label, work.unit, key, tree)
    progress(work.kind, 1, 1)
    return {**place, "data": tree.to_dataset()}


def images(plan: Plan, data: str) -> tuple[Images, Images]:
    """Training set and queries."""
    return split_images(data, train=plan.train_items(data), queries=plan.sizes.queries, seed=plan.seed)


def subsets(plan: Plan, data: str, fraction: float) -> Tensor:
    """All subsets of a fraction as rows of 0 and 1: those for choosing first, then those that are scored."""
    n = plan.train_items(data)
    random = np.random.default_rng([plan.seed, 1, round(1000 * fraction)])
    return as_weights([random.permutation(n)[: round(fraction * n)] for _ in range(plan.sizes.subsets)], n)


def left_out_items(plan: Plan, data: str) -> ndarray:
    """Which items are left out one by one."""
    n = plan.train_items(data)
    return np.sort(np.random.default_rng([plan.seed, 2]).permutation(n)[: plan.sizes.left_out])


def base_network(plan: Plan, train: Images, model: int) -> Trained:
    """A network on all of the training set, trained by itself, with checkpoints."""
    from bitsandnats.experiments.influence_retraining.plan import CHECKPOINTS

    whole = torch.ones(1, len(train))
    return train_stack(plan.recipe, *train, whole, [_base_seed(plan, model)], checkpoints=CHECKPOINTS)


def _base_seed(plan: Plan, model: int) -> int:
    return _SEEDS * plan.seed + model


def _retraining(work: Work, progress: Progress) -> xr.Dataset:
    """Queries' losses of networks of other first weights than those attributed at, on each subset."""
    plan = work.plan
    train, query = images(plan, work.data)
    held = subsets(plan, work.data, work.fraction)
    place, done, began = plan.fractions.index(work.fraction), 0, time.perf_counter()
    found, fitted = [], []
    for repeat in range(plan.sizes.repeats):
        rows = []
        for start in range(0, len(held), _TOGETHER):
            part = held[start : start + _TOGETHER]
            first = _SEEDS * plan.seed + 100_000 * (1 + place) + 1000 * repeat + start
            nets = train_stack(plan.recipe, *train, part, list(range(first, first + len(part)))).nets
            rows.append(item_losses(nets, *query))
            fitted.append(float((item_losses(nets, *train) * part).sum() / part.sum()))
            done += len(part)
            progress("retraining", done, plan.sizes.repeats * len(held))
        found.append(torch.cat(rows).double().numpy())
    attrs = {"train_loss": float(np.mean(fitted)), "seconds": time.perf_counter() - began}
    return xr.Dataset({"losses": (("repeat", "subset", "query"), np.stack(found))}, attrs=attrs)


def _left_out(work: Work, progress: Progress) -> xr.Dataset:
    """Queries' losses where one item is left out, less those where none is, from the same first weights."""
    plan = work.plan
    train, query = images(plan, work.data)
    items = left_out_items(plan, work.data)
    weights = torch.ones(len(items) + 1, len(train))
    weights[torch.arange(1, len(items) + 1), torch.as_tensor(items)] = 0
    rows, parts = [], weights.split(_TOGETHER)
    for done, part in enumerate(parts):
        nets = train_stack(plan.recipe, *train, part, [_base_seed(plan, work.model)] * len(part)).nets
        rows.append(item_losses(nets, *query))
        progress("left_out", done + 1, len(parts))
    found = torch.cat(rows).double().numpy()
    return xr.Dataset({"changes": (("item", "query"), found[1:] - found[:1]), "items": ("item", items)})


def _chains(work: Work, progress: Progress) -> xr.Dataset:
    """What BIF predicts at one setting of the chains, from one network."""
    assert work.chain is not None
    plan = work.plan
    train, query = images(plan, work.data)
    net = Net(*(w[0] for w in base_network(plan, train, work.model).nets))
    task, seed = task_of(net, train, plan.device), plan.seed + 1 + work.model
    made, influence = by_chains(task, query, work.chain, plan.sampling, seed=seed, progress=progress)
    return _predictions(plan, work.data, [made], record(influence))


def _attribution(work: Work, progress: Progress) -> xr.Dataset:
    """What every method that needs no chains predicts, at every setting, from one network; and the control."""
    plan = work.plan
    train, query = images(plan, work.data)
    base = base_network(plan, train, work.model)
    task = task_of(Net(*(w[0] for w in base.nets)), train)
    checkpoints = tuple(Net(*(w[0] for w in net)) for net in base.checkpoints)
    options = {"checkpoints": checkpoints, "rates": base.rates, "train": train, "seed": plan.seed}
    made = by_gradients(task, query, **options)
    moved = task_of(Net(*(w[0] for w in base.nets)), train, plan.device)
    pulls = sorted({float(f"{chain.total:.6g}") for chain in plan.chain_settings(work.data)})
    for done, pull in enumerate(pulls):
        progress("attribution", done + 1, len(pulls) + 1)
        made.append(by_noise(moved, query, pull, plan.sampling, seed=plan.seed + 1 + work.model))
    test = item_losses(base.nets, *query)[0]
    facts = {"weights": task.dimension, "query_loss": float(test.mean())}
    facts["train_loss"] = float(item_losses(base.nets, *train).mean())
    with torch.no_grad():
        facts["query_accuracy"] = float((as_answers(base.nets, query) == query.labels).float().mean())
    return _predictions(plan, work.data, made, facts)


def as_answers(nets: Net, query: Images) -> Tensor:
    """The class that the first network of a stack says."""
    hidden = torch.tanh(query.inputs @ nets.first[0] + nets.first_bias[0])
    return (hidden @ nets.second[0] + nets.second_bias[0]).argmax(-1)


def _predictions(plan: Plan, data: str, made: list[Found], facts: dict[str, Any]) -> xr.Dataset:
    """Predictions of all methods for all subsets, and for each item that is left out."""
    found: dict[str, Any] = {}
    items = left_out_items(plan, data)
    for place, fraction in enumerate(plan.fractions):
        held = subsets(plan, data, fraction).double().numpy()
        sums = [predicted(one.scores, held) for one in made]
        values = np.stack([np.stack([own[form] for form in FORMS]) for own in sums]).astype(np.float32)
        found[f"predicted{place}"] = (("candidate", "form", "subset", "query"), values)
    alone = [np.stack([-one.scores.raw[:, items].T, -one.scores.normalised[:, items].T]) for one in made]
    found["left_out"] = (("candidate", "form", "item", "query"), np.stack(alone).astype(np.float32))
    listed = [{"method": one.method, "setting": one.setting, "seconds": one.seconds} for one in made]
    return xr.Dataset(found, attrs={"candidates": json.dumps(listed), "facts": json.dumps(facts)})


_MAKERS: dict[str, Callable[[Work, Progress], xr.Dataset]] = {
    "retraining": _retraining,
    "left_out": _left_out,
    "chains": _chains,
    "attribution": _attribution,
}


def _key(work: Work) -> ContentKey:
    """Everything that a unit's numbers follow from: data and networks are functions of it."""
    settings = replace(work.plan, models=0).run_settings() | {"data": work.data}
    meta = [settings, work.kind, work.fraction, work.model, work.chain, __version__, STREAMS]
    return ContentKey(hashlib.sha256(json.dumps(meta, default=str).encode()).hexdigest(), ())
