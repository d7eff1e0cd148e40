"""The published procedures: Bayesian optimisation of bzip2's size (Algorithm 1), and bisection of the spacing (2)."""

import bz2

from bitsandnats.coarse_grain.boundary import boundary
from bitsandnats.coarse_grain.grain import coarse_grain, matrices_at
from bitsandnats.coarse_grain.matrices import Checkpoint
from bitsandnats.coarse_grain.model_search import Told, ask_and_tell
from bitsandnats.coarse_grain.trials import Trial, Trials

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
        lambda spacing, threshold: _try(trials, SEARCH, spacing, threshold),
        told,
        _SPACINGS,
        trials=len(_PROBES) + _RANDOM + _STEPS,
        seed=seed,
        probes=_PROBES,
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

    def excess(spacing: float) -> float:
        if spacing not in known:
            known[spacing] = _try(trials, BISECTION, spacing, 1.0).excess
        return known[spacing]

    boundary(excess, tolerance, (low * high) ** 0.5, low=low, high=high, ratio=1.01)
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


def _try(trials: Trials, origin: str, spacing: float, threshold: float) -> Trial:
    network = coarse_grain(trials.checkpoint, spacing, threshold)
    size = float(published_size(trials.checkpoint, spacing, threshold))
    return trials.add(origin, network, size, {"spacing": spacing, "threshold": threshold})
