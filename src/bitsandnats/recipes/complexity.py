"""complexity(): how few bytes describe a network that is as good, up to a tolerance (2412.09810)."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from bitsandnats._tree import numel
from bitsandnats._types import Progress, silent
from bitsandnats.coarse_grain import Trial, Trials, ranks, read_checkpoint
from bitsandnats.coarse_grain.evaluator import item_losses
from bitsandnats.coarse_grain.search import Found, Global, Method, Search
from bitsandnats.coarse_grain.tuned import REFINEMENTS, Refinement
from bitsandnats.compressors import coding
from bitsandnats.errors import DataError, InputError, message
from bitsandnats.task import Task


class Spent(NamedTuple):
    """Wall-clock seconds of a search.

    Attributes:
        total: of the search, all tolerances.
        losses: in losses and gradients of the task, those of several workers added up.
        decompositions: in singular value decompositions, made once.
    """

    total: float
    losses: float
    decompositions: float

    @property
    def overhead(self) -> float:
        """Share of everything else; means little with several workers."""
        return 1 - (self.losses + self.decompositions) / self.total


@dataclass(frozen=True)
class Complexity:
    """The smallest network found within a tolerance, and how it was found.

    Attributes:
        method: `searched`, `published` or `quantization`.
        tolerance: ε, nats a unit.
        bytes: its size. For `searched` the length of the file that `save` writes; for the published methods bzip2's of
            the float32 arrays.
        task: the coarse network as a Task, on the same data.
        network: the same as it is coded.
        settings: what made it: `spacing` Δ and `threshold` τ of a global search; `price`, `width`, `steps` of a tuned,
            and `plain` where not all refinements were used for it.
        loss: L of the coarse network on the data, nats a unit.
        excess_loss: ΔL, nats a unit.
        excess_loss_se: its standard error, from paired losses of the items.
        test_loss: L of the coarse network on the test data; None without.
        test_loss_before: L of the network itself there.
        trials: every network that was tried, in order, those for other tolerances among them.
        spent: what the search took, other tolerances included.
    """

    method: Method
    tolerance: float
    bytes: int
    task: Task
    network: coding.Network
    settings: dict[str, float]
    loss: float
    excess_loss: float
    excess_loss_se: float
    test_loss: float | None
    test_loss_before: float | None
    trials: tuple[Trial, ...]
    spent: Spent

    @property
    def spacing(self) -> dict[str, tuple[float, ...]]:
        """Δ of each tensor; of both factors where it is coded as a product."""
        return {name: tuple(g.spacing for g in piece.grids) for name, piece in self.network.pieces.items()}

    @property
    def threshold(self) -> float | None:
        """τ, where one threshold served all matrices."""
        return self.settings.get("threshold")

    @property
    def ranks(self) -> dict[str, int]:
        """Rank of each matrix that is coded as a product."""
        return ranks(self.network)

    @property
    def bits_per_parameter(self) -> float:
        """Eight times the bytes over the number of parameters, fixed ones among them."""
        return 8 * self.bytes / (self.task.dimension + numel(self.task.fixed))

    def sizes(self) -> dict[str, int]:
        """What other coders make of the same network, bytes: bzip2 of float32, and bzip2, xz, zstd of the symbols."""
        ours = {"bitsandnats": len(coding.encode(self.network))}
        return ours | {"bzip2 of float32": coding.published_bytes(self.network)} | coding.symbol_bytes(self.network)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes the network as a file that decodes to the very same weights; its length in bytes.

        Raises:
            StoreError: the file cannot be written.
        """
        return coding.save(self.network, path)

    def as_record(self) -> dict[str, Any]:
        """Plain values for a summary."""
        names = ("method", "tolerance", "bytes", "bits_per_parameter", "settings", "ranks", "loss", "excess_loss")
        more = ("excess_loss_se", "test_loss", "test_loss_before")
        plain = {name: getattr(self, name) for name in (*names, *more)}
        return {**plain, "sizes": self.sizes(), "trials": len(self.trials)}

    def __str__(self) -> str:
        cost = f"{self.bytes} bytes ({self.bits_per_parameter:.2f} bits/parameter)"
        loss = f"ΔL = {self.excess_loss:.3f} ± {self.excess_loss_se:.3f}"
        return f"{cost} within ε = {self.tolerance:g}, {loss}"


