"""What the compressibility study trains and measures, what it will cost, and what is refused."""

import pytest

pytest.importorskip("transformers")

from bitsandnats.errors import DataError, InputError
from bitsandnats.experiments.compressibility import compressibility_plan, measured_plan
from bitsandnats.experiments.compressibility.plan import LATE, SCHEMES, Suite
from bitsandnats.hf import TrainOptions, train_suite
from bitsandnats.settings import to_toml


def test_the_default_is_the_stated_plan():
    plan = compressibility_plan()
    assert len(plan.suites) == 3
    assert [suite.size for suite in plan.suites] == sorted(suite.size for suite in plan.suites)
    for suite in plan.suites:
        steps = plan.steps(suite)
        assert len(steps) >= 10
        assert steps[-1] == suite.options.steps
        assert sum(step >= suite.options.steps / LATE for step in steps) >= 6
    assert (plan.local.chains, plan.local.draws, plan.local.batch_size) == (2, 100, 16)
    assert plan.local.given() == {"chains": 2, "draws": 100, "batch_size": 16}
    assert plan.tolerances == (0.1, 0.3, 0.5, 1.0)
    assert plan.pruning.steps == 1000
    assert len(plan.pruning.fractions) == 4
    assert len(plan.pruned_steps()) == 3
    assert set(plan.pruned_steps()) <= set(plan.steps(plan.suites[0]))
    assert plan.pruned_steps()[-1] == plan.steps(plan.suites[0])[-1]
    assert to_toml(plan.run_settings())


def test_nets_of_fewer_than_three_layers_have_all_of_them_factorized():
    two, three = (Suite("s", TrainOptions(layers=n)).schemes for n in (2, 3))
    assert three == SCHEMES
    assert two == tuple("factorize(layers='all')" if name == "factorize" else name for name in SCHEMES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    options = TrainOptions(
        layers=1, width=8, heads=2, context=8, vocabulary=270, steps=3, batch_size=2, warmup=1, evaluation_items=2
    )
    texts = [f"Line {i}: the cat sat on mat {i * 7} and saw {i % 5} birds.\n" * 4 for i in range(12)]
    return train_suite(tmp_path_factory.mktemp("suites") / "tiny", options, texts[:8], texts[8:])


def test_a_suite_that_was_trained_takes_the_place_of_all_three(trained):
    plan = compressibility_plan(suites=[trained], small=True)
    assert [(suite.name, suite.folder) for suite in plan.suites] == [("tiny", trained)]
    assert plan.steps(plan.suites[0]) == (1, 2, 3)
    assert plan.run_settings()["trained"] == []
    assert plan.local == compressibility_plan(small=True).local


def test_costs_are_predicted_for_every_part(trained):
    plan = compressibility_plan(suites=[trained], small=True)
    (row,) = measured_plan(plan)
    assert row.training == 0.0
    assert all(row.parts()[name] > 0 for name in ("calibration", "local", "schemes", "published", "pruning"))
    assert row.seconds == pytest.approx(sum(row.parts().values()))
    assert row.parameters == row.as_record()["parameters"] > 4000
    assert row.checkpoints == 3


def test_what_is_no_finished_suite_is_refused(tmp_path, trained):
    with pytest.raises(DataError, match=r"expected a suite that was trained here in .*, got none; train it"):
        compressibility_plan(suites=[tmp_path])
    with pytest.raises(InputError, match="expected suites of different names, got two called tiny"):
        compressibility_plan(suites=[trained, trained])
