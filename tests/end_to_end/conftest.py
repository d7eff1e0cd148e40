"""A tiny suite trained once, and the command line: called in this process, or as one of its own where it must be."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from bitsandnats.cli import main
from bitsandnats.hf import TrainOptions, train_suite

STEPS = (0, 4, 8, 16, 24)
SHORT = [
    "--chains",
    "2",
    "--draws",
    "8",
    "--burn-in",
    "4",
    "--batch-size",
    "4",
    "--gamma",
    "1000",
    "--step-size",
    "1e-5",
]
STUDY = [*SHORT, "--tolerances", "0.1,0.5"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of an error that the user can mend."""
        assert self.code == 1, (self.code, self.err)
        assert self.err.startswith("error: expected ")
        assert self.err.count("\n") == 1
        assert ", got " in self.err
        assert "; " in self.err
        assert "Traceback" not in self.err + self.out
        return self.err.strip()

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command in this process."""

    def run(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["bitsandnats", "--threads", "1", *map(str, words)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


def environment() -> dict[str, str]:
    """That of a process of its own: one thread, no terminal's width."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return {**kept, "OMP_NUM_THREADS": "1"}


def run_process(*words: str | Path, timeout: float = 120, folder: Path | None = None) -> Done:
    """Runs a command as a process of its own."""
    command = [sys.executable, "-m", "bitsandnats", "--threads", "1", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment(), cwd=folder)
    return Done(done.returncode, done.stdout, done.stderr)


def text(lines: int, seed: int) -> str:
    """Lines with enough repetition for a small tokenizer to learn from."""
    animals = ("cat", "dog", "bird", "horse", "fish")
    places = ("tree", "house", "river", "garden")
    said = (
        f"Line {seed + i}: the {animals[i % 5]} sat by the {places[i * i % 4]} and saw {i * 7 % 11} more of them."
        for i in range(lines)
    )
    return "\n\n".join(said) + "\n"


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five checkpoints of a tiny language model."""
    options = TrainOptions(
        layers=1,
        width=16,
        heads=2,
        context=16,
        vocabulary=300,
        steps=24,
        batch_size=8,
        warmup=4,
        checkpoints=STEPS[:-1],
        evaluation_items=8,
    )
    documents = [text(30, 100 * i) for i in range(12)]
    return train_suite(tmp_path_factory.mktemp("suite") / "suite", options, documents[:10], documents[10:])


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory, suite: Path) -> Path:
    """A study of the suite by one process."""
    folder = tmp_path_factory.mktemp("studied") / "run"
    done = run_process("study", suite, "--out", folder, "--workers", "1", *STUDY)
    assert done.code == 0, done.err
    assert done.err == ""
    return folder


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(text(60, 0), encoding="utf-8")
    return path


@pytest.fixture
def study_options() -> list[str]:
    """Settings of a study that takes seconds."""
    return list(STUDY)


@pytest.fixture
def llc_options() -> list[str]:
    """Settings of an estimate that takes a second."""
    return list(SHORT)


@pytest.fixture
def process() -> Callable[..., Done]:
    """Runs a command as a process of its own."""
    return run_process


@pytest.fixture
def stamps() -> Callable[[Path], dict[str, int]]:
    """When each unit of a run was finished."""
    return lambda run: {str(p.relative_to(run)): p.stat().st_mtime_ns for p in sorted(run.glob("units/*/*/unit.json"))}
