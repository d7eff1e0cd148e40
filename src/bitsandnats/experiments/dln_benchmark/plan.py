"""What the benchmark measures, and what that will cost."""

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bitsandnats import toys
from bitsandnats.errors import InputError, message
from bitsandnats.experiments.dln_benchmark.aims import CALIBRATED
from bitsandnats.experiments.dln_benchmark.rules import check_rule
from bitsandnats.target import LocalPosterior, faster_mode
from bitsandnats.toys.size_classes import SIZE_CLASSES, architecture

OTHERS = ("sgld", "rmsprop_sgld", "adam_sgld", "sghmc", "sgnht", "mala", "mclmc")
_SAMPLES, _MANY_SAMPLES = 20_000, 1_000_000
_CLASSES = ("1k", "10k", "100k")
_NETS = {"1k": 30, "10k": 30, "100k": 6}
_NETS_LARGE, _NETS_COMPARED, _NETS_MANY_SAMPLES = 3, 8, 10
_SEEDS = 10_000  # networks of one seed; those of another do not overlap
_EVALUATIONS = 25_000  # of the group of chains, of a typical estimate at nβ = 2,000, calibration included
_AROUND = 1.5  # time of a sampler's step over that of its gradient
_CHAINS, _CHAINS_LARGE, _LARGE = (
    8,
    4,
    50_000,
)  # those that calibration takes, and the parameters from which it takes less
_SMALL_NETS, _SMALL_SAMPLERS, _SMALL_SE, _SMALL_GRADIENTS = 3, ("sgld", "mala"), 0.05, 0.1
_TENSORS = 12  # of the weights' size that a chain needs at once


class Arm(NamedTuple):
    """One sampler on the first `nets` networks of one size, at one n."""

    size: str
    samples: int
    sampler: str
    nets: int

    @property
    def name(self) -> str:
        """As in tables."""
        return f"{self.sampler}, {self.size}, n = {self.samples:,}"


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Attributes:
        arms: in the order of the tables.
        seed: of the networks and of every random choice.
        target_se: standard error that the calibrated sampler is asked for, as a share of λ̂; None = its own default.
        gradients: of the others, as a share of those that the calibrated sampler took in all.
    """

    arms: tuple[Arm, ...]
    seed: int
    target_se: float | None = None
    gradients: float = 1.0

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        chosen: dict[str, Any] = {
            "experiment": "dln-benchmark",
            "arms": [f"{arm.name}: {arm.nets}" for arm in self.arms],
            "seed": self.seed,
        }
        return chosen | {"gradients": self.gradients, "target_se": self.target_se}

    def groups(self) -> dict[tuple[str, int], list[Arm]]:
        """The arms by size and n: they share networks, and the calibrated one comes first."""
        groups: dict[tuple[str, int], list[Arm]] = {}
        for arm in self.arms:
            groups.setdefault((arm.size, arm.samples), []).append(arm)
        return groups


class PlanRow(NamedTuple):
    """One arm with what it will cost.

    Attributes:
        arm: the arm.
        parameters: fewest and most of a network.
        evaluation_seconds: one gradient of all chains, measured on the network of median size.
        seconds: predicted for the whole arm, in one process.
        gigabytes: of memory a process, at the largest network.
    """

    arm: Arm
    parameters: tuple[int, int]
    evaluation_seconds: float
    seconds: float
    gigabytes: float

    def as_record(self) -> dict[str, Any]:
        """Plain values."""
        return {**self._asdict(), "arm": self.arm._asdict()}


def benchmark_plan(
    *,
    classes: Sequence[str] | None = None,
    nets: int | None = None,
    samplers: Sequence[str] | None = None,
    samples: Sequence[int] | None = None,
    small: bool = False,
    seed: int = 0,
) -> Plan:
    """The arms of a run.

    Args:
        classes: size classes for the calibrated sampler; None = 1k, 10k and 100k.
        nets: networks a class; None = 30 of 1k and of 10k, 6 of 100k, 3 of larger ones, 10 of 1k at n = 1e6.
        samplers: others to compare, on at most 8 networks of the smallest class at the smallest n; None = all that
            are known here where that class is 1k, else none.
        samples: n; None = 20,000, and for class 1k also 1e6.
        small: 3 networks of 1k at n = 20,000 with a larger standard error, two other samplers with fewer gradients.
        seed: of networks and chains.

    Raises:
        InputError: an unknown class or sampler, or numbers out of range.
    """
    if small:
        given = [name for name, value in (("classes", classes), ("nets", nets), ("samples", samples)) if value]
        if given:
            raise InputError(
                message(expected=f"small without {given[0]}", got="both", do="leave out one of them: small sets it")
            )
        compared = _SMALL_SAMPLERS if samplers is None else tuple(samplers)
        _check(("1k",), _SMALL_NETS, compared, (_SAMPLES,))
        arms = [Arm("1k", _SAMPLES, name, _SMALL_NETS) for name in (CALIBRATED, *compared)]
        return Plan(tuple(arms), seed, _SMALL_SE, _SMALL_GRADIENTS)
    chosen = tuple(dict.fromkeys(classes)) if classes is not None else _CLASSES
    numbers = tuple(dict.fromkeys(samples)) if samples is not None else (_SAMPLES,)
    _check(chosen, nets, samplers or (), numbers)
    chosen = tuple(sorted(chosen, key=list(SIZE_CLASSES).index))
    if samplers is None:
        samplers = OTHERS if chosen[0] == "1k" else ()
    arms = [
        Arm(size, n, CALIBRATED, nets if nets is not None else _NETS.get(size, _NETS_LARGE))
        for n in numbers
        for size in chosen
    ]
    if samples is None and "1k" in chosen:
        arms.append(Arm("1k", _MANY_SAMPLES, CALIBRATED, nets if nets is not None else _NETS_MANY_SAMPLES))
    compared_nets = min(_NETS_COMPARED, arms[0].nets)
    smallest = min(numbers)
    arms += [Arm(chosen[0], smallest, name, compared_nets) for name in dict.fromkeys(samplers)]
    return Plan(tuple(arms), seed)


def network_seed(plan_seed: int, net: int) -> int:
    """The seed of a run's `net`-th network: it does not depend on how many there are."""
    return _SEEDS * plan_seed + net


