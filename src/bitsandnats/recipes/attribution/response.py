"""susceptibility(): which components respond to which data."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats.errors import InputError, message
from bitsandnats.estimators.susceptibility import Susceptibility
from bitsandnats.estimators.susceptibility import susceptibility as read_susceptibility
from bitsandnats.observables.subsets import as_subset
from bitsandnats.recipes.attribution.observation import observe
from bitsandnats.settings import Settings
from bitsandnats.structure import components as parts
from bitsandnats.task import Task

_REFERENCE = 256  # items that stand for the data in L


def susceptibility(
    task: Task,
    components: Sequence[str] | None = None,
    probes: Mapping[str, Any] | None = None,
    *,
    run: xr.DataTree | None = None,
    per: Literal["item", "token"] = "item",
    reference: Any = None,
    settings: Settings | None = None,
    looks: int = 256,
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
) -> Susceptibility:
    """Susceptibilities of components to probes, as a measurement with its reliability.

    Positive: a shift of the data towards the probe raises what the component's weights cost. Right up to a factor a
    component: standardise before components are compared.

    Args:
        task: what is modelled.
        components: parts of the network, see `component.on_component`; none may overlap.
        probes: name -> data of the task's form, or indices of items.
        run: a run of `observe` with subset `train` and components, whose other subsets are the probes.
        per: one response an item or one a token of the probes.
        reference: items whose mean loss stands for L; by default 256, evenly spaced.
        settings: of the sampler; None = calibrated.
        looks: draws a chain, at most, at which the losses are evaluated.
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
        `.susceptibility` (component, column), `.response` (component, probe), `.standardised()`, `.principal(rank)`,
        `.top(component)`, `.reliability`, `.verdict`, `.dataset`.

    Raises:
        InputError: a component does not exist, two overlap, or a setting is out of range.
        DataError: data are not of the task's form.
        StoreError: the run has no components.
    """
    if run is not None:
        names = [name for name in run["subsets"].children if name != "train"]
        return read_susceptibility(run, names or ["train"])
    if not components or not probes:
        got = "no components" if not components else "no probes"
        raise InputError(message(expected="components and probes", got=got, do="name at least one of each"))
    check_disjoint(task, components)
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
    items = len(task.data)
    spaced = range(0, items, max(1, -(-items // _REFERENCE)))
    subsets = {
        "train": as_subset(task, spaced if reference is None else reference),
        **{name: as_subset(task, chosen, per=per) for name, chosen in probes.items()},
    }
    tree = observe(
        task, subsets, components=components, settings=settings, options=options, looks=looks, progress=progress
    )
    return read_susceptibility(tree, list(probes))


def check_disjoint(task: Task, components: Sequence[str]) -> None:
    """Refuses components that share weights: what one does could not be told from the other.

    Raises:
        InputError: two do, or one does not exist.
    """
    shapes = {name: w.shape for name, w in task.center.items()}
    chosen = [(name, parts.select(task.structure, shapes, name)) for name in components]
    for i, (name, own) in enumerate(chosen):
        for other, others in chosen[:i]:
            for a in own:
                for b in others:
                    apart = a.axis == b.axis and (a.stop <= b.start or b.stop <= a.start)
                    if a.name == b.name and not apart:
                        raise InputError(
                            message(
                                expected="components that share no weights",
                                got=f"{other} and {name}, which share {a.name}",
                                do="leave one of them out",
                            )
                        )
