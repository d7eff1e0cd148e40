"""What the study trains and samples, and the rules stated beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitsandnats.errors import InputError, message
from bitsandnats.experiments.heads.ablation import RULE as ABLATION_RULE
from bitsandnats.experiments.heads.chains import RULE as CHAINS_RULE
from bitsandnats.experiments.heads.chains import Sampling
from bitsandnats.experiments.heads.text import STRUCTURES
from bitsandnats.experiments.heads.training import Recipe, growing_steps
from bitsandnats.experiments.susceptibility.plan import KINDS, RATIO

OWN = "all"
"""The data that networks are trained on."""

METHODS = ("kmeans", "dtw", "hierarchical")
"""How curves are grouped, as in `estimators.curves`."""

RULES = (
    ABLATION_RULE,
    CHAINS_RULE,
    "Stated beforehand. Curves: each quantity at the checkpoints, less its mean and over its standard deviation. "
    "Grouped by each method into as many groups as there are labels by ablation among the heads, and compared with "
    "these by the adjusted Rand index: 1 where the groups are the same, 0 on average where they are drawn at random. "
    "The same for the trace of each head's Hessian, which needs no chains, and for nβ times the rise of L under noise "
    "of variance 1/γ, λ̂ without a likelihood. Pooled: the curves of the heads of all networks at once.",
    "A head's specialisation is λ̂ on texts with much of one structure over λ̂ on the training data, at the last "
    "checkpoint; of several structures the one where it is largest is compared with the head's label.",
)


@dataclass(frozen=True)
class Plan:
    """What a run trains and samples.

    Attributes:
        recipe: of the networks.
        seeds: networks.
        checkpoints: of each.
        data: the training data, and structures whose texts λ̂ is refined to.
        texts: of each kind named in the recipe, of which L is the mean; of a refinement as many in all.
        sampling: of all chains.
        probes: random vectors of each trace.
        noises: draws of the noise.
        device: where.
        seed: the first seed.
    """

    recipe: Recipe
    seeds: int
    checkpoints: int
    data: tuple[str, ...]
    texts: int
    sampling: Sampling
    probes: int
    noises: int
    device: str
    seed: int

    @property
    def seed_range(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def steps(self) -> tuple[int, ...]:
        """The checkpoints, ever farther apart."""
        return growing_steps(self.recipe.steps, self.checkpoints)

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        return {
            "experiment": "refined-llc",
            "recipe": self.recipe.words(),
            "seeds": self.seeds,
            "checkpoints": self.checkpoints,
            "data": list(self.data),
            "texts": self.texts,
            "sampling": self.sampling._asdict(),
            "probes": self.probes,
            "noises": self.noises,
            "device": self.device,
            "seed": self.seed,
        }


def refined_llc_plan(
    *,
    seeds: int | None = None,
    refinements: Sequence[str] = (),
    small: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> Plan:
    """The plan of a run.

    Args:
        seeds: networks; None = 3, of a small run 1.
        refinements: structures on whose texts λ̂ is measured too; each costs as much as the training data.
        small: a short training, few checkpoints and short chains.
        device: cpu, cuda …
        seed: the first seed.

    Raises:
        InputError: less than one seed, or a structure that the language has not.
    """
    unknown = [name for name in refinements if name not in STRUCTURES]
    if unknown:
        raise InputError(
            message(expected=f"refinements among {', '.join(STRUCTURES)}", got=unknown[0], do="choose among them")
        )
    count = (1 if small else 3) if seeds is None else seeds
    if count < 1:
        raise InputError(message(expected="at least one of seeds", got=str(count), do="give 1 or more"))
    return Plan(
        recipe=Recipe(2, 32, 4, KINDS, 300, 0.02, 16, 600) if small else Recipe(2, 64, 4, KINDS, 1500, 0.02, 32, 2400),
        seeds=count,
        checkpoints=4 if small else 5,
        data=(OWN, *dict.fromkeys(refinements)),
        texts=4 if small else 5,
        sampling=Sampling(2, 16, 16, RATIO) if small else Sampling(4, 6, 16, RATIO),
        probes=2 if small else 8,
        noises=16 if small else 32,
        device=device,
        seed=seed,
    )
