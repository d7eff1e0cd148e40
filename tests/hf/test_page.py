"""The commands of docs/huggingface.md, taken apart and loaded from a cache of tiny models; measuring is left out."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import bitsandnats as bn
from bitsandnats.cli.app import app
from bitsandnats.errors import InputError
from bitsandnats.hf import Texts

PAGE = Path(__file__).parents[2] / "docs" / "huggingface.md"
STEPS = (0, 1000, 2000, 3000, 10000, 30000, 50000, 60000, 90000, 143000)


def commands():
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.startswith("bitsandnats ")]


@pytest.fixture
def cached_pythia(hub_cache, put_in, tmp_path, suite_folder, monkeypatch):
    """Pythia's name and revisions over a tiny GPT-NeoX of as many positions; the page's texts beside it."""
    folder = shutil.copytree(suite_folder / "step6", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    for revision in ("main", *(f"step{s}" for s in STEPS)):
        put_in(hub_cache, "EleutherAI/pythia-70m", revision, folder)
    words = "The cat sat on the mat and saw seven birds in the tree.\n" * 2500
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for name in ("corpus.txt", "book.txt", "src/a.py"):
        (tmp_path / name).write_text(words)
    (tmp_path / "pile.jsonl").write_text(json.dumps({"text": words}) + "\n")


def run(command, monkeypatch):
    """What the command loads: a series or a task, with its options, instead of a measurement."""
    seen: list[Any] = []

    def stop(*given, **options):
        seen.append((given, options))
        raise InputError("expected no measurement")

    monkeypatch.setattr("bitsandnats.recipes.study.study", stop)
    monkeypatch.setattr("bitsandnats.calibration.calibrate", stop)
    monkeypatch.setattr("bitsandnats.critical.critical_points", stop)
    arguments = shlex.split(command.replace("--device cuda", "--device cpu"))[1:]
    with pytest.raises(InputError, match="no measurement"):
        app(arguments, standalone_mode=False)
    return seen[0]


def test_the_page_has_commands():
    assert len(commands()) == 7


@pytest.mark.parametrize("command", [c for c in commands() if " study " in c])
def test_studies(command, cached_pythia, monkeypatch):
    (series,), options = run(command, monkeypatch)
    labels = list(series.load)
    if "step*0000" in command:
        assert labels == ["step10000", "step30000", "step50000", "step60000", "step90000"]
        assert list(series.subsets) == ["code", "prose"]
    else:
        assert labels == [f"step{s}" for s in STEPS[2:-1]]
    task = series.load[labels[0]]()
    assert task.source.startswith(f"EleutherAI/pythia-70m@{labels[0]} (commit ")
    assert task.batch(torch.arange(1)).shape[1] == (2048 if "2048" in command else 128)
    if "--recipe" in command:
        assert options["recipe"] == "2510.12077"
        assert options["settings"]["step_size"] == 3e-4
        assert options["schemes"] == ["quantize", "factorize", "noise-absolute", "noise-relative"]


@pytest.mark.parametrize("command", [c for c in commands() if " study " not in c and "dataset:" not in c])
def test_one_model(command, cached_pythia, monkeypatch):
    given, _ = run(command, monkeypatch)
    task = next(value for value in given if isinstance(value, bn.Task))
    assert task.source.startswith("EleutherAI/pythia-70m@step1000" if "@" in command else "EleutherAI/pythia-70m (")
    assert task.batch(torch.arange(1)).shape[1] == 2048


def test_text_of_a_dataset(cached_pythia, monkeypatch):
    (command,) = [c for c in commands() if "dataset:" in c]
    seen: list[Any] = []

    def load(model, **options):
        seen.append(options)
        raise InputError("expected no model")

    monkeypatch.setattr("bitsandnats.hf.load_task", load)
    with pytest.raises(InputError, match="no model"):
        app(shlex.split(command)[1:], standalone_mode=False)
    assert seen[0]["text"] == Texts({"": ["dataset:org/name#config:split"]}, "text", "documents")
    assert seen[0]["unit"] == "sequence"
