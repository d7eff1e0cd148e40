"""influence(): which training samples help or harm which queries."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.bif import Influence, bif
from bitsandnats.gradients import METHODS
from bitsandnats.gradients.damped import damped_influence
from bitsandnats.gradients.ekfac import ekfac_influence
from bitsandnats.gradients.features import Scores
from bitsandnats.gradients.gauss_newton import gauss_newton
from bitsandnats.gradients.projected import projected_influence
from bitsandnats.gradients.similarity import gradient_similarity
from bitsandnats.gradients.tracin import tracin
from bitsandnats.observables.subsets import Subset, as_subset, check_units
from bitsandnats.recipes.attribution.observation import observe
from bitsandnats.recipes.attribution.stopping import target_or_default
from bitsandnats.settings import Settings
from bitsandnats.task import Task

TOKENS = ("none", "train", "query")


def per_of(tokens: str, side: str) -> Literal["item", "token"]:
    """What has a row or column on one side."""
    return "token" if tokens == side else "item"


def influence(
    task: Task,
    train: Any = None,
    query: Any = None,
    *,
    run: xr.DataTree | None = None,
    tokens: Literal["none", "train", "query"] = "none",
    settings: Settings | None = None,
    looks: int = 256,
    target_reliability: float | None = None,
    budget: float | None = None,
    chains: int | None = None,
    draws: int | None = None,
    step_size: float | None = None,
    gamma: float | None = None,
    nbeta: float | None = None,
    batch_size: int | None = None,
    sampler: str | None = None,
    burn_in: int | None = None,
    seed: int | None = None,
    train_labels: Sequence[Any] | None = None,
    query_labels: Sequence[Any] | None = None,
    train_previews: Sequence[Any] | None = None,
    query_previews: Sequence[Any] | None = None,
    baselines: Sequence[str] = (),
    checkpoints: Sequence[tuple[Task, float]] = (),
    progress: Progress = silent,
) -> Influence:
    """Bayesian influence of training samples on queries, as a measurement with its reliability.

    Negative: giving the training sample more weight lowers the query's loss. Whatever setting is not given is
    calibrated as for `estimate_llc`, and the run can be read as an estimate of λ̂ too.

    Args:
        task: what is modelled.
        train: data of the task's form, or indices of the task's own items; None = all of them.
        query: data of the task's form, indices of items, or another `Task` at the same weights for another loss.
        run: a run of `observe` with subsets `train` and `query`, to be read instead of sampling.
        tokens: which side has a row or column a token in place of one an item; for both, or for named positions, give
            an `observables.subsets.Subset`.
        settings: of the sampler; None = calibrated.
        looks: draws a chain, at most, at which the losses are evaluated, before more are added.
        target_reliability: draw until this split-half reliability is reached; by default 0.9 where neither draws nor
            settings are given.
        budget: seconds that sampling may take.
        chains: independent chains.
        draws: steps of each chain that count.
        step_size: ε.
        gamma: γ.
        nbeta: nβ.
        batch_size: items a minibatch.
        sampler: as in `bitsandnats ls samplers`.
        burn_in: steps of each chain before the draws.
        seed: of all chains.
        train_labels: kept with the run.
        query_labels: kept with the run.
        train_previews: text or image an item, for the report.
        query_previews: the same of the queries.
        baselines: further matrices in `.dataset`, signed alike: `gradsim`, `tracin`, `trak`, `damped` (exact Hessian,
            damping γ/nβ, divided by nβ), `gauss_newton` (the same with that matrix), `ekfac` (the same of
            linear and convolutional layers, by kronfluence); of items, not tokens; each
            raw and, under `NAME_normalised`, as minus the cosine of the features whose inner product it is.
        checkpoints: of `tracin`: the task at each checkpoint of training, and its learning rate.
        progress: told of the work as it is done.

    Returns:
        `.bif`, `.normalised` (query, train), `.reliability`, `.verdict`, `.top(query)`, `.suspects()`, `.dataset`.

    Raises:
        InputError: a setting is out of range, units differ, or there are no queries.
        DataError: data are not of the task's form, or no query's loss moves.
        StoreError: the run holds no such pair.
    """
    if run is not None:
        return bif(run)
    if query is None:
        raise InputError(message(expected="queries", got="none", do="give data or indices of items"))
    if tokens not in TOKENS:
        raise InputError(message(expected=f"tokens among {', '.join(TOKENS)}", got=repr(tokens), do="choose one"))
    check_baselines(baselines, tokens, query)
    if isinstance(query, Task):
        check_units({"train": task, "query": query})
    options = {
        "chains": chains,
        "draws": draws,
        "step_size": step_size,
        "gamma": gamma,
        "nbeta": nbeta,
        "batch_size": batch_size,
        "sampler": sampler,
        "burn_in": burn_in,
        "seed": seed,
    }
    subsets = {
        "train": as_subset(task, range(len(task.data)) if train is None else train, per=per_of(tokens, "train")),
        "query": query if isinstance(query, Task) else as_subset(task, query, per=per_of(tokens, "query")),
    }
    given = {"train": (train_labels, train_previews), "query": (query_labels, query_previews)}
    tree = observe(
        task,
        subsets,
        pairs=[("query", "train")],
        settings=settings,
        options=options,
        looks=looks,
        reliability=target_or_default(target_reliability, draws, settings),
        budget=budget,
        labels={side: both[0] for side, both in given.items() if both[0] is not None},
        previews={side: both[1] for side, both in given.items() if both[1] is not None},
        progress=progress,
    )
    found = bif(tree)
    return found if not baselines else with_baselines(found, task, subsets, baselines, checkpoints)


def check_baselines(baselines: Sequence[str], tokens: str, query: Any) -> None:
    """Refuses baselines that do not exist, or of tokens, or of queries with a loss of their own.

    Raises:
        InputError: as said.
    """
    for name in baselines:
        if name not in METHODS:
            raise InputError(
                message(expected=f"baselines among {', '.join(METHODS)}", got=repr(name), do="choose among them")
            )
    if baselines and (tokens != "none" or isinstance(query, Task | Subset)):
        raise InputError(
            message(
                expected="items of the task's loss where baselines are asked for",
                got="tokens or another loss",
                do="leave the baselines out",
            )
        )


def with_baselines(
    found: Influence,
    task: Task,
    subsets: Mapping[str, Any],
    baselines: Sequence[str],
    checkpoints: Sequence[tuple[Task, float]],
) -> Influence:
    """The influence with baselines beside it."""
    train, query = subsets["train"].data, subsets["query"].data
    nbeta, gamma = float(found.tree.attrs["nbeta"]), float(found.tree.attrs["gamma"])
    found_scores: dict[str, Scores] = {}
    for name in baselines:
        if name == "tracin":
            found_scores[name] = tracin([t for t, _ in checkpoints], [rate for _, rate in checkpoints], train, query)
        elif name in ("damped", "gauss_newton"):
            curvature = gauss_newton(task) if name == "gauss_newton" else None
            both = damped_influence(task, train, query, damping=gamma / nbeta, curvature=curvature)
            found_scores[name] = both._replace(raw=both.raw / nbeta)
        elif name == "ekfac":
            both = ekfac_influence(task, train, query, damping=gamma / nbeta)
            found_scores[name] = both._replace(raw=both.raw / nbeta)
        elif name == "trak":
            found_scores[name] = projected_influence(task, train, query, features=min(128, len(train) // 2))
        else:
            found_scores[name] = gradient_similarity(task, train, query)
    own = {name: (("query", "train"), both.raw) for name, both in found_scores.items()}
    own |= {f"{name}_normalised": (("query", "train"), both.normalised) for name, both in found_scores.items()}
    return dataclasses.replace(found, dataset=found.dataset.assign(own))
