"""Attributions against retraining, on tiny networks: stacks, scores, stored, resumed, tabulated, and drawn."""

import gzip
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("altair")
pytest.importorskip("sklearn")

from bitsandnats.errors import InputError, StoreError
from bitsandnats.estimators.retraining import over_queries, rank_agreement, repeat_reliability
from bitsandnats.experiments import chains
from bitsandnats.experiments.chains import Sampling
from bitsandnats.experiments.images import check_set, split_images
from bitsandnats.experiments.influence_retraining import influence_plan, influence_retraining, measured_plan
from bitsandnats.experiments.influence_retraining.plan import METHODS, Plan, Sizes
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.experiments.small_networks import Recipe, as_module, item_losses, train_stack
from bitsandnats.recipes.attribution import comparisons
from bitsandnats.report import write_report
from bitsandnats.report.attribution_study_page import retraining_page
from bitsandnats.report.style import spec

RECIPE = Recipe(width=3, steps=25, rate=0.05, decay=0.01)


@pytest.fixture
def items():
    random = torch.Generator().manual_seed(5)
    return torch.randn(24, 4, generator=random).double(), torch.arange(24) % 3


@pytest.mark.parametrize("count", [18, 5])  # shared inputs, and gathered ones
def test_a_stack_trained_by_masks_is_each_network_trained_alone_on_its_items(items, count):
    inputs, labels = items
    random = np.random.default_rng(0)
    chosen = [np.sort(np.append(random.permutation(21)[: count - 3], [21, 22, 23])) for _ in range(3)]
    weights = torch.zeros(3, 24, dtype=torch.float64)
    for row, own in enumerate(chosen):
        weights[row, torch.as_tensor(own)] = 1
    together = train_stack(RECIPE, inputs, labels, weights, [7, 8, 9]).nets
    for row, own in enumerate(chosen):
        alone = train_stack(RECIPE, inputs[own], labels[own], torch.ones(1, count, dtype=torch.float64), [7 + row]).nets
        for w, v in zip(together, alone, strict=True):
            assert torch.allclose(w[row], v[0], rtol=1e-9, atol=1e-11)


def test_training_follows_its_loss_and_a_module_says_the_same(items):
    inputs, labels = items
    whole = torch.ones(1, 24, dtype=torch.float64)
    long = RECIPE._replace(steps=3000)
    found = train_stack(long, inputs, labels, whole, [1], checkpoints=3)
    leaves = [w.clone().requires_grad_() for w in found.nets]
    loss = item_losses(type(found.nets)(*leaves), inputs, labels).mean()
    loss = loss + long.decay / 2 * sum(w.square().sum() for w in leaves)
    gradients = torch.autograd.grad(loss, leaves)
    assert sum(float(g.square().sum()) for g in gradients) ** 0.5 < 1e-4  # a minimum of mean loss and penalty
    assert len(found.checkpoints) == len(found.rates) == 3
    assert all(torch.equal(a, b) for a, b in zip(found.checkpoints[-1], found.nets, strict=True))
    module = as_module(type(found.nets)(*(w[0] for w in found.nets)))
    with torch.no_grad():
        said = torch.nn.functional.cross_entropy(module(inputs), labels, reduction="none")
    assert torch.allclose(said, item_losses(found.nets, inputs, labels)[0])


def test_rank_agreement_is_spearmans():
    from scipy.stats import spearmanr

    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 12, 3))
    b[:, 2] = 1.0
    found = rank_agreement(a, b)
    assert np.allclose(found[:2], [spearmanr(a[:, q], b[:, q])[0] for q in range(2)])
    assert found[2] == 0
    interval = over_queries(lambda chosen: float(a[0][chosen].mean()), 3)
    assert interval.low <= interval.value <= interval.high
    signal = random.standard_normal((40, 200))
    noisy = signal + random.standard_normal((2, 40, 200))  # half signal, half noise: 2/3 of two together
    assert repeat_reliability(noisy) == pytest.approx(2 / 3, abs=0.05)
    assert repeat_reliability(noisy[:1]) is None


def test_images_are_split_without_overlap():
    train, query = split_images("digits", train=300, queries=50, seed=3)
    assert train.inputs.shape == (300, 64)
    assert float(train.inputs.max()) == 1
    rows = {tuple(row.tolist()) for row in train.inputs}
    assert sum(tuple(row.tolist()) in rows for row in query.inputs) == 0
    with pytest.raises(InputError, match="at most the 1797 images of digits"):
        split_images("digits", train=1797, queries=1, seed=0)
    with pytest.raises(InputError, match="data among digits, fashion"):
        check_set("cifar")


