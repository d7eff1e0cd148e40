import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bitsandnats.estimators.diagnostics import convergence, regression_coefficient
from bitsandnats.estimators.fits import findings, linear_fit, partial_correlation
from bitsandnats.estimators.llc import as_record, estimate, excess_trace
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE, judge


def autoregression(rho, chains=4, draws=4000, seed=0):
    random = np.random.default_rng(seed)
    x = np.empty((chains, draws))
    x[:, 0] = random.standard_normal(chains) / math.sqrt(1 - rho**2)
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + random.standard_normal(chains)
    return x


# --- convergence


def test_independent_draws():
    trace = np.random.default_rng(0).normal(3.0, 2.0, (4, 5000))
    known = convergence(trace)
    assert known.mean == pytest.approx(3.0, abs=4 * 2 / np.sqrt(20000))
    assert known.se == pytest.approx(2 / np.sqrt(20000), rel=0.5)
    assert known.rhat == pytest.approx(1.0, abs=0.01)
    assert known.ess == pytest.approx(20000, rel=0.1)
    assert abs(known.drift) < 4 * known.drift_se


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.97])
def test_effective_draws_of_an_autoregression(rho):
    """ESS = N (1 − ρ)/(1 + ρ); of its square N (1 − ρ²)/(1 + ρ²)."""
    x = autoregression(rho, draws=20000)
    assert convergence(x).ess == pytest.approx(80000 * (1 - rho) / (1 + rho), rel=0.2)
    assert convergence(x**2).ess == pytest.approx(80000 * (1 - rho**2) / (1 + rho**2), rel=0.2)


def test_error_bars_are_calibrated():
    """Over many runs the mean lies within its error bar as often as it should."""
    z = []
    for seed in range(150):
        known = convergence(autoregression(0.9, chains=4, draws=400, seed=seed))
        z.append(known.mean / known.se)
    assert 0.7 < np.std(z) < 1.15
    assert np.max(np.abs(z)) < 4


def test_chains_that_disagree():
    trace = np.random.default_rng(0).normal(0, 1, (4, 500)) + 2.0 * np.arange(4)[:, None]
    known = convergence(trace)
    assert known.rhat > 1.5
    assert known.se > 0.5 * np.std([0, 2, 4, 6], ddof=1) / 2


def test_a_single_chain_that_moves():
    trace = np.linspace(0, 5, 400)[None] + np.random.default_rng(0).normal(0, 0.1, (1, 400))
    known = convergence(trace)
    assert known.rhat > 1.1
    assert known.drift == pytest.approx(5, rel=0.05)


def test_drift_by_hand():
    t = np.arange(100.0)
    trace = np.vstack([0.02 * t, 0.04 * t]) + np.random.default_rng(0).normal(0, 0.3, (2, 100))
    slope = np.polyfit(t, trace.mean(0), 1)[0]
    assert convergence(trace).drift == pytest.approx(slope * 99)


def test_a_trend_is_seen_where_it_is_and_only_there():
    random = np.random.default_rng(0)
    known = convergence(np.linspace(0, 5, 400) + random.normal(0, 0.5, (4, 400)))
    assert known.drift / known.drift_se > 20
    z = [
        known.drift / known.drift_se
        for seed in range(100)
        for known in [convergence(autoregression(0.97, 4, 400, seed))]
    ]
    assert 0.8 < np.std(z) < 1.15


@pytest.mark.parametrize("trace", [np.zeros((2, 50)), np.ones((1, 3)), np.random.default_rng(0).normal(size=(2, 3))])
def test_too_little_to_judge(trace):
    known = convergence(trace)
    assert known.mean == pytest.approx(trace.mean())
    assert math.isnan(known.rhat)
    assert math.isnan(known.se)


def test_regression_coefficient():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 200)) + np.arange(3)[:, None]
    y = 0.7 * x + 5 * np.arange(3)[:, None]  # chain means are not part of the slope
    assert regression_coefficient(y, x) == pytest.approx(0.7)
    assert regression_coefficient(y, np.zeros_like(x)) == 0.0


# --- the estimate


