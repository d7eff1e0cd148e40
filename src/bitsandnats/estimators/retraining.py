"""How well attributions predict what retraining does: rank correlations over subsets, with bootstrap intervals."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


class Interval(NamedTuple):
    """A mean over queries with its 95 % bootstrap interval over them."""

    value: float
    low: float
    high: float


def rank_agreement(
    predicted: Float[ndarray, "subset query"], measured: Float[ndarray, "subset query"]
) -> Float[ndarray, " query"]:
    """Spearman's correlation over subsets for each query; 0 where one side does not vary.

    Its mean over queries is the linear datamodelling score (Park et al. 2023). Checked in
    `tests/experiments/test_influence_retraining.py`.

    Args:
        predicted: of each query's loss after training on each subset, in any unit.
        measured: the losses.
    """
    from scipy.stats import rankdata  # a second to import

    a, b = (ranks - ranks.mean(0) for ranks in (rankdata(predicted, axis=0), rankdata(measured, axis=0)))
    scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.divide((a * b).sum(0), scale, out=np.zeros(a.shape[1]), where=scale > 0)


def over_queries(
    statistic: Callable[[Int[ndarray, " query"]], float], queries: int, *, draws: int = 1000, seed: int = 0
) -> Interval:
    """A statistic of all queries, with the interval that drawing the queries again gives.

    Args:
        statistic: of a choice of queries, by index.
        queries: how many there are.
        draws: choices made.
        seed: of the choices.
    """
    random = np.random.default_rng(seed)
    values = [statistic(random.integers(queries, size=queries)) for _ in range(draws)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(np.arange(queries)), float(low), float(high))


def repeat_reliability(measured: Float[ndarray, "repeat subset query"]) -> float | None:
    """How far the measured ranking of subsets reproduces: halves of the repeats, stepped up to all; None for one."""
    count = len(measured)
    if count < 2:
        return None
    halves = measured[: count // 2].mean(0), measured[count - count // 2 :].mean(0)
    r = float(rank_agreement(*halves).mean())
    return 2 * r / (1 + r) if r > 0 else r
