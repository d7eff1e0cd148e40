"""Text of known structures, networks of heads trained on it, and the studies' tables from a tiny plan."""

import json
import re

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.errors import InputError, StoreError
from bitsandnats.experiments.heads.ablation import _followers, ablation
from bitsandnats.experiments.heads.chains import NOISE, Sampling, chain_settings, noise_settings, temperature
from bitsandnats.experiments.heads.network import Shape, fresh
from bitsandnats.experiments.heads.text import LABELS, LENGTH, PURE, VOCABULARY, generated, shown
from bitsandnats.experiments.heads.training import Recipe, growing_steps, held_out, label_losses, restored, texts, train
from bitsandnats.experiments.heads.units import task_of
from bitsandnats.experiments.sheets import sheets_as_markdown
from bitsandnats.experiments.susceptibility import Plan, susceptibility, susceptibility_plan, tables
from bitsandnats.experiments.susceptibility.disjoint import SideBySide
from bitsandnats.experiments.susceptibility.plan import RATIOS, READINGS, Published
from bitsandnats.report import write_report
from bitsandnats.report.attribution_study_page import susceptibility_page
from bitsandnats.run import sample
from bitsandnats.settings import changed

TINY = Recipe(2, 16, 2, ("mixed", "induction", "bracket"), 20, 0.02, 8, 30)
SAMPLING = Sampling(2, 0, 6, 3.0)
PUBLISHED = Published(2, 4, 12, 6, 4, 300.0, 30.0, 1e-3)


def test_text_is_what_its_labels_say():
    text = generated(40, seed=3)
    assert text.tokens.shape == (40, LENGTH + 1)
    assert torch.equal(text.tokens, generated(40, seed=3).tokens)
    assert not torch.equal(text.tokens, generated(40, seed=4).tokens)
    assert torch.equal(text.tokens[:5], generated(5, seed=3).tokens)
    assert int(text.tokens.max()) < VOCABULARY
    opened = {"(": ")", "[": "]", "{": "}", "<": ">"}
    for tokens, labels in zip(text.tokens.tolist(), text.labels.tolist(), strict=True):
        words, stack = [shown(t) for t in tokens], []
        assert words[0] == "start"
        for at, word in enumerate(words[1:], 1):
            label = LABELS[labels[at - 1]]
            if word in opened:
                stack.append(word)
            elif word in opened.values():
                assert label == "bracket"
                assert word == opened[stack.pop()]
            if label == "skip":
                assert words[at - 1] == f"?{word[1]}"
                assert word[2:] == words[1][1:]
            if label == "induction":
                earlier = [words[i + 1] for i in range(at - 1) if words[i] == words[at - 1]]
                assert word in earlier
            assert (label == "bigram") <= (word.startswith("word") and words[at - 1].startswith("word"))


def test_kinds_of_text_have_much_of_their_structure():
    shares = {kind: generated(60, seed=1, shares=own).labels for kind, own in PURE.items()}
    for kind, labels in shares.items():
        own = [float((labels == k).float().mean()) for k in range(len(LABELS) - 1)]
        assert LABELS[int(np.argmax(own))] == kind
    both = texts(("mixed", "skip"), 5, seed=0)
    assert len(both.tokens) == 10
    assert not torch.equal(both.tokens, held_out(("mixed", "skip"), 5, seed=0).tokens)


def test_network_has_heads_that_can_be_selected():
    network = fresh(Shape(VOCABULARY, 2, 16, 2), 1)
    task = task_of(network, generated(6, seed=0))
    assert task.unit == "token"
    sizes = dict(bn.component.sizes(task))
    assert sizes["layer.1.head.1"] == 4 * 16 * 8
    tokens = generated(3, seed=0).tokens
    changed = tokens.clone()
    changed[:, 40:] = 0
    assert torch.allclose(network(tokens)[:, :40], network(changed)[:, :40], atol=1e-5)  # nothing looks ahead


