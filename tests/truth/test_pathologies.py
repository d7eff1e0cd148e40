"""Things that go wrong on purpose, where λ is known: no wrong number may be called usable.

A few of the list that `benchmarks/pathologies.py` runs in full.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from bitsandnats.errors import ModelError
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE

FILE = Path(__file__).parents[2] / "benchmarks" / "pathology_cases.py"
SPEC = importlib.util.spec_from_file_location("pathology_cases", FILE)
assert SPEC is not None
assert SPEC.loader is not None
cases = sys.modules["pathology_cases"] = importlib.util.module_from_spec(SPEC)  # dataclasses look there
SPEC.loader.exec_module(cases)


@pytest.fixture(scope="module")
def known():
    return {model.name: model for model in cases.models()}


@pytest.fixture(scope="module")
def regression(known):
    return known["regression"]


def error(found, model):
    return found.llc / model.llc - 1


@pytest.mark.parametrize(
    ("step", "batch", "said"),
    [
        (1e-3, 32, "along the trace|still spreading|effective draws|standard error"),
        (1e-2, 1000, "the chains disagree"),
        (10**0.5, 32, "the step inflates the variance|finite steps and gradient noise"),
        (10.0, 1000, "the step inflates the variance"),
        (10**1.5, 1000, "the step is unstable|diverged"),
        (1e3, 32, "diverged"),
    ],
)
def test_step_sizes_over_six_decades(regression, step, batch, said, matches):
    found = cases._variant(regression, batch, {"step": step}, seed=0)
    assert not abs(error(found, regression)) <= 0.2
    assert found.verdict.status == NOT_USABLE
    assert matches(said, found)


@pytest.fixture
def matches():
    import re

    return lambda pattern, found: any(re.search(pattern, reason) for reason in found.verdict.reasons)


def test_the_right_step_is_usable(regression):
    found = cases._variant(regression, 1000, {"step": 0.6, "draws": 2500}, seed=0)
    assert abs(error(found, regression)) < 0.06
    assert found.verdict.status == USABLE, str(found)


@pytest.mark.parametrize("step", [0.01, 0.1, 1.0])
def test_batches_of_one(regression, step):
    found = cases._variant(regression, 1, {"step": step}, seed=0)
    assert abs(error(found, regression)) > 0.2
    assert found.verdict.status == NOT_USABLE


@pytest.mark.parametrize(
    "fields", [{"gamma": 1e3}, {"gamma": 1e4}, {"nbeta": 0.145}, {"nbeta": 0.145, "gamma": 100.0}], ids=str
)
def test_a_pull_that_outweighs_the_likelihood(regression, fields, matches):
    """Also what β does where nβ is meant."""
    found = cases.sgld(regression, 1000, 0, **fields)
    assert abs(error(found, regression)) > 0.2
    assert found.verdict.status in (CAUTION, NOT_USABLE)
    assert matches("it depends on the pull", found)


@pytest.mark.parametrize(("share", "status"), [(0.3, {CAUTION}), (3.0, {CAUTION, NOT_USABLE})])
def test_not_a_minimum(regression, share, status, matches):
    found = cases.beside(regression, share, 0)
    assert error(found, regression) < -0.2
    assert found.verdict.status in status
    assert matches("w\\* is not a minimum", found)


@pytest.mark.parametrize("name", ["regression", "20 × w₁²w₂²"])
def test_a_chain_that_is_not_a_number_enters_no_average(known, name):
    model = known[name]
    found = cases.breaking(model, model.batches[0], 1)
    died = found.tree["draws"].dataset["diverged_at"].values
    assert (died >= 0).sum() > 0
    assert found.llc != found.llc
    assert found.verdict.status == NOT_USABLE
    assert "diverged" in found.verdict.reasons[0]


def test_copied_chains(regression, matches):
    found = cases.copied(regression, 1000, 0)
    assert found.verdict.status == NOT_USABLE
    assert matches("two chains are copies of each other", found)


def test_dropout_is_refused():
    with pytest.raises(ModelError, match=r"turn dropout off"):
        cases.dropping(0)


def test_published_settings_on_a_regression(regression, matches):
    found = cases.published(regression, 1000, 0)
    assert abs(error(found, regression)) > 0.2
    assert found.verdict.status == NOT_USABLE
    assert matches("the step inflates the variance", found)


def test_published_language_model_recipe_is_caught_by_name(tmp_path, matches):
    """Its three artefacts: weights four times as far as the target's, draws near chance, plain noise sensitivity."""
    hf = pytest.importorskip("bitsandnats.hf")
    pytest.importorskip("transformers")
    texts = [f"Line {i}: the cat sat on mat {i * 7} and saw {i % 5} birds in the tree.\n" * 4 for i in range(60)]
    options = hf.TrainOptions(
        layers=1, width=32, heads=2, context=32, vocabulary=280, steps=120, batch_size=8, warmup=10,
        checkpoints=(120,), evaluation_items=8,
    )  # fmt: skip
    task = hf.load_task(str(hf.train_suite(tmp_path / "suite", options, texts[:50], texts[50:]) / "step120"))
    settings = cases.changed(cases.published_settings("2510.12077", 0), {"chains": 2, "draws": 100})
    found = cases.estimate(cases.measure_llc(task, settings))
    assert found.verdict.status == NOT_USABLE
    assert matches(r"the step inflates the variance by up to 300%", found)
    assert matches(r"the draws left the basin", found)
    assert matches(r"of what weight noise alone gives", found)
