"""What the study trains and samples, and its rules."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from bitsandnats.errors import InputError, message
from bitsandnats.experiments.heads.ablation import RULE as ABLATION_RULE
from bitsandnats.experiments.heads.chains import RULE as CHAINS_RULE
from bitsandnats.experiments.heads.chains import Sampling
from bitsandnats.experiments.heads.training import Recipe
from bitsandnats.settings import Settings

KINDS = ("mixed", "bigram", "skip", "induction", "bracket", "induction", "induction")
"""Kinds of text that networks are trained on; induction heads form sooner where there is more for them."""

RATIO = 0.1
"""γ/nβ, by the rule."""

RATIOS = (3.0, 1.0, 0.3, 0.1, 0.03)
"""At which the rise of L is compared with that by noise."""

SHIFT = 0.1
"""δh: share of the data that a shift replaces."""

READINGS = ("posterior", "control", "whole", "published", "disjoint", "disjoint-control")
"""Posterior: per token. Control: the same at nβ = 0. Published: the same with the paper's nβ, γ and ε. Whole: responses
to data of which a share δh are texts of one kind, from other chains. Disjoint: two networks side by side,
and the same at nβ = 0."""

ONCE = ("whole", "published")
"""Readings of the first network alone, as is the comparison of pulls."""

RULES = (
    ABLATION_RULE,
    CHAINS_RULE,
    "Chosen on a pilot of the first network. "
    "A head's specific response to a token is (χ/⟨φ⟩ − shift)/⟨φ⟩, from its own chains alone: −k "
    "where what moves the head raises that token's loss k times as much beyond the mean loss. Its structure by "
    "susceptibilities is the one on whose tokens that is most negative. Induction heads are separated in a seed where "
    "the contrast, minus the specific response on induction tokens plus its mean on the other structures' tokens, is "
    "larger for each of them than for any other head but previous-token heads, which serve the same structure.",
    f"Additivity: the mean of the per-token responses over some texts of a kind, against the response to data of which "
    f"{SHIFT:.0%} are these texts, from other chains, both over the mean rise of L: r at least 0.95, and the slope, "
    f"s.d. over s.d., within 10 % of {1 / SHIFT:g}.",
)


class Published(NamedTuple):
    """How chains with the paper's settings are run: SGLD from w*.

    Attributes:
        chains, burn_in, draws: of each set of chains.
        looks: draws at which the losses are evaluated.
        batch_size: texts.
        gamma: γ.
        nbeta: nβ, for the mean loss of a token.
        step_size: ε.
    """

    chains: int
    burn_in: int
    draws: int
    looks: int
    batch_size: int
    gamma: float
    nbeta: float
    step_size: float

    def settings(self, *, seed: int) -> Settings:
        """As settings of the sampler.

        Args:
            seed: of the chains.
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
            mode="vmap",
            baseline="none",
            statistics="none",
        )


@dataclass(frozen=True)
class Plan:
    """What a run trains and samples.

    Attributes:
        recipe: of the networks.
        part: of each of the two networks side by side.
        seeds: networks.
        texts: of each kind named in the recipe, of which L is the mean.
        probe: texts of each kind whose tokens are followed.
        shifted: texts of each kind named, of which L is the mean where the data are shifted.
        sampling: of all chains but those with the paper's settings.
        published: of those.
        pilot: of the chains that the ratios are compared by.
        device: where.
        seed: the first seed.
    """

    recipe: Recipe
    part: Recipe
    seeds: int
    texts: int
    probe: int
    shifted: int
    sampling: Sampling
    published: Published
    pilot: Sampling
    device: str
    seed: int

    @property
    def seed_range(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def added(self) -> int:
        """Texts of one kind that shifted data hold beside those of which L is the mean: a share δh of all."""
        return min(round(self.shifted * len(self.recipe.kinds) * SHIFT / (1 - SHIFT)), self.probe)

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        return {
            "experiment": "susceptibility",
            "recipe": self.recipe.words(),
            "part": self.part.words(),
            "seeds": self.seeds,
            "texts": self.texts,
            "probe": self.probe,
            "shifted": self.shifted,
            "sampling": self.sampling._asdict(),
            "published": self.published._asdict(),
            "pilot": self.pilot._asdict(),
            "device": self.device,
            "seed": self.seed,
        }


def susceptibility_plan(*, seeds: int | None = None, small: bool = False, device: str = "cpu", seed: int = 0) -> Plan:
    """The plan of a run.

    Args:
        seeds: networks; None = 3, of a small run 1.
        small: few texts and short chains.
        device: cpu, cuda …
        seed: the first seed.

    Raises:
        InputError: less than one seed.
    """
    count = (1 if small else 3) if seeds is None else seeds
    if count < 1:
        raise InputError(message(expected="at least one of seeds", got=str(count), do="give 1 or more"))
    recipe = Recipe(2, 64, 4, KINDS, 1500, 0.02, 32, 2400)
    if small:
        sampling, published = Sampling(4, 10, 24, RATIO), Published(4, 50, 200, 50, 16, 300.0, 30.0, 1e-3)
    else:
        sampling, published = Sampling(6, 12, 48, RATIO), Published(8, 100, 400, 100, 16, 300.0, 30.0, 1e-3)
    return Plan(
        recipe=recipe,
        part=recipe._replace(width=32, heads=2, steps=600),
        seeds=count,
        texts=4 if small else 8,
        probe=8 if small else 32,
        shifted=10 if small else 24,
        sampling=sampling,
        published=published,
        pilot=Sampling(2, 6, 6, RATIO),
        device=device,
        seed=seed,
    )