def test_training_lowers_the_loss_and_is_repeated_by_its_seed():
    told: list[tuple[int, int]] = []
    kept = train(TINY, 0, (5, 30), told=lambda *event: told.append(event))
    assert kept.steps == (5, 30)
    assert told[-1] == (30, 30)
    assert kept.losses[1].mean() < kept.losses[0].mean()
    again = train(TINY, 0, (5, 30), told=lambda *_: None)
    assert np.array_equal(kept.weights, again.weights)
    network, text = restored(TINY, kept.weights[1], "cpu"), held_out(TINY.probes, 64, seed=0)
    assert np.allclose(label_losses(network, text), kept.losses[1])
    assert growing_steps(1000, 4) == (10, 46, 215, 1000)
    assert growing_steps(50, 1) == (50,)


def test_ablation_finds_the_head_that_was_made_to_matter():
    network, text = fresh(Shape(VOCABULARY, 2, 16, 2), 1), held_out(("mixed", "induction"), 12, seed=0)
    with torch.no_grad():
        network.blocks[0].out.weight.zero_()
        network.blocks[1].out.weight[:, 8:].zero_()
    found = ablation(network, text)
    assert (found.rise[[0, 1, 3]] == 0).all()
    assert found.labels[:2] == ("idle", "idle")
    assert np.abs(found.rise[2]).max() > 0
    follow = _followers(text)
    row = int(torch.nonzero(follow[0].sum(-1))[0])
    column = int(torch.nonzero(follow[0, row])[-1])
    assert text.tokens[0, column - 1] == text.tokens[0, row]
    assert text.tokens[0, column] == text.tokens[0, row + 1]


@pytest.fixture(scope="module")
def plan() -> Plan:
    pilot = SAMPLING._replace(burn_in=0, draws=2)
    return Plan(TINY, TINY._replace(heads=1), 1, 1, 1, 3, SAMPLING, PUBLISHED, pilot, "cpu", 0)


@pytest.fixture(scope="module")
def measured(plan, tmp_path_factory):
    events: list[tuple[str, int, int]] = []
    folder = tmp_path_factory.mktemp("heads") / "run"
    return susceptibility(folder, plan, command="made so", progress=lambda *event: events.append(event)), events


def test_susceptibility_study_measures_every_reading_once(plan, measured):
    run, events = measured
    summary = run.summary()
    assert summary["failed"] == []
    assert [(s["seed"], s["kind"]) for s in summary["seeds"]] == [(0, k) for k in ("posterior", "control", "published")]
    assert len(summary["pulls"][0]["median"]) == len(RATIOS)
    assert len(summary["heads"]) == 3 * 4
    assert len(summary["points"]) == 4 * 3
    assert [m["kind"] for m in summary["modules"]] == ["disjoint", "disjoint-control"]
    assert json.dumps(summary, allow_nan=False)
    assert events[-1][1:] == (1000, 1000)
    units = {path: path.stat().st_mtime_ns for path in run.path.glob("**/unit.json")}
    assert len(units) == 3 + len(READINGS) + 4
    gone = run.path / "units" / "s0" / "control" / "unit.json"
    gone.unlink()
    again = susceptibility(run.path, plan, command="made so").summary()
    assert {path for path in units if path.stat().st_mtime_ns != units[path]} == {gone}
    same = {**again, "provenance": 0, "seeds": 0}
    assert same == {**summary, "provenance": 0, "seeds": 0, "sheets": same["sheets"]}
    with pytest.raises(StoreError, match="seeds = 2 where the folder has 1"):
        susceptibility(run.path, Plan(**{**{k: getattr(plan, k) for k in plan.__dataclass_fields__}, "seeds": 2}))


def test_susceptibility_tables_and_page(measured):
    run, _ = measured
    text = (run.path / "tables.md").read_text(encoding="utf-8")
    assert text == sheets_as_markdown(run.summary())
    for part in ("made so", "## Networks by susceptibilities", "## Two networks side by side", "layer.1.head.1"):
        assert part in text
    page = susceptibility_page(run)
    names = [figure.name for figure in page.figures]
    assert set(names) - {"independent"} == {"responses", "components", "specific", "contrast", "pulls", "additivity"}
    html = write_report(run.path, images=False).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    plain = re.sub(r"<[^>]+>", " ", html[: html.index("<script type=")])
    assert run.summary()["verdict"]["text"] in plain.replace("&#39;", "'")
    assert "None" not in plain
    assert "nan" not in plain.split()


