"""What the benchmark measures: the stated plan by default, options, and what is refused."""

import pytest

from bitsandnats import samplers
from bitsandnats.errors import InputError
from bitsandnats.experiments import registry
from bitsandnats.experiments.dln_benchmark.aims import CALIBRATED, aim_of
from bitsandnats.experiments.dln_benchmark.plan import OTHERS, Arm, Plan, benchmark_plan, measured_plan, network_seed
from bitsandnats.toys.size_classes import architecture


def test_the_default_is_the_stated_plan():
    plan = benchmark_plan()
    assert plan.arms == (
        Arm("1k", 20_000, CALIBRATED, 30),
        Arm("10k", 20_000, CALIBRATED, 30),
        Arm("100k", 20_000, CALIBRATED, 6),
        Arm("1k", 1_000_000, CALIBRATED, 10),
        *(Arm("1k", 20_000, name, 8) for name in OTHERS),
    )
    assert all(aim_of(arm.size, arm.samples, arm.sampler) for arm in plan.arms[:4])
    assert plan.target_se is None


def test_the_others_are_all_samplers_but_the_calibrated_route_s_own():
    assert set(OTHERS) == set(samplers.registry.entries()) - {"hmc"}


def test_small_is_three_networks_and_two_others():
    assert [(arm.size, arm.nets) for arm in benchmark_plan(small=True).arms] == [("1k", 3)] * 3


def test_larger_classes_are_measured_by_the_calibrated_sampler_alone():
    assert benchmark_plan(classes=["1M"], nets=2).arms == (Arm("1M", 20_000, CALIBRATED, 2),)
    assert benchmark_plan(classes=["100M"]).arms == (Arm("100M", 20_000, CALIBRATED, 3),)


def test_samplers_are_compared_where_they_are_cheapest():
    plan = benchmark_plan(classes=["10k", "1k"], samplers=["sgld"], samples=[50_000, 20_000], nets=4)
    assert plan.arms[-1] == Arm("1k", 20_000, "sgld", 4)
    assert {(arm.size, arm.samples) for arm in plan.arms} == {(s, n) for s in ("1k", "10k") for n in (20_000, 50_000)}
    assert all(group[0].sampler == CALIBRATED for group in plan.groups().values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ["2k"]}, "expected size classes among 1k, 10k, .*, got '2k'; choose one"),
        ({"classes": []}, "expected size classes among .*, got none"),
        ({"nets": 0}, "expected at least one network a class, got 0"),
        ({"samplers": ["slgd"]}, "got 'slgd'; did you mean 'sgld'"),
        ({"samplers": ["hmc"]}, "expected a sampler with a stated step-size rule: sgld, .*, got 'hmc'"),
        ({"samples": [10]}, "expected at least 500 samples, .*, got 10"),
        ({"samples": []}, "expected at least 500 samples, .*, got none"),
        ({"small": True, "nets": 5}, "expected small without nets, got both"),
    ],
)
def test_refused(options, said):
    with pytest.raises(InputError, match=said):
        benchmark_plan(**options)


def test_networks_of_one_seed_do_not_depend_on_how_many_there_are_and_differ_from_another_s():
    assert network_seed(0, 3) == 3
    assert architecture("1k", network_seed(0, 3)) != architecture("1k", network_seed(1, 3))


def test_costs_are_predicted_for_every_arm(tiny_class):
    plan = Plan((Arm(tiny_class, 2000, CALIBRATED, 3), Arm(tiny_class, 2000, "sgld", 1)), 0)
    rows = measured_plan(plan)
    assert [row.arm for row in rows] == list(plan.arms)
    assert rows[0].seconds == pytest.approx(3 * rows[1].seconds)
    assert 15 <= rows[0].parameters[0] <= rows[0].parameters[1] <= 60
    assert rows[0].gigabytes < 0.001
    assert rows[0].as_record()["arm"]["sampler"] == CALIBRATED


def test_experiments_are_listed():
    assert registry.entry("dln-benchmark").load() is benchmark_plan
    assert registry.options("dln-benchmark") == ""
