"""`plan` in front of a command, as it is typed."""

import json

from typer.testing import CliRunner

from bitsandnats.cli.app import app

SOURCE = """
import torch
import bitsandnats as bn


def task():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    return bn.Task.from_module(net, bn.losses.gaussian(), (torch.randn(60, 3), torch.randn(60, 1)))
"""
SAMPLING = ["--step-size", "1e-4", "--gamma", "10", "--nbeta", "20", "--chains", "2", "--draws", "20"]


def test_plan_of_a_command(tmp_path, monkeypatch):
    """Then the command itself, after which what it achieved stands beside the plan."""
    (tmp_path / "planned_models.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [
        "llc",
        "planned_models:task",
        *SAMPLING,
        "--sampler",
        "sgld",
        "--batch-size",
        "16",
        "--out",
        str(tmp_path / "run"),
    ]
    found = CliRunner().invoke(app, ["plan", "--json", *words])
    assert found.exit_code == 0, found.exception
    first = json.loads(found.output)
    assert first["achieved"] is None
    names = [stage["name"] for stage in first["plan"]["stages"]]
    assert names.count("draws") == 1
    assert first["plan"]["stages"][names.index("draws")]["passes"] == 40
    assert CliRunner().invoke(app, words).exit_code == 0
    again = json.loads(CliRunner().invoke(app, ["plan", "--json", *words]).output)
    assert again["achieved"]["flops_per_second"] > 0
    shown = CliRunner().invoke(app, ["plan", "compress", "planned_models:task"]).output
    assert "peak memory" in shown


def test_refusals():
    for words, said in (
        (["plan", "demo", "x"], "llc, study, compress"),
        (["plan", "--config", "config.json", "llc", "x"], "--gpu"),
        (["plan", "llc", "x", "--no-such-option"], "No such option"),
    ):
        found = CliRunner().invoke(app, words)
        assert found.exit_code != 0
        assert said in f"{found.exception} {found.output}"
