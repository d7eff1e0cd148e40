"""loss_kernel(): which inputs the network treats alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.loss_kernel import LossKernel
from bitsandnats.estimators.loss_kernel import loss_kernel as read_kernel
from bitsandnats.observables.subsets import Subset, as_subset
from bitsandnats.recipes.attribution.comparisons import (
    each_on_its_copy,
    noise_settings,
    side_by_side,
    without_likelihood,
)
from bitsandnats.recipes.attribution.observation import observe
from bitsandnats.recipes.attribution.stopping import target_or_default
from bitsandnats.recipes.attribution.stored import settings_of
from bitsandnats.settings import Settings
from bitsandnats.task import Task


def loss_kernel(
    task: Task,
    inputs: Any = None,
    *,
    run: xr.DataTree | None = None,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    previews: Sequence[Any] | None = None,
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
    progress: Progress = silent,
) -> LossKernel:
    """The loss kernel of some inputs, as a measurement with its reliability.

    Whatever setting is not given is calibrated as for `estimate_llc`.

    Args:
        task: what is modelled.
        inputs: data of the task's form, or indices of the task's own items; None = all of them.
        run: a run of `observe` that kept the pair (inputs, inputs), to be read instead of sampling.
        labels: one an input, kept with the run.
        groups: one an input; where given, the two controls are sampled too, with the same settings: the kernel at
            nβ = 0, and that of one copy of the network for each group. They cost one run for each group more.
        previews: text or image an input, for the report.
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
        progress: told of the work as it is done.

    Returns:
        `.kernel`, `.correlation` (input, other), `.reliability`, `.verdict`, `.neighbours(i)`, `.features(rank)`,
        `.controls` by name.

    Raises:
        InputError: a setting is out of range, fewer than 2 inputs, or groups that do not fit them.
        DataError: data are not of the task's form, or no loss moves.
        StoreError: the run holds no such pair.
    """
    if run is not None:
        return read_kernel(run)
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
    chosen = as_subset(task, range(len(task.data)) if inputs is None else inputs)
    if len(chosen.data) < 2:
        raise InputError(message(expected="at least 2 inputs", got=str(len(chosen.data)), do="give more"))
    check_groups(groups, chosen)
    tree = observe(
        task,
        {"inputs": chosen},
        pairs=[("inputs", "inputs")],
        settings=settings,
        options=options,
        looks=looks,
        reliability=target_or_default(target_reliability, draws, settings),
        budget=budget,
        labels=None if labels is None else {"inputs": labels},
        previews=None if previews is None else {"inputs": previews},
        progress=progress,
    )
    found = read_kernel(tree)
    return found if groups is None else replace(found, controls=_controls(task, chosen, groups, tree, looks, progress))


def check_groups(groups: Sequence[Any] | None, chosen: Subset) -> None:
    """Refuses groups that do not fit the inputs, and inputs that are tokens.

    Raises:
        InputError: as said.
    """
    if groups is not None and (chosen.per != "item" or len(groups) != len(chosen.data) or len(set(groups)) < 2):
        raise InputError(
            message(
                expected=f"a group for each of the {len(chosen.data)} inputs, whole items, and two groups at least",
                got=f"{len(groups)} of {len(set(groups))} kinds, a {chosen.per} each",
                do="give one group an item, or no groups",
            )
        )


def _controls(
    task: Task, chosen: Subset, groups: Sequence[Any], tree: xr.DataTree, looks: int, progress: Progress
) -> dict[str, LossKernel]:
    """The kernels of the same inputs at nβ = 0 and under one copy of the network a group."""
    settings, pairs = settings_of(tree), [("inputs", "inputs")]
    own = replace(task, data=chosen.data, subsets={})
    noise = observe(
        without_likelihood(task),
        {"inputs": own},
        pairs=pairs,
        settings=noise_settings(settings),
        looks=looks,
        progress=progress,
    )
    names = list(dict.fromkeys(groups))
    together = side_by_side(task, len(names))
    apart = each_on_its_copy(together, task, chosen.data, torch.tensor([names.index(group) for group in groups]))
    copies = observe(together, {"inputs": apart}, pairs=pairs, settings=settings, looks=looks, progress=progress)
    return {"noise": read_kernel(noise), "disjoint": read_kernel(copies)}
