"""The benchmark's tables by hand: order, quantiles with missing numbers, aims."""

import math

import numpy as np
import pytest

from bitsandnats.experiments.dln_benchmark import tables
from bitsandnats.experiments.dln_benchmark.markdown import markdown
from bitsandnats.experiments.dln_benchmark.plan import Arm, Plan, benchmark_plan


def row(net, truth, llc, sampler="calibrated", status="usable", seconds=10.0, samples=20_000):
    error = None if llc is None else llc / truth - 1
    verdict = {"status": status, "reasons": [] if status == "usable" else ["because"]}
    return {
        "label": f"1k-{net:03d}-n{samples}",
        "size": "1k",
        "samples": samples,
        "net": net,
        "sampler": sampler,
        "truth": truth,
        "llc": llc,
        "se": 0.5,
        "error": error,
        "relative_se": 0.5 / truth,
        "evaluations": 1000,
        "seconds": seconds,
        "verdict": verdict,
        "failed": None,
        "widths": [3, 4],
        "rank": 2,
        "parameters": 12,
        "settings": {"gamma": 10.0},
    }


def plan_of(*arms):
    return Plan(tuple(arms), 0)


def aims(arm):
    return {aim["name"]: aim["met"] for aim in arm["aims"]}


@pytest.mark.parametrize(
    ("estimates", "truths", "share", "pairs"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 1.0, 3),
        ([3.0, 2.0, 1.0], [10.0, 20.0, 30.0], 0.0, 3),
        ([1.0, 3.0, 2.0], [10.0, 20.0, 30.0], 2 / 3, 3),
        ([1.0, 2.0, 3.0], [10.0, 10.0, 30.0], 1.0, 2),  # pairs of equal λ say nothing
        ([1.0, math.nan, 3.0], [10.0, 20.0, 30.0], 1 / 3, 3),  # no number is no order
        ([2.0, 2.0], [10.0, 20.0], 0.0, 1),
        ([2.0, 1.0], [10.0, 10.0], None, 0),
    ],
)
def test_order_preservation(estimates, truths, share, pairs):
    found, count = tables.order_preservation(np.array(estimates), np.array(truths))
    assert found == pytest.approx(share) if share is not None else found is None
    assert count == pairs


def test_quantiles_interpolate_and_are_missing_where_they_would_be_infinite():
    assert tables.quantile(np.array([1.0, 2.0, 3.0, 4.0]), 0.5) == 2.5
    assert tables.quantile(np.array([4.0, 1.0, math.inf, 2.0]), 0.5) == 3.0
    assert tables.quantile(np.array([4.0, 1.0, math.inf, 2.0]), 0.9) is None
    assert tables.quantile(np.array([]), 0.5) is None


def test_an_arm_that_reaches_its_aims():
    networks = [row(i, 10.0 * (i + 1), 10.0 * (i + 1) * (1 + 0.01 * (-1) ** i)) for i in range(4)]
    (arm,) = tables.arm_rows(plan_of(Arm("1k", 20_000, "calibrated", 4)), networks)
    assert arm["median"] == pytest.approx(0.01)
    assert arm["mean"] == pytest.approx(0.0, abs=1e-12)
    assert arm["order"] == 1
    assert set(aims(arm).values()) == {True}
    assert tables.verdict([arm])["status"] == "aims met"


def test_misses_count_with_their_flags_and_slow_ones_against_the_clock():
    networks = [row(0, 10.0, 10.1), row(1, 20.0, 25.0, status="not usable"), row(2, 30.0, 40.0, seconds=70.0)]
    (arm,) = tables.arm_rows(plan_of(Arm("1k", 20_000, "calibrated", 3)), networks)
    assert (arm["missed"], arm["missed_flagged"], arm["flagged"]) == (2, 1, 1)
    met = aims(arm)
    assert met["order preservation"]
    assert not met["missed without a warning"]
    assert not met["longest time a network"]
    assert not met["median absolute error"]
    assert tables.verdict([arm])["status"] == "aims not met"


def test_a_network_without_a_number_is_infinitely_wrong():
    networks = [row(0, 10.0, None, status="not usable"), row(1, 20.0, 20.0)]
    (arm,) = tables.arm_rows(plan_of(Arm("1k", 20_000, "calibrated", 2)), networks)
    assert (arm["without_number"], arm["missed"], arm["missed_flagged"]) == (1, 1, 1)
    assert arm["median"] is None
    assert arm["order"] == 0
    assert aims(arm)["median absolute error"] is False
    assert aims(arm)["missed without a warning"] is True


def test_an_unfinished_arm_is_not_judged():
    (arm,) = tables.arm_rows(plan_of(Arm("1k", 20_000, "calibrated", 30)), [row(0, 10.0, 10.0)])
    assert set(aims(arm).values()) == {None}
    assert tables.verdict([arm])["status"] == "not judged"


def test_aims_are_those_of_the_calibrated_sampler_at_full_precision():
    other = tables.arm_rows(plan_of(Arm("1k", 20_000, "sgld", 1)), [row(0, 10.0, 10.0, sampler="sgld")])
    assert other[0]["aims"] == []
    small = benchmark_plan(small=True)
    assert tables.arm_rows(small, [row(0, 10.0, 10.0)])[0]["aims"] == []


def test_lines_are_the_aims_where_there_are_some():
    many = plan_of(Arm("1k", 1_000_000, "calibrated", 1))
    assert tables.arm_rows(many, [row(0, 10.0, 10.0, samples=1_000_000)])[0]["line"] == 0.08


def test_markdown_holds_every_arm_aim_and_network(whole_run):
    summary = whole_run.summary()
    text = markdown(summary)
    for arm in summary["arms"]:
        assert f"| {arm['sampler']} | {arm['size']} | {arm['samples']:,} |" in text
        for aim in arm["aims"]:
            assert f"| {arm['name']} | {aim['name']} |" in text
    for network in summary["networks"]:
        assert f"| {network['label']} | {network['sampler']} |" in text
    assert "\n```console\nbitsandnats reproduce dln-benchmark\n```\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)
    assert "None" not in text
    assert "nan" not in text
