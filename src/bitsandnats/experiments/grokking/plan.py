"""What the study trains and measures: arms, seeds, checkpoints, tolerances, and the rules stated beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bitsandnats.coarse_grain.search import Method
from bitsandnats.coarse_grain.tuned import REFINEMENTS, Refinement
from bitsandnats.errors import InputError, message
from bitsandnats.experiments.grokking.arithmetic import OPERATIONS, whole_table
from bitsandnats.experiments.grokking.networks import NETWORKS, Network
from bitsandnats.experiments.grokking.training import Recipe, Regime, growing_epochs

TOLERANCES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
MAIN = 1.0
"""The tolerance that findings are about, nats."""

FITTED = 1.0
"""The largest tolerance that power laws are fitted to, nats: at larger ones the constant guess is nearly enough."""

ALPHA = 0.01
"""Share of the uniform guess in the predictions whose cross-entropy is bounded; fixed beforehand."""

GRADES = ("tuned", "ranks", "global", "published")
"""How hard a coarse network is searched for: all refinements; spacings, rounding and ranks only; one Δ and τ for all;
or the published procedure."""

REGIMES = ("none", "decay", "noise", "entropy")
WORDS = {
    "none": "no regularisation",
    "decay": "weight decay",
    "noise": "weight decay, noise",
    "entropy": "weight decay, noise, spectral entropy",
}
GENERALISED, MEMORISED = 0.95, 0.99

RULE = (
    f"Stated beforehand, seed by seed, at {MAIN:g} nat. Memorisation: the checkpoints before test accuracy first "
    f"passes {GENERALISED:.0%}; where it never does, all of them. Peak: the largest complexity in memorisation. Fall: "
    f"peak over the complexity at the first checkpoint measured with test accuracy above {GENERALISED:.0%}, and over "
    f"that at the last one. A regime falls if the fall is at least 2 for every seed. The same for the LLC."
)


class Arm(NamedTuple):
    """One way of training, for several seeds."""

    recipe: Recipe
    regime: Regime

    @property
    def name(self) -> str:
        """In folders."""
        return f"{self.recipe.operation}-{self.recipe.network.kind}-{self.regime.name}"

    def label(self, seed: int) -> str:
        """Names a training run."""
        return f"{self.name}-s{seed}"


class Sampling(NamedTuple):
    """How the LLC is estimated: full-batch SGLD from w* + N(0, 1/γ), nβ = n/ln n.

    Attributes:
        chains, burn_in, draws: of each estimate.
        gamma: γ, the same for all checkpoints.
        share: ε(nβκ + γ), κ the checkpoint's largest curvature.
    """

    chains: int
    burn_in: int
    draws: int
    gamma: float
    share: float


@dataclass(frozen=True)
class Plan:
    """What a run trains and measures.

    Attributes:
        arms: operation, network and regime.
        seeds: of each arm, counted from `seed`.
        checkpoints: of a run that are measured, at most; None = all epochs ⌊1.3^k⌋.
        tolerances: ε, nats a pair, from large to small.
        grade: of the search on every checkpoint.
        published: whether the published procedure is run beside it, at the main tolerance, on two checkpoints of the
            first seed: the first one memorised, and the last.
        sampling: of the LLC.
        device: where networks are trained and losses evaluated.
        seed: the first seed.
    """

    arms: tuple[Arm, ...]
    seeds: int
    checkpoints: int | None
    tolerances: tuple[float, ...]
    grade: str
    published: bool
    sampling: Sampling
    device: str
    seed: int

    @property
    def seed_range(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.seeds)

    def epochs(self, recipe: Recipe) -> tuple[int, ...]:
        """The epochs that are measured: the last one, and the others evenly among those that are kept."""
        kept = growing_epochs(recipe.epochs)
        count = len(kept) if self.checkpoints is None else min(self.checkpoints, len(kept))
        return tuple(kept[round((len(kept) - 1) * (i + 1) / count)] for i in range(count))

    def groups(self) -> list[tuple[Recipe, tuple[Arm, ...]]]:
        """Arms by recipe on a GPU, where all of a recipe are trained together; on the CPU each by itself."""
        if self.device == "cpu":
            return [(arm.recipe, (arm,)) for arm in self.arms]
        recipes = dict.fromkeys(arm.recipe for arm in self.arms)
        return [(recipe, tuple(arm for arm in self.arms if arm.recipe == recipe)) for recipe in recipes]

    def trainings(self) -> list[tuple[tuple[Arm, ...], tuple[int, ...]]]:
        """Arms and seeds trained together: on a GPU all of a recipe; on the CPU, where that is slower, one."""
        if self.device == "cpu":
            return [((arm,), (seed,)) for arm in self.arms for seed in self.seed_range]
        return [(arms, tuple(self.seed_range)) for _, arms in self.groups()]

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        return {
            "experiment": "grokking",
            "arms": [arm.name for arm in self.arms],
            "recipes": [_words(recipe) for recipe, _ in self.groups()],
            "regimes": [str(tuple(regime)) for regime in dict.fromkeys(arm.regime for arm in self.arms)],
            "seeds": self.seeds,
            "checkpoints": self.checkpoints,
            "tolerances": list(self.tolerances),
            "grade": self.grade,
            "published": self.published,
            "sampling": self.sampling._asdict(),
            "device": self.device,
            "seed": self.seed,
        }


def search_options(grade: str) -> tuple[Method, tuple[Refinement, ...]]:
    """Method and refinements of `complexities` for a grade."""
    if grade == "published":
        return "published", ()
    refinements: dict[str, tuple[Refinement, ...]] = {"tuned": REFINEMENTS, "ranks": REFINEMENTS[:3], "global": ()}
    return "searched", refinements[grade]


def grokking_plan(
    *,
    operations: Sequence[str] | None = None,
    networks: Sequence[str] | None = None,
    regimes: Sequence[str] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    checkpoints: int | None = None,
    grade: str | None = None,
    small: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> Plan:
    """The plan of a run.

    Args:
        operations: of `OPERATIONS`; None = all four, of a small run addition.
        networks: of `NETWORKS`; None = both, of a small run the MLP.
        regimes: of `REGIMES`; None = all four, of a small run none and decay.
        seeds: of each arm; None = 3.
        epochs: of training; None = what each takes.
        checkpoints: of a run that are measured, at most; None = all at ⌊1.3^k⌋, of a small run 12.
        grade: of `GRADES`; None = global, of a small run ranks.
        small: a small modulus and small networks.
        device: cpu, cuda …
        seed: the first seed.

    Raises:
        InputError: an unknown name, or numbers out of range.
    """
    chosen = {
        "operations": tuple(operations or (OPERATIONS[:1] if small else OPERATIONS)),
        "networks": tuple(networks or (NETWORKS[1:] if small else NETWORKS)),
        "regimes": tuple(regimes or (REGIMES[:2] if small else REGIMES)),
        "grades": (grade or ("ranks" if small else "global"),),
    }
    known = {"operations": OPERATIONS, "networks": NETWORKS, "regimes": REGIMES, "grades": GRADES}
    for what, names in chosen.items():
        for name in names:
            if name not in known[what]:
                expected = f"{what} among {', '.join(known[what])}"
                raise InputError(message(expected=expected, got=repr(name), do="choose one"))
    for what, value in (("seeds", seeds), ("epochs", epochs), ("checkpoints", checkpoints)):
        if value is not None and value < 1:
            raise InputError(message(expected=f"at least one of {what}", got=str(value), do="give 1 or more"))
    recipe = _small_recipe if small else _recipe
    arms = [
        Arm(recipe(operation, network, epochs), regime(name, operation, 2.0 if small else 1.0))
        for operation in chosen["operations"]
        for network in chosen["networks"]
        for name in chosen["regimes"]
    ]
    return Plan(
        arms=tuple(dict.fromkeys(arms)),
        seeds=3 if seeds is None else seeds,
        checkpoints=checkpoints if checkpoints is not None or not small else 12,
        tolerances=TOLERANCES,
        grade=chosen["grades"][0],
        published=chosen["grades"][0] != "published",
        sampling=Sampling(2, 50, 100, 300.0, 0.2) if small else Sampling(4, 100, 200, 300.0, 0.2),
        device=device,
        seed=seed,
    )


def training_pairs(recipe: Recipe) -> int:
    """n, the pairs that a network is trained on."""
    return int(recipe.fraction * len(whole_table(recipe.operation, recipe.modulus).labels))


def nbeta(recipe: Recipe) -> float:
    """n/ln n."""
    n = training_pairs(recipe)
    return n / math.log(n)


def _recipe(operation: str, network: str, epochs: int | None) -> Recipe:
    """The settings of the paper's public code."""
    harder = operation in ("subtraction", "division")
    shape = Network(network, 2 if harder else 1, 128, 4, 512)
    fraction = 0.3 if harder else 0.2
    pairs = fraction * 113**2
    return Recipe(
        operation, 113, fraction, shape, 1e-3, batch_size=min(512, int(pairs / 2)), epochs=epochs or 6000,
        entropy_every=math.ceil(pairs / 512),
    )  # fmt: skip


