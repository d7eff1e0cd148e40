"""The command line's page lists every experiment with exactly its options."""

import re
from pathlib import Path

import typer

from bitsandnats.cli.app import app
from bitsandnats.experiments import registry

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_experiment_is_a_command_and_documented_with_its_options():
    commands = typer.main.get_command(app).commands["reproduce"].commands
    assert set(commands) == set(registry.entries())
    section = re.search(r"^## reproduce\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)[1]
    own = dict(re.findall(r"^### ([\w-]+)\n(.*?)(?=^### |\Z)", section, re.DOTALL | re.MULTILINE))
    assert set(own) == set(commands)
    for name, command in commands.items():
        rows = re.findall(r"^\| (`--.*?) \|", own[name], re.MULTILINE)
        said = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
        assert said == {o for p in command.params for o in p.opts if o.startswith("--")} - {"--help"}
        assert f"bitsandnats reproduce {name}" in own[name]
