"""Fits of one series: what the critical level follows, beside its controls, with bootstrap intervals."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from bitsandnats.estimators.fits import linear_fit

PREDICTORS = ("llc", "noise_only", "loss", "log_step")
"""λ̂ and its controls: pure weight noise of the chain's variance, held-out loss, log₂ step."""

_RESAMPLES = 2000
_FEWEST = 4  # checkpoints of a fit
_ROUNDING = 1e-12


class SeriesFit(NamedTuple):
    """A line through a series, with 95 % percentile intervals of a bootstrap over its checkpoints.

    Checkpoints of one training run are no independent draws: the intervals say how much single checkpoints decide,
    not how another training run would come out.

    Attributes:
        r2, r2_interval: share of variance explained.
        slope, intercept: of the line; R² alone does not show the slope's sign.
        difference_r2: R² between first differences along the series.
        partial, partial_interval: correlation given log₂ step; None for log₂ step itself.
        partial_all: correlation given log₂ step, loss and the noise-only excess; of λ̂ alone.
        gain, gain_interval: R² of λ̂ less this R², over the same resamples; None for λ̂ itself.
        points: checkpoints.
    """

    r2: float
    r2_interval: tuple[float, float] | None
    slope: float
    intercept: float
    difference_r2: float | None
    partial: float | None
    partial_interval: tuple[float, float] | None
    partial_all: float | None
    gain: float | None
    gain_interval: tuple[float, float] | None
    points: int


def series_fits(
    predictors: dict[str, Float[ndarray, " checkpoint"]], response: Float[ndarray, " checkpoint"], seed: int
) -> dict[str, SeriesFit]:
    """The fit of each predictor, all over the same checkpoints and the same resamples of them.

    Empty for fewer than four checkpoints or a constant response; without a predictor that is constant.
    Checked in `tests/experiments/test_compressibility_fits.py`.

    Args:
        predictors: by name, those of `PREDICTORS`, in the order of training.
        response: the critical level, or its logarithm.
        seed: of the resamples.
    """
    count = len(response)
    if count < _FEWEST or np.ptp(response) == 0:
        return {}
    steps = predictors["log_step"]
    chosen = _resamples(count, seed)
    drawn = {name: _standard(x[chosen]) for name, x in predictors.items()}
    answer = _standard(response[chosen])
    spread = {name: _correlations(x, answer) ** 2 for name, x in drawn.items()}
    found: dict[str, SeriesFit] = {}
    whole = linear_fit(predictors["llc"], response)
    controls = [predictors[name] for name in PREDICTORS if name != "llc"]
    for name, x in predictors.items():
        fit = linear_fit(x, response, None if name == "log_step" else steps)
        if fit is None:
            continue
        other = name != "llc" and whole is not None
        found[name] = SeriesFit(
            r2=fit.r2,
            r2_interval=_interval(spread[name]),
            slope=fit.slope,
            intercept=fit.intercept,
            difference_r2=fit.difference_r2,
            partial=fit.partial,
            partial_interval=None
            if fit.partial is None
            else _interval(_partials(drawn[name], answer, drawn["log_step"])),
            partial_all=partial_given(x, response, controls) if name == "llc" else None,
            gain=whole.r2 - fit.r2 if other and whole is not None else None,
            gain_interval=_interval(spread["llc"] - spread[name]) if other else None,
            points=count,
        )
    return found


def partial_given(
    x: Float[ndarray, " checkpoint"], y: Float[ndarray, " checkpoint"], given: list[Float[ndarray, " checkpoint"]]
) -> float | None:
    """Correlation of what least squares in several variables leaves of `x` and of `y`.

    None where fewer than two degrees of freedom are left, or nothing is left of one of them.
    """
    count = len(x)
    if count - len(given) - 2 < 2:
        return None
    design = np.column_stack([np.ones(count), *given])
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    if any((r**2).sum() <= _ROUNDING * ((v - v.mean()) ** 2).sum() for r, v in zip(left, (x, y), strict=True)):
        return None
    return float(np.corrcoef(left[0], left[1])[0, 1])


def _resamples(count: int, seed: int) -> Int64[ndarray, "resample checkpoint"]:
    """Checkpoints drawn with replacement, at least three different ones each time."""
    chosen = np.random.default_rng([seed, count]).integers(0, count, (_RESAMPLES, count))
    different = 1 + (np.diff(np.sort(chosen, axis=1), axis=1) > 0).sum(1)
    return chosen[different >= 3]


def _standard(values: Float[ndarray, "resample checkpoint"]) -> Float[ndarray, "resample checkpoint"]:
    """Row by row less the mean and of length 1; NaN where a row is constant."""
    centred = values - values.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred / np.sqrt((centred**2).sum(1, keepdims=True))


def _correlations(
    x: Float[ndarray, "resample checkpoint"], y: Float[ndarray, "resample checkpoint"]
) -> Float[ndarray, " resample"]:
    """Pearson's correlation of standardised rows."""
    return np.einsum("ij,ij->i", x, y)


def _partials(
    x: Float[ndarray, "resample checkpoint"],
    y: Float[ndarray, "resample checkpoint"],
    given: Float[ndarray, "resample checkpoint"],
) -> Float[ndarray, " resample"]:
    """Partial correlations of standardised rows given one variable."""
    xy, xz, yz = _correlations(x, y), _correlations(x, given), _correlations(y, given)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    return np.where(np.isfinite(found), np.clip(found, -1.0, 1.0), np.nan)


def _interval(values: Float[ndarray, " resample"]) -> tuple[float, float] | None:
    """The middle 95 %; None where half of the resamples have no value."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) // 2:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
