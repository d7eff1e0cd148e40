"""Attributions of one network by every method and setting, as what they predict of retraining."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from bitsandnats import losses
from bitsandnats._types import Progress
from bitsandnats.data import as_data
from bitsandnats.estimators.bif import Influence, bif
from bitsandnats.experiments.chains import Chain, Sampling, chain_settings
from bitsandnats.experiments.images import Images
from bitsandnats.experiments.influence_retraining.plan import DAMPINGS, PROJECTIONS
from bitsandnats.experiments.small_networks import Net, as_module
from bitsandnats.gradients.damped import damped_features, hessian, spectrum
from bitsandnats.gradients.features import Scores, scores
from bitsandnats.gradients.gauss_newton import gauss_newton
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.gradients.projected import projected_features
from bitsandnats.recipes.attribution.comparisons import noise_settings, with_penalty, without_likelihood
from bitsandnats.recipes.attribution.observation import observe
from bitsandnats.task import Task


class Found(NamedTuple):
    """One method at one setting.

    Attributes:
        method: as in `plan.METHODS`.
        setting: in words; empty where there is nothing to set.
        scores: its matrices.
        seconds: it took, what several settings share included.
    """

    method: str
    setting: str
    scores: Scores
    seconds: float


def task_of(net: Net, train: Images, device: str = "cpu") -> Task:
    """A trained network as a task on what it was trained on."""
    return Task.from_module(as_module(net).to(device), losses.cross_entropy(), tuple(t.to(device) for t in train))


def by_gradients(
    task: Task, query: Images, *, checkpoints: tuple[Net, ...], rates: tuple[float, ...], train: Images, seed: int
) -> list[Found]:
    """Every method that needs no chains, at each of its settings.

    Args:
        task: the network on its training set.
        query: items that are asked about.
        checkpoints: of training.
        rates: learning rate at each.
        train: the training set.
        seed: of random projections.
    """
    clock = _Clock()
    asked, own = (item_gradients(task, data).cpu().numpy() for data in (as_data(tuple(query)), task.data))
    gradients = clock.lap()
    found = [Found("gradsim", "", scores(asked, own), gradients)]
    parts = [_at(net, train, query, rate) for net, rate in zip(checkpoints, rates, strict=True)]
    raw = scores(*(np.concatenate(side, axis=1) for side in zip(*parts, strict=True)))
    found.append(Found("tracin", "", raw, clock.lap()))
    for features in PROJECTIONS:
        if features < len(train):
            made = scores(*projected_features(asked, own, features=features, seed=seed))
            found.append(Found("trak", f"{features} features", made, gradients + clock.lap()))
    for name, matrix in (("gauss_newton", gauss_newton), ("hessian", hessian)):
        clock.lap()
        curvature = spectrum(matrix(task))
        shared = gradients + clock.lap()
        for damping in DAMPINGS:
            made = scores(*(damped_features(g, curvature, damping) for g in (asked, own)))
            found.append(Found(name, f"damping {damping:g}", made, shared + clock.lap()))
    return found


def _at(net: Net, train: Images, query: Images, rate: float) -> tuple[ndarray, ndarray]:
    task = task_of(net, train)
    asked, own = (item_gradients(task, data).cpu().numpy() for data in (as_data(tuple(query)), task.data))
    return asked * rate**0.5, own * rate**0.5


def by_chains(
    task: Task, query: Images, chain: Chain, sampling: Sampling, *, seed: int, progress: Progress
) -> tuple[Found, Influence]:
    """BIF from exact Hamiltonian Monte Carlo.

    Args:
        task: the network on its training set.
        query: items that are asked about.
        chain: nβ, γ, and the penalty, which is in what chains move on and not in the losses that are followed.
        sampling: how many chains and draws.
        seed: of the chains.
        progress: told of sampling.
    """
    began = time.perf_counter()
    trained = with_penalty(task, chain.decay) if chain.decay else task
    settings = chain_settings(trained, chain, sampling, seed=seed)
    subsets = {"train": task, "query": task.on(tuple(query))}
    tree = observe(
        trained, subsets, pairs=[("query", "train")], settings=settings, looks=sampling.draws, progress=progress
    )
    found = bif(tree)
    return Found("bif", chain.name, Scores(found.bif, found.normalised), time.perf_counter() - began), found


def by_noise(task: Task, query: Images, pull: float, sampling: Sampling, *, seed: int) -> Found:
    """The same covariances of losses where the weights are N(w*, 1/pull): the data play no part in the draws.

    Args:
        task: the network on its training set.
        query: items that are asked about.
        pull: γ + nβμ of chains.
        sampling: how many chains and draws.
        seed: of the chains.
    """
    began = time.perf_counter()
    settings = noise_settings(chain_settings(task, Chain(pull, 1.0), sampling, seed=seed))
    subsets = {"train": task, "query": task.on(tuple(query))}
    tree = observe(
        without_likelihood(task), subsets, pairs=[("query", "train")], settings=settings, looks=sampling.draws
    )
    found = bif(tree)
    return Found("noise", f"gamma={pull:.3g}", Scores(found.bif, found.normalised), time.perf_counter() - began)


def predicted(found: Scores, held: Float[ndarray, "subset item"]) -> dict[str, Float[ndarray, "subset query"]]:
    """What attributions predict of each query's loss after training on subsets, by form: sums over their items."""
    return {"raw": held @ found.raw.T, "normalised": held @ found.normalised.T}


def record(influence: Influence) -> dict[str, Any]:
    """How well the chains were run."""
    draws = influence.tree["draws"].dataset
    acceptance = float(draws["acceptance"].mean()) if "acceptance" in draws else None
    sampler = str(influence.tree.attrs["sampler"])
    return {**influence.reliability.record(), "acceptance": acceptance, "sampler": sampler}


class _Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def lap(self) -> float:
        before, self._began = self._began, time.perf_counter()
        return self._began - before


def as_weights(chosen: list[ndarray], items: int) -> torch.Tensor:
    """Subsets as rows of 0 and 1."""
    held = torch.zeros(len(chosen), items)
    for row, own in enumerate(chosen):
        held[row, torch.as_tensor(own)] = 1
    return held
