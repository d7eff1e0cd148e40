"""The published procedures: Bayesian optimisation of bzip2's size (Algorithm 1), and bisection of the spacing (2)."""

import bz2
from collections.abc import Sequence

from bitsandnats.coarse_grain.boundary import boundary
from bitsandnats.coarse_grain.grain import coarse_grain, matrices_at
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.coarse_grain.model_search import Told, ask_and_tell
from bitsandnats.coarse_grain.trials import Attempt, Trial, Trials

SEARCH, BISECTION = "published", "quantization"
_SPACINGS = 1e-3, 1.0
_PROBES = (1e-3, 1.0), (1e-2, 0.9)
_RANDOM, _STEPS = 10, 50


def search_published(trials: Trials, tolerance: float, seed: int) -> Trial | None:
    """Algorithm 1: (log Δ, τ) in [10⁻³, 1] × [0, 1] by 62 trials, of which 2 probes and 10 random.

    Sizes are bzip2's of the float32 arrays; a network outside of the tolerance counts as all weights
    uncompressed, which no other exceeds (the public code's constant of 3·10⁵ is too small for larger networks).

    Args:
        trials: the pool.
        tolerance: ε, nats a unit.
        seed: of the sampler.

    Raises:
        InputError: Optuna is not installed.

    Source: arXiv 2412.09810, Algorithm 1; the number of trials from its public code.
    """
    largest = 4.0 * trials.checkpoint.task.dimension

    def told(trial: Trial) -> Told:
        return Told(trial.size if trial.within(tolerance) else largest, None)

    ask_and_tell(
        lambda points: _try(trials, SEARCH, points),
        told,
        _SPACINGS,
        trials=len(_PROBES) + _RANDOM + _STEPS,
        seed=seed,
        probes=_PROBES,
        at_once=trials.workers,
    )
    return trials.best(tolerance, SEARCH)


def bisect_spacing(trials: Trials, tolerance: float, seed: int = 0) -> Trial | None:
    """Algorithm 2: quantization alone; the widest spacing within the tolerance, by bisection of log Δ in [10⁻³, 1].

    Args:
        trials: the pool.
        tolerance: ε, nats a unit.
        seed: not used; nothing is random.

    Source: arXiv 2412.09810, Algorithm 2.
    """
    low, high = _SPACINGS
    known: dict[float, float] = {}

    def excess(spacings: Sequence[float]) -> list[float]:
        new = [s for s in spacings if s not in known]
        made = _try(trials, BISECTION, [(s, 1.0) for s in new])
        known.update((s, trial.excess) for s, trial in zip(new, made, strict=True))
        return [known[s] for s in spacings]

    boundary(excess, tolerance, (low * high) ** 0.5, low=low, high=high, ratio=1.01, at_once=trials.workers)
    return trials.best(tolerance, BISECTION)


def published_size(checkpoint: Checkpoint, spacing: float, threshold: float) -> int:
    """bzip2 of the arrays Δ·round(θ/Δ) as float32, one behind the other, with the signed zeros of this arithmetic.

    Args:
        checkpoint: the network, decomposed once.
        spacing: Δ.
        threshold: τ.
    """
    parts = [part for found in matrices_at(checkpoint, threshold).values() for part in found]
    arrays = [part.div(spacing).round_().mul_(spacing).float().numpy().tobytes() for part in parts]
    return len(bz2.compress(b"".join(arrays), 9))


def _try(trials: Trials, origin: str, points: Sequence[tuple[float, float]]) -> list[Trial]:
    checkpoint = trials.checkpoint

    def attempt(spacing: float, threshold: float) -> Attempt:
        return Attempt(
            origin,
            {"spacing": spacing, "threshold": threshold},
            lambda _: coarse_grain(checkpoint, spacing, threshold),
            lambda _: float(published_size(checkpoint, spacing, threshold)),
        )

    return [trial for trial, _ in trials.add([attempt(*point) for point in points])]
