"""Bayesian optimisation over (log Δ, τ): Optuna's Gaussian process, asked for trials and told what they gave."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from bitsandnats.coarse_grain.trials import Trial
from bitsandnats.errors import InputError, message


class Told(NamedTuple):
    """What the sampler is told of a trial.

    Attributes:
        value: to be minimised.
        constraint: at most 0 where the trial is within the tolerance; None where infeasibility is part of the value.
    """

    value: float
    constraint: float | None


def ask_and_tell(
    evaluate: Callable[[Sequence[tuple[float, float]]], Sequence[Trial]],
    told: Callable[[Trial], Told],
    spacings: tuple[float, float],
    *,
    trials: int,
    seed: int,
    known: Sequence[Trial] = (),
    probes: Sequence[tuple[float, float]] = (),
    at_once: int = 1,
) -> None:
    """Asks for (Δ, τ), tells size and distortion, and so on.

    The same seed and `at_once` give the same trials, whatever order they are finished in.

    Args:
        evaluate: several (Δ, τ) -> their trials.
        told: a trial -> what the sampler is told of it.
        spacings: the least and the largest Δ.
        trials: how many to evaluate, probes among them.
        seed: of the sampler.
        known: trials of an earlier search, told first.
        probes: evaluated before the sampler is asked.
        at_once: how many are asked for before any of them is told.

    Raises:
        InputError: Optuna is not installed.
    """
    optuna = _library()
    space = {
        "spacing": optuna.distributions.FloatDistribution(*spacings, log=True),
        "threshold": optuna.distributions.FloatDistribution(0.0, 1.0),
    }
    with _quiet(optuna):
        random = max(0, _RANDOM - len(known)) + len(probes) + len(known)
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=random)
        study = optuna.create_study(sampler=sampler, direction="minimize")
        for trial in known:
            value, constraint = told(trial)
            params = {name: min(max(trial.settings[name], s.low), s.high) for name, s in space.items()}
            limits = None if constraint is None else {"distortion": constraint}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=space, value=value, constraints=limits)
            )
        for spacing, threshold in probes:
            study.enqueue_trial({"spacing": spacing, "threshold": threshold})
        for first in range(0, trials, at_once):
            asked = [study.ask(space) for _ in range(min(at_once, trials - first))]
            tried = evaluate([(a.params["spacing"], a.params["threshold"]) for a in asked])
            for one, trial in zip(asked, tried, strict=True):
                value, constraint = told(trial)
                if constraint is not None:
                    one.set_constraint("distortion", constraint)
                study.tell(one, value)


_RANDOM = 10


def _library() -> Any:
    try:
        import optuna
    except ImportError:
        do = "pip install 'bitsandnats[tune]'"
        expected = "Optuna, which a search by Bayesian optimisation needs"
        raise InputError(message(expected=expected, got="none installed", do=do)) from None
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without the library's lines on studies and missing packages, its level put back afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
