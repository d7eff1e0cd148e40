"""The examples, run as a reader would run them; the skeletons, installed as another package's algorithms."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_regression_finds_the_exact_answer(tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "regression_llc.py"), cwd=tmp_path)
    assert "exact at this step too" in said


def test_digits_study_writes_a_report(tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "digits_study.py"), str(tmp_path / "run"), cwd=tmp_path)
    assert "R² of critical n_q" in said
    assert (tmp_path / "run" / "report.html").is_file()


def test_your_own_loss_ignores_padding(tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "your_own_loss.py"), cwd=tmp_path)
    assert "unit token" in said
    assert "λ̂ = " in said


@pytest.mark.parametrize("name", ["regression_llc", "digits_study", "your_own_loss"])
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("name", ["sampler", "compressor", "observable"])
def test_skeleton_passes_its_own_truth_test(name: str, tmp_path: Path) -> None:
    run(str(EXAMPLES / "skeletons" / f"{name}.py"), cwd=tmp_path)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for the path that looks as if the skeletons' package were installed in it."""
    project = tomllib.loads((EXAMPLES / "skeletons" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (tmp_path / "bitsandnats_skeletons").symlink_to(EXAMPLES / "skeletons")
    metadata = tmp_path / "bitsandnats_skeletons-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("family", "name"),
    [("samplers", "leimkuhler_matthews"), ("compressors", "keep_largest"), ("observables", "squared_distances")],
)
def test_skeletons_are_listed(family: str, name: str, installed: Path) -> None:
    assert name in run("-m", "bitsandnats", "ls", family, cwd=installed, path=installed)


_USE = """
import bitsandnats as bn
from bitsandnats import compressors
from bitsandnats.critical import critical_point
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.toys import quadratic

task = quadratic([1.0] * 40)
settings = Settings(
    sampler="leimkuhler_matthews", step_size=0.01, gamma=10.0, nbeta=90.0, chains=4, burn_in=100, draws=1500
)
estimate = bn.estimate_llc(task, settings=settings)
exact = 0.5 * 40 * 90 / 100
assert abs(estimate.llc - exact) < 4 * estimate.se, estimate
assert estimate.se < 0.02 * exact

tree = sample(task, settings, observables={"squared_distances": "moments"})
mean = float(tree["observables"].dataset["squared_distances_mean"].mean())
assert abs(mean - 40 / 100) < 0.02, mean

moved = task.at({"w": task.center["w"] + 1.0})
point = critical_point(compressors.registry.build("keep_largest")(), moved, tolerance=0.5)
print(point.level, point.excess_loss)
"""


def test_skeletons_work_by_name(installed: Path) -> None:
    run("-c", _USE, cwd=installed, path=installed)
