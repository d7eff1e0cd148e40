"""selftest(): known answers measured on this machine, with nothing set by hand."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from bitsandnats import compressors, losses, toys
from bitsandnats._types import Progress, silent
from bitsandnats.calibration import calibrate
from bitsandnats.critical import critical_point
from bitsandnats.errors import BitsAndNatsError
from bitsandnats.estimators.llc import LLC
from bitsandnats.estimators.verdict import NOT_USABLE
from bitsandnats.recipes.llc import estimate_llc
from bitsandnats.settings import settings_from
from bitsandnats.task import Task
from bitsandnats.theory.finite_step import finite_step_llc

_DEVIATIONS = 4.0  # standard errors
_RELATIVE_SE = 0.05
_TARGET_SE = 0.02  # asked for: well below that line
_PANEL = (
    *("regular", "anisotropic", "quartic", "crossing", "uneven crossing", "vector crossing"),
    *("one hidden unit at 0", "tanh neuron"),
)


@dataclass(frozen=True)
class Check:
    """One known answer, measured.

    Attributes:
        model: what was measured.
        quantity: `llc`, nats; or `level`, the critical one of a compressor.
        estimate: what came out; None where nothing did.
        se: its standard error; None = exact.
        truth: the exact value at the same nβ, γ and step; None where the measurement failed before it was known.
        llc: λ, to which λ̂ tends as nβ grows and γ vanishes; None where that is not the question.
        status: of the verdict; None where there is none.
        passed: within 4 standard errors, themselves at most 5 % of the truth; exact values are equal.
        why: what is wrong, where it failed.
        seconds: it took.
    """

    model: str
    quantity: str
    estimate: float | None
    se: float | None
    truth: float | None
    llc: float | None
    status: str | None
    passed: bool
    why: str
    seconds: float

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the estimate, where it has an error."""
        if self.estimate is None or self.se is None:
            return None
        return self.estimate - 1.959964 * self.se, self.estimate + 1.959964 * self.se

    def as_record(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "interval": None if self.interval is None else list(self.interval)}


class _Answer(NamedTuple):
    """What a measurement found beside what it should have; `refused`: its verdict has to be `not usable`."""

    estimate: float
    se: float | None
    truth: float
    status: str | None
    refused: bool = False


class _Case(NamedTuple):
    """A known answer to be measured: `measure(seed)`."""

    model: str
    quantity: str
    llc: float | None
    measure: Callable[[int], _Answer]


def selftest(*, seed: int = 0, progress: Progress = silent) -> list[Check]:
    """A panel of known answers, most of them singular; every setting but nβ is chosen by calibration.

    Args:
        seed: of every random choice.
        progress: told of the cases as they are done.
    """
    checks = []
    found = _cases()
    for i, case in enumerate(found):
        progress(case.model, i, len(found))
        checks.append(_check(case, seed))
    progress("done", len(found), len(found))
    return checks


def _check(case: _Case, seed: int) -> Check:
    began = time.perf_counter()
    try:
        answer = case.measure(seed)
    except BitsAndNatsError as error:
        spent = time.perf_counter() - began
        return Check(case.model, case.quantity, None, None, None, case.llc, None, False, str(error), spent)
    why = _objection(answer)
    estimate = answer.estimate if math.isfinite(answer.estimate) else None
    se = answer.se if answer.se is not None and math.isfinite(answer.se) else None
    spent = time.perf_counter() - began
    return Check(case.model, case.quantity, estimate, se, answer.truth, case.llc, answer.status, not why, why, spent)


