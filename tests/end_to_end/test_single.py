"""`llc`, `compress`, `train`, `ls` and help."""

import dataclasses
import inspect
import json
import sys

import pytest
from rich.cells import cell_len

from bitsandnats.cli.train import train
from bitsandnats.data import split_documents
from bitsandnats.errors import DataError
from bitsandnats.hf import TrainOptions, find_series

MODULE = """
import torch
import bitsandnats as bn

def task():
    torch_ = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=torch_)
    model = torch.nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(0.5), model.bias.zero_()
    return bn.Task.from_module(model, bn.losses.gaussian(1.0), (x, 0.5 * x.sum(1, keepdim=True)))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the working folder that gives a Task."""
    (tmp_path / "given_tasks.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield "given_tasks"
    sys.modules.pop("given_tasks", None)


def test_llc_of_a_checkpoint_as_json_and_as_a_run_folder(cli, suite, tmp_path, llc_options):
    done = cli("llc", suite / "step24", "--json", "--out", tmp_path / "run", *llc_options)
    row = done.json["checkpoints"][0]
    assert done.json["kind"] == "llc"
    assert row["llc"]["verdict"]["status"] == done.json["verdict"]["status"]
    assert done.json["verdict"]["text"].startswith("λ̂ = ")
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert stored["checkpoints"] == done.json["checkpoints"]
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "units" / "step24" / "llc" / "unit.json").is_file()
    assert cli("report", tmp_path / "run").code == 0


def test_llc_of_given_text_in_words(cli, suite, text_file, monkeypatch, llc_options):
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("llc", suite / "step24", "--text", text_file, *llc_options)
    assert done.code == 0, done.err
    assert "usable" in done.out
    assert "gamma" in done.out
    assert max(map(cell_len, done.out.splitlines())) <= 80


def test_llc_of_a_function(cli, module):
    measured = cli("llc", f"{module}:task", "--chains", "2", "--draws", "40", "--burn-in", "20", "--json").json
    assert measured["title"] == "task"
    assert measured["model"]["unit"] == "sample"
    assert measured["settings"]["draws"] == 40
    assert measured["checkpoints"][0]["llc"]["llc"] is not None


def test_llc_in_half_precision_is_upcast_and_said(cli, suite, tmp_path, llc_options):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(suite / "step24").to(torch.float16).save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(suite / "step24").save_pretrained(tmp_path / "half")
    (tmp_path / "text.txt").write_text("Line 1: the cat sat by the tree and saw more of them. " * 200)
    asked = ["--text", tmp_path / "text.txt", "--json", *llc_options]
    notes = cli("llc", tmp_path / "half", *asked).json["model"]["notes"]
    assert "weights stored in float16, upcast to float32" in notes


def test_llc_of_a_component(cli, suite, llc_options):
    done = cli("llc", suite / "step24", "--json", "--component", "layer.0.head.1", *llc_options)
    listed = cli("components", suite / "step24", "layer.0.head.1").out
    counts = [int(line.split()[-2].replace(",", "")) for line in listed.splitlines() if line.startswith(" gpt_neox")]
    assert done.json["checkpoints"][0]["llc"]["dimension"] == sum(counts) > 0
    assert "layer.0.head.1" in cli("components", suite / "step24").out


def test_compress_as_json_and_as_a_run_folder(cli, suite, tmp_path):
    asked = ["--tolerance", "0.01,0.5", "--out", tmp_path / "run", "--json"]
    points = cli("compress", suite / "step24", *asked).json["checkpoints"][0]["critical"]["quantize"]
    assert [point["tolerance"] for point in points] == [0.01, 0.5]
    assert points[0]["level"] >= points[1]["level"] >= 4
    assert points[1]["excess_loss"] <= 0.5
    assert (tmp_path / "run" / "report.html").is_file()


def test_compress_in_words(cli, suite, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("compress", suite / "step24", "--method", "quantize(max_abs='largest')", "--tolerance", "0.01,0.5")
    assert done.code == 0, done.err
    assert "bits/parameter" in done.out
    assert max(map(cell_len, done.out.splitlines())) <= 80


def test_train_on_given_text_holds_documents_out(cli, text_file, tmp_path):
    tiny = ["--width", "16", "--heads", "2", "--layers", "1", "--context", "16", "--vocabulary", "280"]
    asked = ["train", "--text", text_file, "--steps", "2", "--batch-size", "4", "--out", tmp_path / "suite", *tiny]
    done = cli(*asked)
    assert done.code == 0, done.err
    assert done.out.startswith("3 checkpoints in ")
    assert [c.step for c in find_series(tmp_path / "suite")] == [0, 1, 2]
    again = cli(*asked)
    assert again.out == done.out
    other = cli(*asked, "--seed", "1").sentence
    assert "seed: 0 there, 1 asked" in other


def test_defaults_of_train_are_those_of_the_options():
    known = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    given = {name: p.default for name, p in inspect.signature(train).parameters.items() if name in known}
    assert given == {name: known[name] for name in given}
    assert len(given) == 9


def test_split_documents_holds_out_a_twentieth_whole():
    documents = [f"document {i}\n\n" + "words " * 100 for i in range(100)]
    split = split_documents(documents)
    assert not set(split.train) & set(split.held_out)
    assert {*split.train, *split.held_out} == set(documents)
    assert 4 <= len(split.held_out) <= 7
    assert split_documents(documents[::-1]) == split


def test_split_documents_cuts_one_long_document_between_paragraphs():
    paragraphs = [f"paragraph {i} " + "words " * 50 for i in range(400)]
    split = split_documents(["\n\n".join(paragraphs)])
    held_out = sum(map(len, split.held_out)) / sum(map(len, (*split.train, *split.held_out)))
    assert 0.03 < held_out < 0.08
    assert {p for text in (*split.train, *split.held_out) for p in text.split("\n\n")} == set(paragraphs)


def test_split_documents_needs_something_to_hold_out():
    with pytest.raises(DataError, match="1 document of 5 characters"):
        split_documents(["words"])


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("samplers", "rmsprop_sgld(decay=0.99"),
        ("compressors", "quantize(max_abs='optimal', granularity='model')"),
        ("observables", "‖w"),
    ],
)
def test_ls_shows_names_and_options(cli, family, expected, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("ls", family)
    assert done.code == 0
    assert expected in done.out
    assert expected in cli("ls").out


@pytest.mark.parametrize("verb", ["demo", "train", "study", "llc", "compress", "report", "ls"])
def test_help_fits_a_hundred_columns(cli, verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    done = cli(verb, "--help")
    assert done.code == 0
    assert max(map(cell_len, done.out.splitlines())) <= 100
    assert f"bitsandnats {verb}" in done.out.split("Examples:")[1]


def test_help_names_every_verb(cli):
    said = cli("--help").out
    assert all(f"│ {verb} " in said for verb in ("demo", "train", "study", "llc", "compress", "report", "ls"))