def test_another_folder_of_fashion_mnist_is_read_where_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BITSANDNATS_FASHION_MNIST", str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path)):
        check_set("fashion")
    random = np.random.default_rng(0)
    for part in ("train", "t10k"):
        for what, shape in (("images-idx3", (6, 28, 28)), ("labels-idx1", (6,))):
            values = random.integers(10, size=shape, dtype=np.uint8)
            head = bytes((0, 0, 8, len(shape))) + np.array(shape, dtype=">u4").tobytes()
            (tmp_path / f"{part}-{what}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    train, query = split_images("fashion", train=4, queries=3, seed=0)
    assert train.inputs.shape == (4, 49)
    assert len(query) == 3


@pytest.fixture(scope="module")
def plan():
    sizes = Sizes(train=60, queries=12, choosing=4, scored=6, repeats=2, left_out=5)
    return Plan(("digits",), (0.5, 0.1), 1, sizes, RECIPE, Sampling(2, 2, 12), "cpu", 0)


@pytest.fixture(scope="module")
def measured(plan, tmp_path_factory):
    events = []
    folder = tmp_path_factory.mktemp("retraining") / "run"
    with pytest.MonkeyPatch.context() as patch:  # short chains: what they find is not looked at here
        patch.setattr(chains, "_ADAPTING", 4)
        patch.setattr(chains, "_LEAPFROGS", (2, 3))
        patch.setattr(comparisons, "_ADAPTING", 4)
        run = influence_retraining(
            folder, plan, command="made so", progress=lambda stage, done, total: events.append((stage, done))
        )
    return run, events


def test_every_method_is_scored_at_every_fraction(plan, measured):
    run, events = measured
    summary = run.summary()
    assert summary["failed"] == []
    assert json.dumps(summary, allow_nan=False)
    kinds = ("0.5", "0.1", "leave one out")
    wanted = [(kind, form) for kind in kinds for form in ("raw", "normalised")]
    assert [(r["what"], r["form"]) for r in summary["networks"]] == wanted
    for row in summary["networks"]:
        assert set(row["methods"]) == set(METHODS)
        assert all(-1 <= cell["low"] <= cell["value"] <= cell["high"] <= 1 for cell in row["methods"].values())
    assert len(summary["aims"]) == 5
    assert 1 <= sum(row["chosen"] for row in summary["chains"]) <= 2
    assert len(summary["chains"]) == len(plan.chain_settings("digits")) == 6
    assert [t["fraction"] for t in summary["truths"]] == [0.5, 0.1]
    for stage in ("first", "further networks"):
        done = [event[1] for event in events if event[0] == stage]
        assert done == sorted(done)
        assert stage != "first" or done[-1] == 1000


def test_a_second_run_makes_only_what_is_missing(plan, measured):
    run, _ = measured
    units = sorted(run.path.glob("**/unit.json"))
    assert len(units) == 2 + 1 + 6 + 1
    before = {path: path.stat().st_mtime_ns for path in units}
    gone = next(path for path in units if "left_out" in str(path))
    gone.unlink()
    old = run.summary()
    again = influence_retraining(run.path, plan, command="made so").summary()
    assert {path for path in units if path.stat().st_mtime_ns != before[path]} == {gone}
    assert {**again, "provenance": 0} == {**old, "provenance": 0}
    with pytest.raises(StoreError, match="models = 2 where the folder has 1"):
        influence_retraining(run.path, replace(plan, models=2))


def test_tables_and_page_load_nothing(measured):
    run, _ = measured
    text = (run.path / "tables.md").read_text(encoding="utf-8")
    assert text == sheets_as_markdown(run.summary())
    for part in ("made so", "## LDS", "## Aims", "## Settings of the chains"):
        assert part in text
    assert "nan" not in text.split()
    page = retraining_page(run)
    assert [figure.name for figure in page.figures] == ["lds"]
    assert spec(page.figures[0].chart, validate=True)
    html = write_report(str(run.path), images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    body = html[: html.index("<script type=")]
    assert run.summary()["verdict"]["text"] in body
    assert "None" not in re.sub(r"<[^>]+>", " ", body)


def test_costs_are_predicted(plan):
    rows = measured_plan(plan)
    assert [row.set for row in rows] == ["digits"]
    assert rows[0].networks == 2 * 10 * 2 + 6
    assert rows[0].seconds > rows[0].chains > 0


def test_plans_name_what_they_do_not_know():
    assert influence_plan(small=True).data == ("digits",)
    assert influence_plan(data=["digits"]).train_items("digits") == 1597
    with pytest.raises(InputError, match="data among digits, fashion, got 'letters'"):
        influence_plan(data=["letters"])
    with pytest.raises(InputError, match="at least 10 of draws"):
        influence_plan(data=["digits"], draws=1)
