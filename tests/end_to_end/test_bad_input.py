"""Every bad input gets one sentence, and leaves nothing half-written."""

import json
import shutil
import sys

import pytest

MODULE = """
import torch
import bitsandnats as bn

x = torch.linspace(-1, 1, 32).reshape(8, 4)

def make(loss=bn.losses.gaussian(1.0), dtype=torch.float32):
    model = torch.nn.Linear(4, 1).to(dtype)
    return bn.Task.from_module(model, loss, (x.to(dtype), x[:, :1].to(dtype)))

def half():
    return make(dtype=torch.float16)

def reduced():
    return make(loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean())

def number():
    return 3

def breaks():
    raise KeyError("no such layer")

def needs(what):
    return what

a_value = 4
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "bad_tasks.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('the data are not there')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("bad_tasks", "broken_tasks"):
        sys.modules.pop(name, None)


@pytest.fixture
def damaged(suite, tmp_path):
    """The suite with NaN in the weights of its first and of one middle checkpoint."""
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(suite, tmp_path / "suite")
    for label in ("step0", "step8"):
        file = copy / label / "model.safetensors"
        weights = load_file(file)
        next(iter(weights.values())).view(-1)[3] = float("nan")
        save_file(weights, file, metadata={"format": "pt"})
    return copy


def test_models_that_are_none(cli, tmp_path, text_file):
    (tmp_path / "empty").mkdir()
    assert "nowhere" in cli("llc", tmp_path / "nowhere", "--text", text_file).sentence
    assert "config.json" in cli("llc", tmp_path / "empty", "--text", text_file).sentence
    assert "nothing there" in cli("study", tmp_path / "nowhere", "--out", tmp_path / "run").sentence
    assert "checkpoint folders" in cli("study", tmp_path / "empty", "--out", tmp_path / "run").sentence
    assert "config.json" in cli("compress", tmp_path / "empty", "--text", text_file).sentence
    assert not (tmp_path / "run").exists()


def test_text_that_is_missing_or_short(cli, suite, tmp_path):
    (tmp_path / "short.txt").write_text("Too short.", encoding="utf-8")
    alone = shutil.copytree(suite / "step24", tmp_path / "alone")
    assert "none" in cli("llc", alone).sentence
    assert "none" in cli("study", alone, "--out", tmp_path / "run").sentence
    assert "nothing there" in cli("llc", alone, "--text", tmp_path / "nowhere.txt").sentence
    assert "at least one context, 16 tokens" in cli("llc", alone, "--text", tmp_path / "short.txt").sentence
    assert (
        "at least one context"
        in cli("study", alone, "--text", tmp_path / "short.txt", "--out", tmp_path / "run").sentence
    )
    said = cli("train", "--text", tmp_path / "short.txt", "--out", tmp_path / "trained").sentence
    assert "two documents" in said
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "trained").exists()


def test_training_text_too_short_leaves_no_folder(cli, tmp_path):
    (tmp_path / "text").mkdir()
    for i in range(20):
        (tmp_path / "text" / f"{i}.txt").write_text(f"Words number {i}. " * 20, encoding="utf-8")
    asked = ["--context", "4000", "--vocabulary", "260", "--width", "16", "--heads", "2"]
    said = cli("train", "--text", tmp_path / "text", "--out", tmp_path / "suite", *asked).sentence
    assert "at least one context, 4000 tokens" in said
    assert not (tmp_path / "suite").exists()


def test_a_damaged_checkpoint_is_marked_and_the_rest_goes_on(cli, damaged, tmp_path, study_options):
    done = cli("study", damaged, "--out", tmp_path / "run", "--workers", "1", *study_options)
    assert done.code == 0, done.err
    assert "step8 failed: expected finite weights, got 1 NaN" in " ".join(done.out.split())
    rows = {r["label"]: r for r in json.loads((tmp_path / "run" / "summary.json").read_text())["checkpoints"]}
    assert [label for label, row in rows.items() if row["failed"]] == ["step0", "step8"]
    assert all(row["llc"] for label, row in rows.items() if not row["failed"])
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_damaged_model_alone_is_an_error(cli, damaged, tmp_path, llc_options):
    said = cli("llc", damaged / "step8", "--out", tmp_path / "run", *llc_options).sentence
    assert "finite weights" in said
    assert not (tmp_path / "run").exists()
    only = shutil.copytree(damaged, tmp_path / "only", ignore=shutil.ignore_patterns("step4", "step16", "step24"))
    assert "finite weights" in cli("study", only, "--out", tmp_path / "run", *llc_options).sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("no_such_module:task", "No module named 'no_such_module'"),
        ("bad_tasks:missing", "got none of that name"),
        ("bad_tasks:a_value", "got int"),
        ("bad_tasks:number", "to return a bitsandnats Task, got int"),
        ("bad_tasks:breaks", "got KeyError ('no such layer')"),
        ("bad_tasks:needs", "got TypeError"),
        ("bad_tasks:half", "float32 or float64 weights"),
        ("bad_tasks:reduced", "one loss per sample"),
        ("broken_tasks:task", "got RuntimeError (the data are not there)"),
    ],
)
def test_functions_that_give_no_task(cli, module, reference, expected):
    assert expected in cli("llc", reference).sentence
    assert expected in cli("compress", reference).sentence


def test_options_that_a_function_cannot_take(cli, module, text_file):
    assert "no --text beside bad_tasks:make" in cli("llc", "bad_tasks:make", "--text", text_file).sentence
    assert "no --unit" in cli("compress", "bad_tasks:make", "--unit", "token").sentence


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--step-size", "-1"], "step_size"),
        (["--step-size", "nan"], "step_size"),
        (["--gamma", "-3"], "gamma"),
        (["--nbeta", "0"], "nbeta"),
        (["--chains", "0"], "chains"),
        (["--draws", "0"], "draws"),
        (["--burn-in", "-1"], "burn_in"),
        (["--batch-size", "0"], "batch_size"),
        (["--sampler", "sgdl"], "did you mean 'sgld'?"),
        (["--sampler", "rmsprop_sgld(decai=0.9)"], "options of rmsprop_sgld"),
        (["--sampler", "rmsprop_sgld"], "step size"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_sampler_settings_out_of_range(cli, suite, tmp_path, options, expected):
    assert expected in cli("llc", suite / "step24", "--out", tmp_path / "llc", *options).sentence
    assert expected in cli("study", suite, "--out", tmp_path / "run", *options).sentence


@pytest.mark.parametrize(
    ("scheme", "tolerance", "expected"),
    [
        ("quantise", "0.5", "did you mean 'quantize'?"),
        ("quantize(max_abs='median')", "0.5", "max_abs 'optimal' or 'largest'"),
        ("quantize(levels=4)", "0.5", "options of quantize among max_abs, granularity, got levels"),
        ("quantize(4)", "0.5", "name(option=value, …)"),
        ("quantize", "0", "tolerances > 0"),
        ("quantize", "-0.5", "tolerances > 0"),
        ("quantize", "nan", "tolerances > 0"),
        ("quantize", "much", "numbers separated by commas"),
        ("quantize", ",", "tolerances > 0"),
    ],
)
def test_compression_that_cannot_be(cli, suite, tmp_path, scheme, tolerance, expected):
    assert expected in cli("compress", suite / "step24", "--method", scheme, "--tolerance", tolerance).sentence
    asked = ["--schemes", scheme, "--tolerances", tolerance, "--out", tmp_path / "run"]
    assert expected in cli("study", suite, *asked).sentence
    assert not (tmp_path / "run").exists()


def test_folders_that_cannot_be_written(cli, suite, text_file, llc_options):
    for out in (text_file / "run", "/proc/x"):
        commands = (
            ["study", suite, "--workers", "1", *llc_options],
            ["llc", suite / "step24", *llc_options],
            ["compress", suite / "step24"],
            ["train", "--text", text_file, "--width", "16", "--heads", "2", "--vocabulary", "280"],
        )
        for command in commands:
            assert "a folder that can be written at" in cli(*command, "--out", out).sentence


def test_families_and_units_that_are_none(cli, suite):
    assert "samplers, compressors, observables" in cli("ls", "spoons").sentence
    assert "unit token or sequence" in cli("llc", suite / "step24", "--unit", "sample").sentence
    assert "recipe local or" in cli("study", suite, "--recipe", "soup", "--out", "never").sentence


def test_report_of_what_is_no_run(cli, suite, tmp_path, studied):
    assert "run.toml" in cli("report", suite).sentence
    assert "no folder" in cli("report", tmp_path / "nowhere").sentence
    run = shutil.copytree(studied, tmp_path / "run")
    (run / "summary.json").write_text('{"schema": 1, "kin', encoding="utf-8")
    assert "summary.json" in cli("report", run).sentence
    (run / "run.toml").unlink()
    assert "run.toml" in cli("report", run).sentence


def test_usage_errors_are_one_sentence_too(cli, suite):
    for words, expected in (
        (["study", suite], "Missing option '--out'"),
        (["study", suite, "--out", "x", "--gama", "3"], "No such option: --gama"),
        (["study", suite, "--out", "x", "--seed", "-1"], "--seed"),
        (["llc", suite, "--draws", "many"], "--draws"),
        (["stdy", suite], "No such command 'stdy'"),
    ):
        done = cli(*words)
        assert done.code == 2
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert expected in done.err
        assert "--help'" in done.err


def test_an_error_in_a_process_of_its_own(process, tmp_path):
    done = process("llc", tmp_path / "nowhere", "--text", tmp_path / "none.txt")
    assert "nowhere" in done.sentence
    assert done.out == ""
