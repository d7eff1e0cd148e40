"""The loss-kernel study on tiny networks: the tree, statistics, stored, resumed, tabulated, and drawn."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("altair")

from bitsandnats.errors import InputError, StoreError
from bitsandnats.experiments.chains import Sampling
from bitsandnats.experiments.images import CLASSES, Images
from bitsandnats.experiments.loss_kernel import loss_kernel_plan, loss_kernel_study, networks
from bitsandnats.experiments.loss_kernel.hierarchy import ORDER, ancestors, tree_distance
from bitsandnats.experiments.loss_kernel.plan import KINDS, Classes, Plan, TwoTasks
from bitsandnats.experiments.loss_kernel.tables import partial_mantel
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.experiments.small_networks import Recipe
from bitsandnats.report import write_report
from bitsandnats.report.attribution_study_page import loss_kernel_page
from bitsandnats.report.style import spec


def test_distances_in_the_tree():
    names = CLASSES["fashion"]
    found = tree_distance(names)
    assert np.array_equal(found, found.T)
    assert not found.diagonal().any()
    assert set(ORDER) == set(names)
    at = {name: i for i, name in enumerate(names)}
    assert found[at["T-shirt/top"], at["shirt"]] == 1
    assert found[at["sandal"], at["sneaker"]] == 2
    assert found[at["sandal"], at["ankle boot"]] == 3
    assert found[at["pullover"], at["coat"]] == 4
    assert found[at["dress"], at["trouser"]] == 4
    assert found[at["sandal"], at["bag"]] == 7
    assert ancestors("bag") == ["bag", "container", "instrumentality", "artifact"]


def test_a_kernel_that_follows_the_other_similarity_alone_is_not_credited_with_the_hierarchy():
    random = np.random.default_rng(2)
    distance = tree_distance(CLASSES["fashion"])
    noise = random.standard_normal((2, 10, 10))
    noise = noise + np.swapaxes(noise, 1, 2)
    given = -distance + 0.5 * noise[0]
    only = partial_mantel(given + 0.3 * noise[1], distance, given, permutations=199)
    assert abs(only.spearman) < 0.4
    more = partial_mantel(-distance + 0.2 * noise[1], distance, given, permutations=199)
    assert more.spearman > 0.7
    assert more.p == 1 / 200


def test_networks_know_their_tables():
    tasks = TwoTasks(5, Recipe(width=20, steps=500, rate=0.02, decay=1e-4), Sampling(4, 2, 16))
    items = networks.arithmetic(5)
    assert items.inputs.shape == (50, 12)
    assert items.labels[7].item() == (1 + 2) % 5
    assert items.labels[25 + 7].item() == (1 * 2) % 5
    for task in (networks.shared_network(tasks, 0), networks.disjoint_network(tasks, 0)):
        assert networks.accuracy(task) == 1
    apart = networks.disjoint_network(tasks, 0)
    moved = {k: w + (1.0 if k.startswith("second") else 0.0) for k, w in apart.center.items()}
    batch = apart.batch(torch.arange(50))
    same = apart.loss(moved, batch) == apart.loss(apart.center, batch)
    assert same.tolist() == [True] * 25 + [False] * 25  # a network of two halves


@pytest.fixture
def images(monkeypatch):
    """Images of ten classes in place of Fashion-MNIST, which need not be installed."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(12)
    inputs = (torch.rand(120, 49, generator=random) + 2 * torch.nn.functional.one_hot(labels, 49)).float() / 3
    monkeypatch.setattr(networks, "fashion", lambda part: Images(inputs, labels))


@pytest.fixture
def plan():
    recipe = Recipe(width=6, steps=40, rate=0.05, decay=1e-3)
    return Plan(TwoTasks(3, recipe, Sampling(4, 2, 16)), Classes(60, 40, recipe, Sampling(4, 2, 16)), 1, "cpu", 0)


def test_measured_stored_and_shown(plan, images, tmp_path):
    events = []
    run = loss_kernel_study(
        tmp_path / "run", plan, command="made so", progress=lambda stage, done, total: events.append(done)
    )
    summary = run.summary()
    assert summary["failed"] == []
    assert json.dumps(summary, allow_nan=False)
    assert [(row["network"], row["kind"]) for row in summary["blocks"]] == [(0, kind) for kind in KINDS]
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in summary["blocks"])
    assert len(summary["aims"]) == 5
    tests = summary["hierarchy"][0]["tests"]
    assert {"network", "noise", "pixels", "network, squares", "network, given pixels"} <= set(tests)
    assert all(0 < test["p"] <= 1 for test in tests.values())
    assert events == sorted(events)
    assert events[-1] == 1000

    text = (run.path / "tables.md").read_text(encoding="utf-8")
    assert text == sheets_as_markdown(summary)
    assert "nan" not in text.split()
    page = loss_kernel_page(run)
    assert [figure.name for figure in page.figures] == ["blocks", "classes", "hierarchy"]
    assert all(spec(figure.chart, validate=figure.name == "blocks") for figure in page.figures)
    html = write_report(run.path, images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    assert summary["verdict"]["text"].split(",")[0] in html

    units = sorted(run.path.glob("**/unit.json"))
    assert len(units) == 2
    before = {path: path.stat().st_mtime_ns for path in units}
    units[0].unlink()
    again = loss_kernel_study(run.path, plan, command="made so").summary()
    assert {path for path in units if path.stat().st_mtime_ns != before[path]} == {units[0]}
    assert again["hierarchy"][0]["tests"] == summary["hierarchy"][0]["tests"]
    with pytest.raises(StoreError, match="models = 2 where the folder has 1"):
        loss_kernel_study(run.path, replace(plan, models=2))


def test_plans_name_what_they_do_not_know():
    assert loss_kernel_plan(small=True).models == 2
    with pytest.raises(InputError, match="at least 1 of models"):
        loss_kernel_plan(models=0)