def test_additivity_is_judged_by_correlation_and_slope():
    random = np.random.default_rng(0)
    truth = np.repeat([1.0, 5, 25], 20) * (4 + random.standard_normal(60))
    noise = 0.05 * truth * random.standard_normal(60)
    points = [
        {"seed": 0, "head": str(i // 20), "whole": 0.1 * x, "tokens": x + e}
        for i, (x, e) in enumerate(zip(truth, noise, strict=True))
    ]
    found = tables.additivity(points)
    assert found["met"]
    assert found["r"] > 0.99 > found["r_within"] > 0.9  # heads that differ by a factor make r large
    assert not tables.additivity([{**p, "tokens": 1.2 * p["tokens"]} for p in points])["met"]
    assert tables.additivity(points[:2]) is None


def test_labels_that_are_found_are_held_against_chance():
    kinds = ("bigram", "skip", "induction", "bracket")
    heads = [{"seed": i // 8, "role": kinds[i % 4], "found": kinds[i % 4]} for i in range(16)]
    found = tables.agreement(heads)
    assert (found["agree"], found["heads"]) == (16, 16)
    assert found["chance"] == pytest.approx(4, abs=0.2)  # a quarter of them
    assert found["p"] < 1e-3
    wrong = tables.agreement([{**h, "found": "bigram"} for h in heads])
    assert wrong["agree"] == wrong["chance"] == 4
    assert wrong["p"] == 1
    assert tables.agreement([{**heads[0], "role": "previous token", "found": "induction"}])["agree"] == 1
    seeds = [{"margin": m, "induction": 2, "others": 4} for m in (0.1, -0.1, None)]
    assert tables.separation(seeds) == {"separated": 1, "networks": 2, "chance": 2 / 15}


def test_chains_feel_the_temperature_and_the_pull():
    task = task_of(fresh(Shape(VOCABULARY, 2, 16, 2), 1), generated(4, seed=0))
    n = 4 * LENGTH
    assert temperature(4) == pytest.approx(n / np.log(n))
    settings = chain_settings(task, SAMPLING, seed=0)
    assert settings.gamma == pytest.approx(3 * settings.nbeta)


def test_the_control_draws_independent_noise_of_the_same_pull():
    task = task_of(fresh(Shape(VOCABULARY, 2, 16, 2), 1), generated(4, seed=0))
    settings = chain_settings(task, SAMPLING._replace(chains=2, draws=40), seed=0)
    noise = changed(noise_settings(settings), {"statistics": "step", "baseline": "batch"})
    assert noise.nbeta == NOISE
    squares = sample(task, noise)["draws"].dataset["distance_squared"].values * settings.gamma / task.dimension
    assert squares.mean() == pytest.approx(1, abs=4 * (2 / task.dimension / squares.size) ** 0.5)
    between = np.corrcoef(squares[:, 1:].ravel(), squares[:, :-1].ravel())[0, 1]
    assert abs(between) < 4 * squares.size**-0.5


def test_each_text_is_answered_by_its_own_network():
    networks = [fresh(Shape(VOCABULARY, 1, 8, 2), seed) for seed in (0, 1)]
    tokens = generated(5, seed=0).tokens[:, :-1]
    owner = torch.tensor([1, 0, 0, 1, 0])
    found = SideBySide(*networks)(tokens + VOCABULARY * owner[:, None])
    for i, own in enumerate(owner.tolist()):
        assert torch.allclose(found[i], networks[own](tokens[i : i + 1])[0], atol=1e-5)


def test_parts_that_share_nothing_are_known_by_the_tokens_that_they_change():
    random = np.random.default_rng(1)
    specific = random.standard_t(2, (6, 80))
    specific[:3, 40:] = random.random((3, 1)) + 1e-7 * random.standard_normal((3, 40))
    specific[3:, :40] = random.random((3, 1)) + 1e-7 * random.standard_normal((3, 40))
    changed = tables.changed_tokens(specific)
    assert changed[:3, :40].mean() > 0.99
    assert not changed[:3, 40:].any()
    assert not changed[3:, :40].any()


def test_wrong_plans():
    with pytest.raises(InputError, match="at least one of seeds"):
        susceptibility_plan(seeds=0)
    assert susceptibility_plan().seeds == 3
    assert susceptibility_plan(small=True).seeds == 1