def made(loss, baseline=None, *, nbeta=100.0, center=1.0, paired=True, diverged=(), **attrs):
    chains, draws = loss.shape
    data = {
        "loss": (("chain", "draw"), loss),
        "baseline": (("chain", "draw"), np.full_like(loss, center) if baseline is None else baseline),
        "diverged_at": ("chain", np.array([5 if c in diverged else -1 for c in range(chains)])),
    }
    zeros = ("distance_squared", "likelihood_virial", "virial", "gradient_norm_squared", "slope_part")
    data |= {name: (("chain", "draw"), np.zeros_like(loss)) for name in zeros}
    tree = xr.DataTree.from_dict({"draws": xr.Dataset(data)})
    tree.attrs.update(
        nbeta=nbeta, center_loss=center, paired=paired, dimension=1000, gamma=1.0, step_size=1e-3, burn_in=0,
        draws=draws, **attrs,
    )  # fmt: skip
    return tree


def draws(mean=1.05, sd=0.01, shape=(4, 500), seed=0):
    return np.random.default_rng(seed).normal(mean, sd, shape)


def test_llc_by_hand():
    loss = draws()
    found = estimate(made(loss))
    assert found.llc == pytest.approx(100 * (loss.mean() - 1.0))
    assert found.figures["excess"] == pytest.approx(loss.mean() - 1.0)
    assert found.interval == pytest.approx((found.llc - 1.959964 * found.se, found.llc + 1.959964 * found.se))
    assert found.verdict.status == USABLE
    assert str(found).startswith("λ̂ = ")
    assert "nats  usable" in str(found)
    assert as_record(found)["verdict"] == {"status": USABLE, "reasons": []}


def test_llc_of_the_loss_alone():
    tree = made(draws(), statistics="none", top_curvature=1.0)
    kept = ["loss", "baseline", "diverged_at"]
    tree["draws"] = xr.DataTree(tree["draws"].dataset[kept])
    found, full = estimate(tree), estimate(made(draws()))
    assert (found.llc, found.se) == (full.llc, full.se)
    assert not {"distance", "likelihood_virial", "slope_part", "step_share"} & set(found.figures)
    assert found.figures["discretisation_share"] > 0  # needs no statistics
    assert "not judged" in str(found.verdict)
    assert as_record(found)["verdict"]["status"] == CAUTION


def test_pairing_removes_the_luck_of_the_batch():
    random = np.random.default_rng(0)
    luck = random.normal(0, 0.2, (4, 500))
    own = random.normal(0.05, 0.01, (4, 500))
    tree = made(1.0 + luck + own, 1.0 + luck)
    assert estimate(tree).llc == pytest.approx(100 * (1 + luck + own - 1 - luck).mean(), abs=1.0)
    assert excess_trace(tree).std() < 0.02
    unpaired = made(1.0 + luck + own, np.full((4, 500), np.nan), paired=False)
    assert excess_trace(unpaired).std() > 0.15
    assert np.array_equal(excess_trace(unpaired), luck + own) or np.allclose(excess_trace(unpaired), luck + own)


def test_an_unrelated_baseline_is_left_alone():
    random = np.random.default_rng(0)
    tree = made(1.05 + random.normal(0, 0.01, (4, 2000)), 1.0 + random.normal(0, 1.0, (4, 2000)))
    assert excess_trace(tree).std() < 0.011


@pytest.mark.parametrize("shape", [(4, 1), (1, 2), (2, 3)])
def test_too_few_draws_are_never_usable(shape):
    """Without a known error bar nothing says that it was sampled right."""
    found = estimate(made(draws(shape=shape)))
    assert found.verdict.status == NOT_USABLE
    assert str(found)


def test_chance_share():
    found = estimate(made(draws(mean=1.5), chance_loss=3.0))
    assert found.figures["chance_share"] == pytest.approx(0.25, abs=0.01)
    assert found.verdict.status == NOT_USABLE


def test_noise_share():
    tree = made(draws())
    tree["noise_only"] = xr.DataTree(xr.Dataset({"excess": ("draw", np.array([0.049, 0.051, 0.05]))}))
    found = estimate(tree)
    assert found.figures["noise_only"] == pytest.approx(5.0)
    assert found.figures["noise_only_se"] == pytest.approx(100 * 0.001 / np.sqrt(3))
    assert found.figures["noise_share"] == pytest.approx(found.llc / 5.0)
    assert found.verdict.status == CAUTION


def test_dead_chains():
    loss = draws()
    loss[[1, 3], 5:] = np.nan
    found = estimate(made(loss, diverged=(1, 3)))
    assert math.isnan(found.llc)
    assert math.isnan(found.se)
    assert found.verdict.status == NOT_USABLE
    assert "chain 1, 3 diverged" in str(found.verdict)