def _small_recipe(operation: str, network: str, epochs: int | None) -> Recipe:
    """Settings at which every seed grokked within minutes, found by trial."""
    shape = Network(network, 1, 64, 4, 256) if network == "mlp" else Network(network, 1, 32, 4, 128)
    rate = 5e-3 if network == "mlp" else 3e-3
    return Recipe(operation, 31, 0.7, shape, rate, batch_size=None, epochs=epochs or 1200)


def regime(name: str, operation: str, decay: float = 1.0) -> Regime:
    """A regime with the strengths of the paper's public code.

    Args:
        name: of `REGIMES`.
        operation: which decides the noise.
        decay: weight decay of all but `none`.
    """
    noise = 1e-3 if operation in ("subtraction", "division") else 1e-2
    noisy = name in ("noise", "entropy")
    return Regime(name, 0.0 if name == "none" else decay, noise if noisy else 0.0, 0.1 if name == "entropy" else 0.0)


def _words(recipe: Recipe) -> str:
    batch = "all pairs" if recipe.batch_size is None else f"{recipe.batch_size} pairs"
    return (
        f"{recipe.operation} mod {recipe.modulus}, {recipe.fraction:.0%} of the pairs; {recipe.network.words()}; "
        f"AdamW at {recipe.rate:g}, batches of {batch}, {recipe.epochs} epochs, entropy every {recipe.entropy_every}"
    )
