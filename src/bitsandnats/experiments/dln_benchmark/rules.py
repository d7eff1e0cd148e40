"""One step-size rule a sampler, from the measured curvature: nothing is chosen by looking at the answer."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bitsandnats import samplers
from bitsandnats.errors import InputError, message
from bitsandnats.run import sample
from bitsandnats.settings import Settings, changed
from bitsandnats.task import Task

_STIFFNESS = 0.1  # ε κ of the stiffest direction: a discretisation share of 2.5 %
_BURN_IN = 0.25  # of the steps
_PROBE = (900, 100)  # steps before the preconditioner is looked at (it forgets its start slowly), and while


class _Case(NamedTuple):
    """What a rule knows.

    Attributes:
        task: the network.
        reference: the calibrated sampler's settings: nβ, γ, chains, mode and seed are taken from them.
        kappa: nβ h + γ of the stiffest direction, h the largest curvature at w*.
        burn_in: steps before the draws.
    """

    task: Task
    reference: Settings
    kappa: float
    burn_in: int


class _Choice(NamedTuple):
    """A sampler as it is written with its options, its step size, and the rule in words."""

    sampler: str
    step_size: float
    reason: str


class _Rule(NamedTuple):
    """The rule of a sampler, and how many gradients a step takes."""

    choose: Callable[[str, _Case], _Choice]
    gradients: int
    words: str


def compared_settings(sampler: str, task: Task, reference: Settings, *, curvature: float, evaluations: int) -> Settings:
    """Settings under which a sampler is compared with the calibrated one.

    nβ, γ, chains and seed are the calibrated sampler's, gradients exact; a quarter of the steps is burn-in.

    Args:
        sampler: name and options.
        task: the network.
        reference: the calibrated sampler's settings on the same network.
        curvature: largest eigenvalue of the Hessian at w*.
        evaluations: gradients that it may take, those of all chains.

    Raises:
        InputError: no rule for that sampler.
    """
    rule = check_rule(sampler)
    steps = max(evaluations // (reference.chains * rule.gradients), 8)
    burn_in = round(_BURN_IN * steps)
    case = _Case(task, reference, reference.nbeta * curvature + reference.gamma, burn_in)
    chosen = rule.choose(sampler, case)
    same = "the calibrated sampler's"
    fields = {
        "sampler": chosen.sampler,
        "step_size": float(f"{chosen.step_size:.3g}"),
        "batch_size": len(task.data),
        "burn_in": burn_in,
        "draws": steps - burn_in,
        "start": "center",
        "reasons": {
            "step_size": chosen.reason,
            "draws": f"{evaluations:,} gradients in all: a stated share of those of the calibrated sampler",
            **dict.fromkeys(("nbeta", "gamma", "chains"), same),
        },
    }
    return changed(reference, fields)


def check_rule(sampler: str) -> _Rule:
    """The rule of a sampler.

    Raises:
        InputError: the sampler is unknown, or none is stated for it.
    """
    samplers.registry.build(sampler)
    name = sampler.partition("(")[0].strip()
    if name not in _RULES:
        raise InputError(
            message(
                expected=f"a sampler with a stated step-size rule: {', '.join(_RULES)}",
                got=repr(sampler),
                do="choose among them",
            )
        )
    return _RULES[name]


def stated_rules(names: list[str]) -> dict[str, str]:
    """The rules of samplers, in words."""
    return {name: check_rule(name).words for name in names}


def _langevin(sampler: str, case: _Case) -> _Choice:
    return _Choice(sampler, _STIFFNESS / case.kappa, _WORDS["langevin"])


def _preconditioned(sampler: str, case: _Case) -> _Choice:
    """The step of plain SGLD over the mean preconditioner that a probe finds."""
    largest = 10.0  # 1/δ at the published δ = 0.1: the preconditioner cannot exceed it
    fields = {"sampler": sampler, "step_size": _STIFFNESS / (case.kappa * largest), "start": "center"}
    fields |= {"burn_in": _PROBE[0], "draws": _PROBE[1], "batch_size": len(case.task.data)}
    draws = sample(case.task, changed(case.reference, fields))["draws"].dataset
    mean = float(np.nanmean(draws["preconditioner_mean"].values))
    reason = f"{_WORDS['preconditioned']}; mean preconditioner {mean:.3g}"
    return _Choice(sampler, _STIFFNESS / (case.kappa * mean), reason)


def _published_rmsprop(sampler: str, case: _Case) -> _Choice:
    return _preconditioned(_with_default(sampler, "initial", "one"), case)


def _adapted_mala(sampler: str, case: _Case) -> _Choice:
    return _Choice(_with_default(sampler, "adapt_steps", case.burn_in), 1 / case.kappa, _WORDS["mala"])


def _adapted_mclmc(sampler: str, case: _Case) -> _Choice:
    step = 0.5 * math.sqrt(case.task.dimension / case.kappa)
    return _Choice(_with_default(sampler, "adapt_steps", case.burn_in), step, _WORDS["mclmc"])


def _with_default(sampler: str, option: str, value: Any) -> str:
    """The sampler with an option, unless that is given already."""
    return samplers.registry.changed(sampler, {option: value, **samplers.registry.given(sampler)})


_WORDS = {
    "langevin": "ε = 0.1/(nβ h + γ), h the largest curvature at w*",
    "preconditioned": "ε = 0.1/(A (nβ h + γ)), A the mean preconditioner over steps 900 to 1,000 of a probe",
    "rmsprop": "with initial='one', the paper's variant; ε = 0.1/(A (nβ h + γ)), A as for adam_sgld",
    "momentum": "ε = 0.1/(nβ h + γ), so that a step is √(ε/2) times the momentum",
    "mala": "from ε = 1/(nβ h + γ), adapts in burn-in to its published acceptance of 57 %",
    "mclmc": "from ε = ½ (d/(nβ h + γ))^½, adapts in burn-in to a mean squared energy error of 1e-5 a dimension",
}

_RULES: dict[str, _Rule] = {
    "sgld": _Rule(_langevin, 1, _WORDS["langevin"]),
    "rmsprop_sgld": _Rule(_published_rmsprop, 1, _WORDS["rmsprop"]),
    "adam_sgld": _Rule(_preconditioned, 1, _WORDS["preconditioned"]),
    "sghmc": _Rule(_langevin, 1, _WORDS["momentum"]),
    "sgnht": _Rule(_langevin, 1, _WORDS["momentum"]),
    "mala": _Rule(_adapted_mala, 1, _WORDS["mala"]),
    "mclmc": _Rule(_adapted_mclmc, 2, _WORDS["mclmc"]),
}