# --- verdicts

GOOD = {
    "llc": 20.0, "se": 0.5, "dimension": 1000.0, "rhat": 1.01, "ess": 400.0, "drift": 0.1, "drift_se": 0.5,
    "chance_share": 0.02, "discretisation_share": 0.05, "noise_share": 0.2, "slope_part": 0.1, "slope_part_se": 0.1,
}  # fmt: skip


def test_good():
    verdict = judge(GOOD)
    assert (verdict.status, verdict.reasons, str(verdict)) == (USABLE, (), "usable")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"llc": 1001.0, "se": 1.0}, NOT_USABLE, "exceeds the number of parameters"),
        ({"llc": float("inf")}, NOT_USABLE, "exceeds the number of parameters"),
        ({"discretisation_share": 0.11}, NOT_USABLE, "inflates the variance by up to 11%: reduce the step size"),
        ({"discretisation_share": float("inf")}, NOT_USABLE, "the step is unstable: reduce the step size"),
        ({"chance_share": 3.4e22}, NOT_USABLE, r"left the basin \(3e\+24% of the way"),
        ({"chance_share": 0.12}, NOT_USABLE, r"left the basin \(12% of the way .* raise gamma"),
        ({"rhat": 1.11}, NOT_USABLE, r"chains disagree \(R̂ 1.11\): draw longer or burn in more"),
        ({"ess": 39.0}, NOT_USABLE, "only 39 effective draws: draw longer"),
        ({"drift": 4.0, "drift_se": 1.0}, NOT_USABLE, r"drifts by \+20% along the trace: burn in more or raise gamma"),
        ({"drift": -4.0, "drift_se": 1.0}, NOT_USABLE, "drifts by -20%"),
        ({"se": 6.0}, NOT_USABLE, "standard error is 30% of λ̂: draw longer or use larger batches"),
        ({"se": 1.5}, CAUTION, "three standard errors reach 22% of λ̂: draw longer$"),
        ({"se": 1.0, "step_share": 0.08}, CAUTION, "errors and the bias of the step reach 23% of λ̂: draw longer or re"),
        ({"nbeta_slope": 0, "gamma_slope": -0.1, "gamma_slope_se": 0.11}, CAUTION, "pull is not known: -10% ± 11%"),
        ({"preconditioner_adapts": 1.0}, CAUTION, "the preconditioner adapts while it draws"),
        ({"gamma": 0.0}, CAUTION, r"nothing pulls the draws back \(γ = 0\)"),
        ({"llc": -20.0}, CAUTION, "λ̂ is negative, which no minimum allows"),
        ({"noise_share": 0.6}, CAUTION, "60% of what weight noise alone gives .* comparable only at equal nβ, γ, unit"),
        ({"slope_part": -6.0}, CAUTION, "w\\* is not a minimum of the sampled loss: its slope puts -6 nats into λ̂"),
    ],
)  # fmt: skip
def test_each_reason(change, status, said):
    import re

    verdict = judge({**GOOD, **change})
    assert verdict.status == status
    assert any(re.search(said, reason) for reason in verdict.reasons), verdict.reasons
    assert str(verdict).startswith(status + ": ")
    if status == NOT_USABLE and change != {"llc": float("inf")}:
        assert len(verdict.reasons) == 1


def test_just_within_the_lines():
    edge = {
        "rhat": 1.1, "ess": 40.0, "chance_share": 0.1, "discretisation_share": 0.1, "noise_share": 0.5, "se": 4 / 3,
        "drift": 4.0, "drift_se": 1.5, "slope_part": 5.0,
    }  # fmt: skip
    assert judge({**GOOD, **edge}).status == USABLE


def test_what_was_not_kept_is_not_judged_and_said():
    verdict = judge(GOOD, step_kept=False)
    assert verdict.status == CAUTION
    assert len(verdict.reasons) == 1
    assert "not judged: the step's statistics were not kept" in verdict.reasons[0]
    assert judge({**GOOD, "rhat": 1.5}, step_kept=False).status == NOT_USABLE


def test_diverged_speaks_first():
    verdict = judge({}, diverged=(2,))
    assert verdict.status == NOT_USABLE
    assert verdict.reasons == ("chain 2 diverged and no average is given: reduce the step size",)


