"""Does a matrix of covariances reproduce? Halves of chains and of draws, effective draws, and a verdict."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.covariance import correlation, covariance, moments_of, variances
from bitsandnats.estimators.diagnostics import convergence
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE, Verdict

_PAIRS = 64


@dataclass(frozen=True)
class Lines:
    """Where the checks draw their lines.

    Attributes:
        reliable: split-half reliability above which a matrix is plainly usable.
        poor: below which it is not usable; and below which a row is said not to reproduce.
        rows: share of rows that need not reproduce.
        ess: effective draws of a covariance below which it is not usable.
        rhat: R̂ of the loss above which the chains disagree.
    """

    reliable: float = 0.9
    poor: float = 0.5
    rows: float = 0.1
    ess: float = 20.0
    rhat: float = 1.1


@dataclass(frozen=True)
class Reliability:
    """How far a matrix reproduces; 1 = exactly, 0 = not at all.

    Attributes:
        over_chains: of each row, between halves of the chains, stepped up to all of them; NaN for one chain.
        over_draws: of each row, between the first and the second half of the draws, likewise.
        overall: median row, the smaller of the two splits.
        ess: effective number of draws of a covariance, the median over a sketch of pairs; NaN where unknown.
        rhat: R̂ of the training loss.
        still: rows whose variance is 0.
        verdict: may the matrix be used?
    """

    over_chains: Float[ndarray, " row"]
    over_draws: Float[ndarray, " row"]
    overall: float
    ess: float
    rhat: float
    still: tuple[int, ...]
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.verdict}  (split-half reliability {self.overall:.2f}, ESS {self.ess:.0f}, R̂ {self.rhat:.2f})"

    def record(self) -> dict[str, float | None]:
        """The figures as plain values; null where not a number."""
        rows = np.fmin(self.over_chains, self.over_draws)
        values = {
            "reliability": self.overall,
            "reliability_over_chains": _median(self.over_chains),
            "reliability_over_draws": _median(self.over_draws),
            "rows_reproduced": float((rows >= Lines().poor).mean()) if len(rows) else math.nan,
            "ess": self.ess,
            "rhat": self.rhat,
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


Estimator = Callable[[Sequence[int] | None, Sequence[int] | None], ndarray]
"""(chains, blocks) -> matrix [row, column] from those alone; None = all."""


def reliability(
    tree: xr.DataTree,
    matrix: Estimator,
    *,
    row_variance: Float[ndarray, " row"],
    what: str = "rows",
    skip_diagonal: bool = False,
    lines: Lines = Lines(),
) -> Reliability:
    r"""Split-half reliability of each row, the covariance's effective draws, and a verdict.

    A row's reliability is the correlation r of its entries between two halves, stepped up to the whole by
    Spearman and Brown's 2r/(1+r).

    Args:
        tree: the run.
        matrix: the estimator, from parts of the run.
        row_variance: of each row's loss; rows where it is 0 are said to stand still.
        what: the rows, in words.
        skip_diagonal: leave the diagonal out, which reproduces of itself.
        lines: where the lines are drawn.
    """
    kept = moments_of(tree)
    chains, blocks = kept.sizes["chain"], kept.sizes["block"]
    rows = len(row_variance)
    by_chains, by_draws = np.full(rows, np.nan), np.full(rows, np.nan)
    if chains > 1:
        even, odd = list(range(0, chains, 2)), list(range(1, chains, 2))
        by_chains = _rows(matrix(even, None), matrix(odd, None), skip_diagonal)
    if blocks > 1:
        first, last = list(range(blocks // 2)), list(range(blocks - blocks // 2, blocks))
        by_draws = _rows(matrix(None, first), matrix(None, last), skip_diagonal)
    known = [value for value in (_median(by_chains), _median(by_draws)) if math.isfinite(value)]
    overall = min(known) if known else math.nan
    loss = tree["draws"].dataset["loss"].values
    rhat = convergence(loss).rhat if np.isfinite(loss).all() else math.nan
    ess = effective_draws(tree)
    still = tuple(int(i) for i in np.flatnonzero(row_variance <= 0))
    worst = np.fmin(by_chains, by_draws)
    verdict = _judge(overall, worst, {"ess": ess, "rhat": rhat}, still, what, lines)
    return Reliability(by_chains, by_draws, overall, ess, rhat, still, verdict)


def of_covariance(tree: xr.DataTree, rows: str, columns: str) -> Estimator:
    """The covariance of two subsets as an estimator from parts of a run."""
    return lambda chains, blocks: covariance(tree, rows, columns, chains=chains, blocks=blocks)


def of_correlation(tree: xr.DataTree, rows: str, columns: str) -> Estimator:
    """The correlation of two subsets as an estimator from parts of a run."""

    def matrix(chains: Sequence[int] | None, blocks: Sequence[int] | None) -> ndarray:
        pick = slice(None) if chains is None else list(chains)
        own, other = (variances(tree, name, blocks=blocks)[pick].mean(0) for name in (rows, columns))
        return correlation(covariance(tree, rows, columns, chains=chains, blocks=blocks), own, other)

    return matrix


def effective_draws(tree: xr.DataTree) -> float:
    """Effective number of draws behind a covariance: of (a − ā)(b − b̄), the median over pairs whose draws are kept."""
    if "sketch" not in tree.children:
        return math.nan
    values = tree["sketch"].dataset["losses"].values.astype(np.float64)
    if values.shape[1] < 8:
        return math.nan
    from arviz_stats.base import array_stats

    away = values - values.mean(1, keepdims=True)
    half = away.shape[-1] // 2
    found = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # constant products are left out below
        for k in range(min(_PAIRS, half)):
            product = away[..., k] * away[..., half + (7 * k) % half]
            if np.ptp(product) > 0:
                found.append(float(np.asarray(array_stats.ess(product, chain_axis=0, draw_axis=1, method="mean"))))
    finite = [min(value, values[..., 0].size) for value in found if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan


def bootstrap(
    statistic: Callable[[Sequence[int]], float], chains: int, *, draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of a statistic of chains, by drawing the chains again with replacement; NaN for one chain.

    Args:
        statistic: of a choice of chains.
        chains: how many there are.
        draws: choices made.
        seed: of the choices.
    """
    if chains < 2:
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    values = [statistic(random.integers(chains, size=chains).tolist()) for _ in range(draws)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _rows(a: ndarray, b: ndarray, skip_diagonal: bool) -> ndarray:
    if skip_diagonal:
        keep = ~np.eye(len(a), dtype=bool)
        a, b = (m[keep].reshape(len(m), -1) for m in (a, b))
    x, y = (m - m.mean(1, keepdims=True) for m in (a, b))
    power = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    r = np.divide((x * y).sum(1), power, out=np.full(len(a), np.nan), where=power > 0)
    return np.where(r > 0, 2 * r / (1 + r), r)


def _median(values: ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan


def _judge(
    overall: float, rows: ndarray, at: dict[str, float], still: tuple[int, ...], what: str, lines: Lines
) -> Verdict:
    wrong, cautions = [], []
    if math.isnan(overall):
        wrong.append("nothing can be said of its reproducibility: take two chains or more draws")
    elif overall < lines.poor:
        wrong.append(f"it does not reproduce (split-half reliability {overall:.2f}): draw longer or take more chains")
    elif overall < lines.reliable:
        cautions.append(f"split-half reliability is {overall:.2f}, below {lines.reliable:g}: draw longer")
    if at["ess"] < lines.ess:
        wrong.append(f"only {at['ess']:.0f} effective draws stand behind a covariance: draw longer")
    if at["rhat"] > lines.rhat:
        cautions.append(f"the chains disagree (R̂ {at['rhat']:.2f}): draw longer or burn in more")
    poor = int((rows < lines.poor).sum())
    if not wrong and poor > lines.rows * len(rows):
        cautions.append(f"{poor} of {len(rows)} {what} do not reproduce (reliability below {lines.poor:g}): see each")
    if still:
        cautions.append(f"{len(still)} of {len(rows)} {what} stand still (variance 0), their correlations are set to 0")
    if wrong:
        return Verdict(NOT_USABLE, (*wrong, *cautions))
    return Verdict(CAUTION, tuple(cautions)) if cautions else Verdict(USABLE)
