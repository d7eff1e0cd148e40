"""What the study trains and measures, and the rules stated beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

from bitsandnats.errors import InputError, message
from bitsandnats.experiments.chains import Chain, Sampling
from bitsandnats.experiments.images import available, check_set
from bitsandnats.experiments.small_networks import Recipe

DAMPINGS = (0.1, 0.03, 0.01, 0.003, 0.001)
"""δ of the damped influence functions, in units of the mean loss's Hessian."""

PROJECTIONS = (32, 128, 512)
"""Random features of the TRAK-like projections."""

RATIOS = (0.02, 0.005)
"""γ/nβ of chains on the loss that was trained on, whose penalty damps too."""

BARE = 0.03
"""γ/nβ of chains on the loss without that penalty."""

CHECKPOINTS = 5
"""Of training, for TracIn."""

METHODS = {
    "bif": "BIF",
    "gauss_newton": "damped influence, Gauss–Newton",
    "hessian": "damped influence, Hessian",
    "trak": "TRAK-like",
    "tracin": "TracIn",
    "gradsim": "GradSim",
    "noise": "BIF at nβ = 0",
}
"""In tables, by name."""

EXACT = ("gauss_newton", "hessian")
FORMS = ("raw", "normalised")
AIM = 0.95

RULE = (
    "Stated beforehand. LDS: the mean over queries of the rank correlation between a query's loss after retraining on "
    "random subsets of the training set, mean over networks of different first weights, and the sum of its "
    "attributions to the subset's items. Of each method's settings that one counts whose LDS is largest on the subsets "
    "for choosing, which are not among those scored: for each network, fraction and form by itself; chains are run on "
    "the first network at all settings, and on the others at those whose raw LDS was largest there, one a fraction, "
    f"again on the subsets for choosing. Aims, for each network, raw: BIF at fraction 0.5 at least {AIM:g} of the "
    "better exact damped influence function; BIF above the TRAK-like projections and above GradSim at every fraction."
)


class Sizes(NamedTuple):
    """How much there is of everything.

    Attributes:
        train: items to train on, at most.
        queries: items that are asked about.
        choosing: subsets that settings are chosen by.
        scored: subsets that methods are scored by.
        repeats: networks a subset, of different first weights.
        left_out: items that are left out one by one.
    """

    train: int
    queries: int
    choosing: int
    scored: int
    repeats: int
    left_out: int

    @property
    def subsets(self) -> int:
        """All, those for choosing first."""
        return self.choosing + self.scored


@dataclass(frozen=True)
class Plan:
    """What a run trains and measures.

    Attributes:
        data: names of sets of images.
        fractions: of the training set that subsets hold.
        models: networks that attributions are made at.
        sizes: how much of everything.
        recipe: of training.
        sampling: of the chains.
        device: where chains are run; everything else is the processor's.
        seed: of all.
    """

    data: tuple[str, ...]
    fractions: tuple[float, ...]
    models: int
    sizes: Sizes
    recipe: Recipe
    sampling: Sampling
    device: str
    seed: int

    def train_items(self, data: str) -> int:
        """n: of digits there are no more than 1,797 in all."""
        return min(self.sizes.train, 1797 - self.sizes.queries) if data == "digits" else self.sizes.train

    def chain_settings(self, data: str) -> tuple[Chain, ...]:
        """Those that are compared: nβ of n/ln n and of 4n, each with every ratio, with the penalty and without."""
        n = self.train_items(data)
        with_it = tuple((ratio, self.recipe.decay) for ratio in RATIOS)
        return tuple(Chain(nbeta, *both) for nbeta in (n / log(n), 4.0 * n) for both in (*with_it, (BARE, 0.0)))

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        return {
            "experiment": "influence-retraining",
            "data": list(self.data),
            "fractions": list(self.fractions),
            "models": self.models,
            "sizes": self.sizes._asdict(),
            "recipe": self.recipe._asdict(),
            "sampling": self.sampling._asdict(),
            "device": self.device,
            "seed": self.seed,
        }


def influence_plan(
    *,
    data: Sequence[str] | None = None,
    models: int | None = None,
    chains: int | None = None,
    draws: int | None = None,
    small: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> Plan:
    """The plan of a run.

    Args:
        data: sets of images; None = all that are installed, of a small run digits.
        models: networks that attributions are made at; None = 3.
        chains: at each setting; None = 16. On a GPU 64 take hardly longer.
        draws: of each chain; None = 600, of a small run 250.
        small: 400 training images, fewer subsets and networks.
        device: where chains are run.
        seed: of all.

    Raises:
        InputError: an unknown set or one that is not installed, or numbers out of range.
    """
    chosen = tuple(dict.fromkeys(data)) if data is not None else ("digits",) if small else available()
    for name in chosen:
        check_set(name)
    for what, value, least in (
        ("data", len(chosen), 1),
        ("models", models, 1),
        ("chains", chains, 2),
        ("draws", draws, 10),
    ):
        if value is not None and value < least:
            do = f"give {least} or more"
            raise InputError(message(expected=f"at least {least} of {what}", got=str(value), do=do))
    sizes = Sizes(400, 100, 20, 30, 2, 30) if small else Sizes(2000, 200, 20, 40, 4, 60)
    sampling = Sampling(chains or 16, 20, draws or (250 if small else 600))
    recipe = Recipe(width=16, steps=200, rate=0.03, decay=0.01)
    return Plan(chosen, (0.5, 0.1), models or 3, sizes, recipe, sampling, device, seed)
