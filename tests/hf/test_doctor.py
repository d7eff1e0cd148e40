"""The doctor: a healthy checkpoint, and one planted fault for each check."""

import dataclasses
import json

import pytest
import torch
from typer.testing import CliRunner

import bitsandnats as bn
from bitsandnats.cli.app import app
from bitsandnats.recipes import doctor
from bitsandnats.target import micro_batch


@pytest.fixture
def task(checkpoint, suite_folder):
    tokens, _ = bn.hf.suite_contexts(suite_folder)
    return bn.hf.load_task(checkpoint, text=tokens.long())


def _statuses(found):
    return {finding.check: finding.status for finding in found.findings}


def _tokens(task):
    return task.batch(torch.arange(len(task.data)))


def test_healthy(task):
    found = doctor.examine(task, tokens=_tokens(task))
    assert found.healthy, [f.said for f in found.findings]
    assert set(_statuses(found)) == {"determinism", "precision", "text", "order", "chains", "memory"}
    assert found.precision in ("float32", "bfloat16")
    assert found.batch_size == found.micro_batch == 16


def test_other_tokenizer(task):
    """Tokens renamed at random, as another tokenizer would: worse than guessing, and order no longer matters."""
    names = torch.randperm(270, generator=torch.Generator().manual_seed(0))
    tokens = names[_tokens(task)]
    found = _statuses(doctor.examine(task.on(tokens), tokens=tokens))
    assert found["text"] == "bad"
    assert found["order"] == "bad"


def test_random_gradient(task):
    """A forward pass that draws numbers: not refused here, since the task was made before."""
    generator = torch.Generator().manual_seed(0)

    def noisy(params, batch):
        return task.loss(params, batch) * (1 + 0.1 * torch.rand(1, generator=generator))

    found = doctor.examine(dataclasses.replace(task, loss=noisy), tokens=_tokens(task))
    assert _statuses(found)["determinism"] == "bad"
    assert not found.healthy


def test_rounding_that_matters(task):
    """A loss with numbers near 100 whose differences from it count: bfloat16 has eight bits."""

    def fragile(params, batch):
        weights = next(iter(params.values())).flatten()[:64, None]
        return task.loss(params, batch) + (torch.ones(1, 64) @ (100 + weights) - 6400).sum()

    found = doctor.examine(dataclasses.replace(task, loss=fragile), tokens=_tokens(task))
    assert found.precision == "float32"


def test_too_little_memory(task, monkeypatch):
    monkeypatch.setattr(micro_batch, "_SMALL", 0)
    for room in (micro_batch, doctor):
        monkeypatch.setattr(room, "total_memory", lambda _: 1e5)
    found = doctor.examine(task, tokens=_tokens(task))
    assert _statuses(found)["memory"] == "bad"
    assert found.micro_batch == 1


def test_command_line(checkpoint, text_file, tmp_path):
    """Findings and exit code; dropout in the configuration is off in evaluation, so what is planted is the text."""
    run = CliRunner().invoke(app, ["doctor", str(checkpoint), "--text", str(text_file), "--json"])
    record = json.loads(run.output)
    assert run.exit_code == (0 if record["healthy"] else 1)
    run = CliRunner().invoke(app, ["doctor", str(tmp_path / "none"), "--text", str(text_file)])
    assert run.exit_code == 1
    assert run.output.startswith("BAD ")
    assert "Traceback" not in run.output


MODELS = """
import torch
import bitsandnats as bn


class Branching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(4, 2)

    def forward(self, x):
        out = self.map(x)
        return out if out.detach().abs().max().item() < 1e3 else out / 2


def task(net):
    generator = torch.Generator().manual_seed(0)
    data = (torch.randn(20, 4, generator=generator), torch.randint(2, (20,), generator=generator))
    return bn.Task.from_module(net, bn.losses.cross_entropy(), data)


def sound():
    return task(torch.nn.Linear(4, 2))


def branching():
    return task(Branching())


def dropout():
    return task(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)).train())
"""


@pytest.fixture
def diagnosed(tmp_path, monkeypatch):
    """The record of `bitsandnats doctor` on a function in a module of the working folder, and its exit code."""
    (tmp_path / "planted.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(name):
        done = CliRunner().invoke(app, ["doctor", f"planted:{name}", "--json"])
        record = json.loads(done.output)
        return {f["check"]: f for f in record["findings"]}, done.exit_code

    return run


def test_a_model_whose_chains_cannot_run_at_once(diagnosed):
    """A branch on numbers has no rule for several weights: said, and the chains run one after another."""
    found, code = diagnosed("branching")
    assert code == 0
    assert found["chains"]["status"] == "note"
    assert found["chains"]["figures"] == {"vmap": 0.0}
    assert "cannot be evaluated at several weights at once" in found["chains"]["said"]
    assert found["determinism"]["status"] == "good"
    settings = {"step_size": 1e-4, "gamma": 1.0, "nbeta": 10.0, "chains": 2, "draws": 2, "batch_size": 4}
    import planted  # pyright: ignore[reportMissingImports]

    assert bn.estimate_llc(planted.branching(), settings=bn.Settings(**settings)).tree.attrs["mode"] == "loop"
    found, _ = diagnosed("sound")
    assert found["chains"]["status"] == "good"


def test_a_model_with_dropout_left_on(diagnosed):
    found, code = diagnosed("dropout")
    assert code == 1
    assert list(found) == ["loading"]
    assert found["loading"]["status"] == "bad"
    assert "module.eval()" in found["loading"]["said"]


def test_dropout_in_the_gradient_alone(task):
    """Losses repeat, so the task is made; the gradient does not."""

    def dropped(params, batch):
        losses = task.loss(params, batch)
        return torch.nn.functional.dropout(losses, 0.5, training=torch.is_grad_enabled())

    with torch.random.fork_rng():
        found = doctor.examine(dataclasses.replace(task, loss=dropped), tokens=_tokens(task))
    assert _statuses(found)["determinism"] == "bad"
    assert "turn dropout off" in next(f.said for f in found.findings if f.check == "determinism")