def measured_plan(plan: Plan) -> list[PlanRow]:
    """Every arm with its size and its predicted cost, from one gradient measured a class and n."""
    found: dict[Arm, PlanRow] = {}
    for (size, samples), arms in plan.groups().items():
        seeds = [network_seed(plan.seed, net) for net in range(max(arm.nets for arm in arms))]
        parameters = [parameter_count(architecture(size, seed)[0]) for seed in seeds]
        middle = seeds[parameters.index(statistics.median_high(parameters))]
        chains = _CHAINS if max(parameters) < _LARGE else _CHAINS_LARGE
        seconds = _evaluation_seconds(size, samples, middle, chains)
        stretch = (samples / math.log(samples) / 2000) ** 0.25  # trajectories lengthen as curvatures spread
        for arm in arms:
            fewest, most = min(parameters[: arm.nets]), max(parameters[: arm.nets])
            share = 1.0 if arm.sampler == CALIBRATED else plan.gradients
            cost = seconds * _AROUND * _EVALUATIONS * share * stretch * arm.nets
            found[arm] = PlanRow(arm, (fewest, most), seconds, cost, 8e-9 * most * chains * _TENSORS)
    return [found[arm] for arm in plan.arms]


def parameter_count(widths: Sequence[int]) -> int:
    """Weights of a deep linear network with these widths."""
    return sum(a * b for a, b in itertools.pairwise(widths))


def _evaluation_seconds(size: str, samples: int, seed: int, chains: int) -> float:
    """One gradient of all chains on one network, the fastest of three."""
    task = toys.size_class(size, seed, samples=samples).task
    target = LocalPosterior(task, 1.0, 0.0, faster_mode(task, None, chains=chains))
    position = {name: w.unsqueeze(0).repeat(chains, 1, 1) for name, w in task.center.items()}
    times = []
    for _ in range(3):
        began = time.perf_counter()
        target.evaluate(position, None)
        times.append(time.perf_counter() - began)
    return min(times)


def _check(classes: Sequence[str], nets: int | None, samplers: Sequence[str], samples: Sequence[int]) -> None:
    unknown = [name for name in classes if name not in SIZE_CLASSES]
    if unknown or not classes:
        got = repr(unknown[0]) if unknown else "none"
        raise InputError(message(expected=f"size classes among {', '.join(SIZE_CLASSES)}", got=got, do="choose one"))
    for name in samplers:
        check_rule(name)
    if nets is not None and nets < 1:
        raise InputError(message(expected="at least one network a class", got=str(nets), do="give --nets 1 or more"))
    fewest = max(SIZE_CLASSES[name].widths[1] for name in classes)
    few = [n for n in samples if n < fewest]
    if few or not samples:
        raise InputError(
            message(
                expected=f"at least {fewest} samples, as many as the widest layer has inputs",
                got=str(few[0]) if few else "none",
                do="give more samples or smaller classes",
            )
        )