def test_sampling_comes_before_reading():
    verdict = judge({**GOOD, "rhat": 1.5, "noise_share": 0.9})
    assert verdict.status == NOT_USABLE
    assert len(verdict.reasons) == 2
    assert "disagree" in verdict.reasons[0]


# --- fits


@pytest.fixture
def series():
    random = np.random.default_rng(0)
    step = np.linspace(1, 8, 8)
    x = 3 * step + random.normal(0, 2, 8)
    y = 0.5 * x + 0.3 * step + random.normal(0, 1, 8)
    return x, y, step


def test_line_against_scipy_and_numpy(series):
    x, y, step = series
    fit = linear_fit(x, y, step)
    slope, intercept = np.polyfit(x, y, 1)
    residual = y - slope * x - intercept
    assert fit.slope == pytest.approx(slope)
    assert fit.intercept == pytest.approx(intercept)
    assert fit.r2 == pytest.approx(1 - residual.var() / y.var())
    half = stats.t.ppf(0.975, 6) * np.sqrt((residual**2).sum() / 6 / ((x - x.mean()) ** 2).sum())
    assert fit.slope_interval == pytest.approx((slope - half, slope + half))
    assert fit.difference_r2 == pytest.approx(np.corrcoef(np.diff(x), np.diff(y))[0, 1] ** 2)
    assert fit.points == 8


def test_partial_correlation_is_the_textbook_formula(series):
    x, y, z = series
    r = np.corrcoef([x, y, z])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert partial_correlation(x, y, z) == pytest.approx(expected)
    assert linear_fit(x, y, z).partial == pytest.approx(expected)
    assert linear_fit(x, y).partial is None


def test_where_no_fit_is_possible():
    assert linear_fit(np.array([1.0, 2]), np.array([1.0, 2])) is None
    assert linear_fit(np.ones(5), np.arange(5.0)) is None
    assert linear_fit(np.arange(5.0), np.ones(5)) is None
    three = linear_fit(np.array([1.0, 2, 4]), np.array([1.0, 3, 4]), np.array([1.0, 2, 3]))
    assert three.points == 3
    assert three.difference_r2 is None
    assert three.partial is None
    assert partial_correlation(np.arange(5.0), np.arange(5.0) ** 2, np.ones(5)) is None


def test_a_variable_that_the_third_explains_wholly():
    """What is left after log step is rounding: no correlation is claimed of it."""
    z = np.log2([16.0, 32, 64, 128, 256])
    y = np.array([4.1, 4.4, 5.5, 6.1, 8.0])
    assert partial_correlation(2.5 * z + 0.1, y, z) in (None, pytest.approx(0, abs=1e-3))


def rows(**r2):
    return [
        {"predictor": p, "response": "level", "tolerance": 0.5, "r2": v, "partial": 0.42 if p == "llc" else None,
         "points": 7}
        for p, v in r2.items()
    ]  # fmt: skip


def test_findings_when_llc_is_best():
    said = findings(rows(llc=0.95, loss=0.7, log_step=0.6, noise_only=0.8), 0.5)
    assert "0.95" in said[0]
    assert "7 checkpoints" in said[0]
    assert "tolerance 0.5" in said[0]
    assert said[1] == "λ̂ follows it better than loss, log step and the noise-only excess."
    assert said[2] == "Partial correlation with it given log step: λ̂ +0.42."


def test_findings_when_another_is_best():
    said = findings(rows(llc=0.95, loss=0.7, log_step=0.6, noise_only=0.97), 0.5)
    assert said[1].startswith("The noise-only excess")
    assert "λ̂ is not what explains compressibility here" in said[1]


def test_findings_when_they_cannot_be_told_apart():
    said = findings(rows(llc=0.95, loss=0.92, log_step=0.6, noise_only=0.91), 0.5)
    assert "within 0.05" in said[1]
    assert "cannot tell them apart" in said[1]
    assert "the held-out loss" in said[1]
    assert "noise-only" in said[1]
    assert "log step" not in said[1]


@pytest.mark.parametrize(
    "table", [[], rows(loss=0.9), rows(llc=0.9), [{**r, "tolerance": 0.1} for r in rows(llc=1.0, loss=0.5)]]
)
def test_findings_without_a_fit(table):
    (said,) = findings(table, 0.5)
    assert said.startswith("Too few checkpoints")