def complexity(
    task: Task,
    *,
    tolerance: float,
    method: Method = "searched",
    search: Global = "auto",
    refinements: Sequence[Refinement] = REFINEMENTS,
    test: Any = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = silent,
) -> Complexity:
    r"""How few bytes describe a network whose loss on the data is within ε: an upper bound of its complexity.

    A coarse network is accepted if $|L(\tilde\theta)-L(\theta)|<\epsilon$ on the task's data.

    Args:
        task: the network and the data it was trained on.
        tolerance: ε > 0, nats a unit.
        method: `searched`: the search below, and the length of a file that decodes. `published`: Bayesian optimisation
            of (Δ, τ) by 62 trials, and bzip2 of float32 arrays. `quantization`: bisection of Δ alone, and bzip2.
        search: of `searched`, how one spacing and threshold for all are found first: `grid`, bisection along spacings
            at several thresholds; `model`, 30 trials of a Gaussian process; `auto`, by what a loss costs.
        refinements: of `searched`, what is tuned after that: `spacings` by measured sensitivity, `rounding` for rate
            and distortion, `ranks` matrix by matrix, and where losses are cheap `compensation`: 30 or 100 gradient
            steps in which some weights make up for the rounding of others, all staying next to their unrounded values.
            Fewer for ablation; none for the global search alone.
        test: data of the same form on which the loss is also given.
        seed: of whatever is random.
        workers: of `searched`, threads that evaluate networks at the same time, where a loss takes long. What is tried
            depends on their number, and on nothing else beside the seed.
        progress: told of trials.

    Raises:
        InputError: a tolerance that is not positive or that nothing tried meets; an unknown option; no worker; Optuna
            is needed.
        ModelError: weights that are not finite, or a loss that is not.
        DataError: test data without items.

    Source: arXiv 2412.09810, equations 5 to 14, Algorithms 1 and 2.
    """
    return complexities(
        task,
        tolerances=[tolerance],
        method=method,
        search=search,
        refinements=refinements,
        test=test,
        seed=seed,
        workers=workers,
        progress=progress,
    )[0]


def complexities(
    task: Task,
    *,
    tolerances: Sequence[float],
    method: Method = "searched",
    search: Global = "auto",
    refinements: Sequence[Refinement] = REFINEMENTS,
    test: Any = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = silent,
) -> tuple[Complexity, ...]:
    """`complexity` at several tolerances from one pool of trials; matrices are decomposed once.

    Raises:
        InputError: as in `complexity`.
        ModelError: as in `complexity`.
        DataError: as in `complexity`.
    """
    check_options(tolerances, method, search, refinements)
    if workers < 1:
        raise InputError(message(expected="one worker or more", got=str(workers), do="give for instance workers=2"))
    held = None if test is None else _test_task(task, test)
    began = time.perf_counter()
    trials = Trials(read_checkpoint(task), progress, workers if method == "searched" else 1)
    middle = time.perf_counter()
    if method != "quantization":
        _ = trials.checkpoint.spectra
    decompositions = time.perf_counter() - middle
    searcher = Search(trials, method, search, tuple(refinements), seed)
    found = [_required(searcher, tolerance) for tolerance in tolerances]
    spent = Spent(time.perf_counter() - began, trials.loss_seconds, decompositions)
    before = None if held is None else float(item_losses(held, held.center).mean())
    results = []
    for tolerance, (trial, network, size) in zip(tolerances, found, strict=True):
        params = trials.checkpoint.params(network)
        results.append(
            Complexity(
                method=method,
                tolerance=float(tolerance),
                bytes=size,
                task=task.at(params),
                network=network,
                settings=dict(trial.settings),
                loss=trials.loss + trial.excess,
                excess_loss=trial.excess,
                excess_loss_se=trial.se,
                test_loss=None if held is None else float(item_losses(held, params).mean()),
                test_loss_before=before,
                trials=tuple(trials.seen),
                spent=spent,
            )
        )
    return tuple(results)


def check_options(
    tolerances: Sequence[float], method: str, search: str = "auto", refinements: Sequence[str] = ()
) -> None:
    """Refuses options that `complexity` does not know, before anything is loaded.

    Raises:
        InputError: as said.
    """
    wrong = [t for t in tolerances if not t > 0]
    if wrong or not tolerances:
        got = f"{wrong[0]:g}" if wrong else "none"
        raise InputError(message(expected="tolerances above 0, in nats", got=got, do="give for instance 0.1"))
    for name, values, known in (
        ("method", [method], get_args(Method)),
        ("search", [search], get_args(Global)),
        ("refinements", list(refinements), REFINEMENTS),
    ):
        for value in values:
            if value not in known:
                expected = f"{name} among {', '.join(known)}"
                raise InputError(message(expected=expected, got=repr(value), do="choose one"))


def _required(searcher: Search, tolerance: float) -> Found:
    found = searcher.smallest(tolerance)
    if found is None:
        seen = searcher.trials.seen
        closest = min((abs(t.excess) for t in seen), default=float("inf"))
        got = f"{tolerance:g}, where the closest of {len(seen)} is {closest:.2g} away"
        do = "allow more" if searcher.method == "searched" else "allow more, or use method='searched'"
        raise InputError(message(expected="a tolerance that a coarse network meets", got=got, do=do))
    return found


def _test_task(task: Task, test: Any) -> Task:
    try:
        empty = len(test[0] if isinstance(test, tuple) else test) == 0
    except TypeError:
        empty = False
    if empty:
        raise DataError(message(expected="test data with items", got="none", do="leave test out, or give some"))
    return task.on(test)