def _objection(answer: _Answer) -> str:
    """What is wrong with an answer; empty where nothing is."""
    apart = abs(answer.estimate - answer.truth)
    if answer.se is None:
        return "" if apart == 0 else f"expected exactly {answer.truth:g}, got {answer.estimate:g}"
    if not math.isfinite(answer.estimate) or not math.isfinite(answer.se):
        return "no number came out"
    if answer.refused and answer.status != NOT_USABLE:
        return f"its verdict is '{answer.status}' where '{NOT_USABLE}' was expected"
    if answer.se > _RELATIVE_SE * abs(answer.truth):
        return f"the standard error is {answer.se / abs(answer.truth):.1%} of the truth, more than {_RELATIVE_SE:.0%}"
    if apart > _DEVIATIONS * answer.se:
        return f"{apart / answer.se:.1f} standard errors from the truth, more than {_DEVIATIONS:.0f}"
    return ""


def _cases() -> list[_Case]:
    panel = toys.panel()  # two of the eight are regular
    found = [_posterior(name, panel[name]) for name in _PANEL]
    return [*found, _network(), _finite_step(), _quantization()]


def _posterior(name: str, toy: toys.Toy) -> _Case:
    """λ̂ of a toy against its exact value at the nβ and γ that were used."""

    def measure(seed: int) -> _Answer:
        assert toy.exact is not None
        found = _calibrated(toy, seed)
        attrs = found.tree.attrs
        truth = toy.exact(float(attrs["nbeta"]), float(attrs["gamma"]))
        return _Answer(found.llc, found.se, truth, found.verdict.status)

    return _Case(name, "llc", None if toy.coefficient is None else toy.coefficient.llc, measure)


def _network() -> _Case:
    """A deep linear network as narrow as its rank: λ̂ differs from λ by terms of order 1/nβ only."""
    toy = toys.random_deep_linear([5, 3, 4, 5], 3)
    assert toy.coefficient is not None
    llc = toy.coefficient.llc

    def measure(seed: int) -> _Answer:
        found = _calibrated(toy, seed)
        return _Answer(found.llc, found.se, llc, found.verdict.status)

    return _Case("deep linear network 5-3-4-5 of rank 3", "llc", llc, measure)


def _calibrated(toy: toys.Toy, seed: int) -> LLC:
    given = {"nbeta": toy.nbeta, "seed": seed}
    settings = calibrate(toy.task, given=given, target_se=_TARGET_SE)
    return estimate_llc(toy.task, settings=settings, target_se=_TARGET_SE)


def _finite_step() -> _Case:
    """SGLD at a large step: not the posterior's λ̂ but that of the finite-step law, a third larger; refused for it."""
    curvature, nbeta, gamma, step_size = [1.0] * 40, 90.0, 10.0, 0.01  # ε κ = 1
    fields = {"step_size": step_size, "gamma": gamma, "nbeta": nbeta, "chains": 8, "burn_in": 50, "draws": 400}

    def measure(seed: int) -> _Answer:
        settings = settings_from({**fields, "sampler": "sgld", "start": "noise", "seed": seed})
        found = estimate_llc(toys.quadratic(curvature), settings=settings)
        truth = finite_step_llc(torch.tensor(curvature).numpy(), nbeta=nbeta, gamma=gamma, step_size=step_size)
        return _Answer(found.llc, found.se, truth, found.verdict.status, refused=True)

    return _Case("finite-step law of SGLD at ε κ = 1", "llc", None, measure)


def _quantization() -> _Case:
    """L = ½ Σ (w − w*)², w* = (1, 2, 3): ΔL is 1 at n_q = 4 (values 0, ±3), ¼ at 6 (0, ±1.5, ±3), 0 at 8."""

    def measure(seed: int) -> _Answer:
        model = nn.Linear(3, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        items = 3**0.5 * torch.eye(3, dtype=torch.float64)
        task = Task.from_module(model, losses.gaussian(), (items, items @ model.weight.detach().T))
        compressor = compressors.registry.build("quantize-largest")()
        found = critical_point(compressor, task, tolerance=0.5, seed=seed)
        right = found.level is not None and math.isclose(found.excess_loss, 0.25)
        return _Answer(float(found.level or 0) if right else math.nan, None, 6.0, None)

    return _Case("critical quantization of weights 1, 2, 3", "level", None, measure)
