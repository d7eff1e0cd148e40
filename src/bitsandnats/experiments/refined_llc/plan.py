"""What the study trains and samples, and the rules stated beforehand."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from bitsandnats.errors import InputError, message
from bitsandnats.experiments.heads.ablation import RULE as ABLATION_RULE
from bitsandnats.experiments.heads.training import Recipe, growing_steps
from bitsandnats.experiments.susceptibility.plan import KINDS
from bitsandnats.settings import Settings

OWN = "all"
"""The data that networks are trained on."""

METHODS = ("kmeans", "dtw", "hierarchical")
"""How curves are grouped, as in `estimators.curves`."""

RULES = (
    ABLATION_RULE,
    "Stated beforehand. Curves: each quantity at the checkpoints, less its mean and over its standard deviation. "
    "Grouped by each method into as many groups as there are labels by ablation among the heads, and compared with "
    "these by the adjusted Rand index: 1 where the groups are the same, 0 on average where they are drawn at random. "
    "The same for the trace of each head's Hessian, which needs no chains.",
    "A head's specialisation is λ̂ on texts with much of one structure over λ̂ on the training data, at the last "
    "checkpoint; of several structures the one where it is largest is compared with the head's label.",
)


class Sampling(NamedTuple):
    """How chains are run: SGLD from w*, only one head moving.

    Attributes:
        chains, burn_in, draws: of each estimate.
        batch_size: texts.
        gamma: γ.
        nbeta: nβ, for the mean loss of a token.
        step_size: ε.
        probes: random vectors of each trace.
    """

    chains: int
    burn_in: int
    draws: int
    batch_size: int
    gamma: float
    nbeta: float
    step_size: float
    probes: int

    def settings(self, *, seed: int, device: str) -> Settings:
        """As settings of the sampler.

        Args:
            seed: of the chains.
            device: on a GPU all chains run at once.
        """
        return Settings(
            sampler="sgld",
            step_size=self.step_size,
            gamma=self.gamma,
            nbeta=self.nbeta,
            batch_size=self.batch_size,
            chains=self.chains,
            burn_in=self.burn_in,
            draws=self.draws,
            seed=seed,
            mode="loop" if device == "cpu" else "vmap",
        )


@dataclass(frozen=True)
class Plan:
    """What a run trains and samples.

    Attributes:
        recipe: of the networks.
        seeds: networks.
        checkpoints: of each.
        data: the training data, and structures whose texts λ̂ is refined to.
        texts: of each kind of text that losses are of.
        sampling: of all chains.
        device: where.
        seed: the first seed.
    """

    recipe: Recipe
    seeds: int
    checkpoints: int
    data: tuple[str, ...]
    texts: int
    sampling: Sampling
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
            "device": self.device,
            "seed": self.seed,
        }


def refined_llc_plan(*, seeds: int | None = None, small: bool = False, device: str = "cpu", seed: int = 0) -> Plan:
    """The plan of a run.

    Args:
        seeds: networks; None = 3, of a small run 1.
        small: a short training, few checkpoints and short chains.
        device: cpu, cuda …
        seed: the first seed.

    Raises:
        InputError: less than one seed.
    """
    count = (1 if small else 3) if seeds is None else seeds
    if count < 1:
        raise InputError(message(expected="at least one of seeds", got=str(count), do="give 1 or more"))
    if small:
        recipe = Recipe(2, 32, 4, KINDS, 300, 0.02, 16, 600)
        sampling = Sampling(2, 20, 40, 8, 1000.0, 300.0, 2e-4, 2)
    else:
        recipe = Recipe(2, 64, 4, KINDS, 1500, 0.02, 32, 2400)
        sampling = Sampling(4, 60, 140, 16, 1000.0, 1000.0, 1e-4, 8)
    return Plan(
        recipe=recipe,
        seeds=count,
        checkpoints=4 if small else 10,
        data=(OWN, "induction") if small else (OWN, "skip", "induction", "bracket"),
        texts=20 if small else 200,
        sampling=sampling,
        device=device,
        seed=seed,
    )
