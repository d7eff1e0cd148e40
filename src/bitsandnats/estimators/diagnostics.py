"""Convergence of a trace (chain, draw), through arviz-stats."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class Convergence:
    """How well a trace's mean is known.

    Attributes:
        mean: over all chains and draws, in the trace's units.
        se: standard error of the mean: the larger of the Monte-Carlo error within chains (autocorrelation included)
            and the scatter of the chains' means.
        rhat: rank-normalised split R̂; 1 = chains agree; NaN for fewer than 4 draws.
        ess: effective number of independent draws in all.
        drift: change of the trace's mean from its start to its end, by a straight line, in the trace's units.
        drift_se: standard error of `drift`, autocorrelation included, from what the line leaves: a trend is not its own
            noise.
    """

    mean: float
    se: float
    rhat: float
    ess: float
    drift: float
    drift_se: float


def convergence(trace: Float[ndarray, "chain draw"]) -> Convergence:
    """Mean of a trace with its error, R̂, effective sample size and drift.

    Args:
        trace: one number a draw, finite.
    """
    chains, draws = trace.shape
    mean = float(trace.mean())
    if draws < 4 or np.ptp(trace) == 0:
        return Convergence(mean, float("nan"), float("nan"), float("nan"), 0.0, float("nan"))
    from arviz_stats.base import array_stats

    # one chain is judged as its two halves
    halves = trace if chains > 1 else np.stack([trace[0, : draws // 2], trace[0, draws // 2 :][: draws // 2]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # short or constant traces are judged here, not by warnings
        time = np.linspace(-0.5, 0.5, draws)
        drift = float((trace.mean(0) * time).sum() / (time**2).sum())
        rest = trace - drift * time
        ess, ess_rest = (
            float(np.asarray(array_stats.ess(x, chain_axis=0, draw_axis=1, method="mean")).item())
            for x in (trace, rest)
        )
        rhat = float(np.asarray(array_stats.rhat(halves, chain_axis=0, draw_axis=1)).item())
    ess, ess_rest = (min(max(e, 1.0), float(trace.size)) if math.isfinite(e) else 1.0 for e in (ess, ess_rest))
    sd = float(trace.std(ddof=1))
    within = sd / math.sqrt(ess)
    between = float(trace.mean(1).std(ddof=1) / math.sqrt(chains)) if chains > 1 else 0.0
    drift_se = float(rest.std(ddof=1)) * math.sqrt(12 / ess_rest)
    return Convergence(mean, max(within, between), rhat, ess, drift, drift_se)


def regression_coefficient(value: Float[ndarray, "chain draw"], control: Float[ndarray, "chain draw"]) -> float:
    """Least-squares slope of `value` on `control`, chain means removed; 0 where the control does not vary."""
    x = control - control.mean(1, keepdims=True)
    y = value - value.mean(1, keepdims=True)
    power = float((x * x).sum())
    return float((x * y).sum()) / power if power > 0 else 0.0
