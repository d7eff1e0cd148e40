"""What the study trains and measures: suites, checkpoints, settings, and the rules stated beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bitsandnats import hf
from bitsandnats.errors import InputError, message
from bitsandnats.hf import TrainOptions

SCHEMES = ("quantize", "quantize-largest", "factorize", "noise-absolute", "noise-relative")
SETTINGS = ("local", "published")
"""The settings that the LLC is estimated at: chosen by measurement, and those of the paper."""

LATE = 8
"""The range stated beforehand: steps from the last one divided by this."""

RULE = (
    f"Stated beforehand. Full range: every checkpoint measured whose critical level was found above the scheme's floor "
    f"and whose λ̂ is a number, whatever its verdict. Late range: of those, the steps from 1/{LATE} of the last one on, "
    f"which looks at neither λ̂ nor the critical levels. λ̂ and its controls are compared on the same checkpoints. Main "
    f"tolerance: the one nearest to 0.5 nat at which the late range of every suite has at least six checkpoints of "
    f"the first scheme; 0.5, or the nearest there is, where none has."
)
_FEWEST_LAYERS = 3  # that `factorize` takes without being told which


class Sampling(NamedTuple):
    """How long a local posterior is sampled, and what of the settings is not chosen by measurement."""

    chains: int
    draws: int
    batch_size: int
    gamma: float | None = None
    step_size: float | None = None

    def given(self) -> dict[str, Any]:
        """Plain values of what is set."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Pruning(NamedTuple):
    """Head pruning with retraining, on some checkpoints of the smallest suite.

    Attributes:
        checkpoints: how many.
        fractions: of heads kept.
        draws: choices of heads a fraction, each with its own retraining.
        steps: of retraining, at a tenth of the training rate.
        batch_size: of retraining.
    """

    checkpoints: int
    fractions: tuple[float, ...]
    draws: int
    steps: int
    batch_size: int


class Suite(NamedTuple):
    """One training run.

    Attributes:
        name: in tables and folders.
        options: of its model and its training.
        folder: where it is, for one that was trained before; None = to be trained.
    """

    name: str
    options: TrainOptions
    folder: Path | None = None

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes, with all layers factorized where the model has too few to leave the first and the last alone."""
        whole = self.options.layers < _FEWEST_LAYERS
        return tuple("factorize(layers='all')" if whole and name == "factorize" else name for name in SCHEMES)

    @property
    def size(self) -> int:
        """Weights of its matrices: what suites are ordered by."""
        width = self.options.width
        return 2 * self.options.vocabulary * width + 12 * self.options.layers * width**2

    def words(self) -> str:
        """Its shape."""
        own = self.options
        return f"{own.layers} layers of width {own.width}, {own.heads} heads, vocabulary {own.vocabulary}"


@dataclass(frozen=True)
class Plan:
    """What a run trains and measures.

    Attributes:
        suites: from small to large.
        checkpoints: of each, at most; the last ones of its series.
        tolerances: loss increases allowed, nats a token.
        local: length of the chains at local settings.
        published: the same at the published ones.
        pruning: of heads.
        corpus_bytes: text to train on.
        seed: of every random choice.
    """

    suites: tuple[Suite, ...]
    checkpoints: int
    tolerances: tuple[float, ...]
    local: Sampling
    published: Sampling
    pruning: Pruning
    corpus_bytes: int
    seed: int

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        return {
            "experiment": "compressibility",
            "suites": [f"{s.name}: {s.words()}, {s.options.steps} steps" for s in self.suites],
            "trained": [s.name for s in self.suites if s.folder is None],
            "checkpoints": self.checkpoints,
            "tolerances": list(self.tolerances),
            "local": self.local.given(),
            "published": self.published.given(),
            "pruning": self.pruning._asdict(),
            "corpus_bytes": self.corpus_bytes,
            "seed": self.seed,
        }

    def steps(self, suite: Suite) -> tuple[int, ...]:
        """The steps of a suite that are measured: the last ones, but never the untrained model."""
        return tuple(s for s in suite.options.saved_steps() if s > 0)[-self.checkpoints :]

    def pruned_steps(self) -> tuple[int, ...]:
        """The steps of the smallest suite at which heads are pruned: evenly spread, the last among them."""
        steps, count = self.steps(self.suites[0]), self.pruning.checkpoints
        return tuple(sorted({steps[len(steps) * (i + 1) // count - 1] for i in range(count) if len(steps) >= count}))


def compressibility_plan(*, suites: Sequence[Path] | None = None, small: bool = False, seed: int = 0) -> Plan:
    """The plan of a run.

    Args:
        suites: folders of suites that were trained before; None = three sizes are trained.
        small: tiny models, few checkpoints and short chains: everything in about two minutes.
        seed: of training, chains and compressions.

    Raises:
        InputError: two folders of one name.
        DataError: a folder that is no finished suite.
    """
    plan = _small(seed) if small else _whole(seed)
    if not suites:
        return plan
    found = [Suite(Path(folder).resolve().name, hf.suite_options(folder), Path(folder)) for folder in suites]
    names = [suite.name for suite in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            message(expected="suites of different names", got=f"two called {twice[0]}", do="rename one of the folders")
        )
    return _replaced(plan, tuple(sorted(found, key=lambda suite: suite.size)))


def _whole(seed: int) -> Plan:
    steps = 2048
    saved = tuple(round(steps * 2 ** (-0.4 * k)) for k in reversed(range(11)))
    sizes = {"small": (2, 64, 4), "middle": (2, 128, 4), "large": (3, 192, 6)}
    return Plan(
        suites=tuple(
            Suite(n, TrainOptions(layers=a, width=b, heads=c, steps=steps, checkpoints=saved, seed=seed))
            for n, (a, b, c) in sizes.items()
        ),
        checkpoints=11,
        tolerances=(0.1, 0.3, 0.5, 1.0),
        local=Sampling(2, 100, 16),
        published=Sampling(2, 200, 16),
        pruning=Pruning(3, (0.25, 0.5, 0.75, 1.0), 2, 1000, 16),
        corpus_bytes=8_000_000,
        seed=seed,
    )


def _small(seed: int) -> Plan:
    steps = 240
    saved = tuple(round(steps * 2 ** (-0.7 * k)) for k in reversed(range(7)))
    common: dict[str, Any] = {"context": 32, "vocabulary": 400, "steps": steps, "batch_size": 16, "warmup": 20}
    sizes = {"small": (1, 16, 2), "middle": (2, 24, 2), "large": (3, 32, 4)}
    return Plan(
        suites=tuple(
            Suite(n, TrainOptions(layers=a, width=b, heads=c, checkpoints=saved, seed=seed, **common))
            for n, (a, b, c) in sizes.items()
        ),
        checkpoints=7,
        tolerances=(0.03, 0.1, 0.3),
        local=Sampling(2, 40, 8, gamma=1e3, step_size=1e-5),  # probing chains would take most of the time
        published=Sampling(2, 40, 8),
        pruning=Pruning(2, (0.5, 1.0), 1, 40, 8),
        corpus_bytes=400_000,
        seed=seed,
    )


def _replaced(plan: Plan, suites: tuple[Suite, ...]) -> Plan:
    fields = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    return Plan(**{**fields, "suites": suites})
