"""Run folders that are damaged, of other settings, or of a study that was interrupted or killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def run(studied, tmp_path):
    """A copy of a finished study, to be damaged at will."""
    return shutil.copytree(studied, tmp_path / "run")


@pytest.fixture
def again(cli, suite, run, study_options):
    """The same command once more."""
    return lambda *more: cli("study", suite, "--out", run, "--workers", "1", *study_options, *more)


def numbers(run):
    rows = json.loads((run / "summary.json").read_text())["checkpoints"]
    return [(row["label"], row["loss"], row["llc"]["llc"], row["critical"], row["failed"]) for row in rows]


def test_a_folder_without_its_settings(again, run):
    (run / "run.toml").unlink()
    assert "run.toml" in again().sentence


def test_a_folder_with_unreadable_settings(again, run):
    (run / "run.toml").write_text("[settings\n", encoding="utf-8")
    assert "a readable" in again().sentence


def test_a_folder_of_other_settings(again, run):
    before = (run / "run.toml").read_text()
    said = again("--draws", "9", "--seed", "2").sentence
    assert "given.draws = 9 where the folder has 8" in said
    assert "seed = 2 where the folder has 0" in said
    assert (run / "run.toml").read_text() == before


def test_a_run_of_another_model(cli, suite, tmp_path, llc_options):
    assert cli("llc", suite / "step24", "--out", tmp_path / "llc", *llc_options).code == 0
    said = cli("llc", suite / "step16", "--out", tmp_path / "llc", *llc_options).sentence
    assert "model = 'step16' where the folder has 'step24'" in said
    assert cli("compress", suite / "step24", "--out", tmp_path / "bits").code == 0
    said = cli("compress", suite / "step24", "--tolerance", "0.2", "--out", tmp_path / "bits").sentence
    assert "tolerances = [0.2] where the folder has [0.5]" in said


def test_damaged_units_are_measured_again_and_the_others_kept(again, run, stamps):
    before, known = stamps(run), numbers(run)
    (run / "summary.json").write_text('{"schema', encoding="utf-8")
    (run / "units" / "step4" / "llc" / "unit.json").unlink()
    (run / "units" / "step8" / "quantize" / "unit.json").write_text("{", encoding="utf-8")
    chunk = run / "units" / "step16" / "llc" / "data.zarr" / "draws" / "loss" / "0.0"
    chunk.unlink()
    part = run / "units" / "step24" / "llc" / "data.zarr" / "draws" / "baseline" / "0.0"
    part.write_bytes(part.read_bytes()[:-3])
    (run / "units" / "step4" / ".llc.0123abcd").mkdir()
    done = again()
    assert done.code == 0, done.err
    after = stamps(run)
    changed = {name for name in before if after[name] != before[name]}
    redone = ("step4/llc", "step8/quantize", "step16/llc", "step24/llc")
    assert changed == {f"units/{name}/unit.json" for name in redone}
    assert numbers(run) == known
    assert not (run / "units" / "step4" / ".llc.0123abcd").exists()


def test_a_damaged_unit_is_named_by_the_report(cli, run):
    (run / "units" / "step16" / "llc" / "data.zarr" / "draws" / "loss" / "0.0").unlink()
    assert cli("report", run).code == 0
    assert "step16" in (run / "report.html").read_text()


SLOW = [
    *("--chains", "2", "--draws", "80", "--burn-in", "4", "--batch-size", "4", "--gamma", "1000"),
    *("--tolerances", "0.5", "--at-most", "3"),
]


def start(suite, out, workers):
    """A study in a process group of its own, as a terminal starts it."""
    words = ["--threads", "1", "study", suite, "--out", out, "--workers", workers, *SLOW]
    return subprocess.Popen(
        [sys.executable, "-m", "bitsandnats", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def alive(group):
    """Processes of a group that have not ended."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split() if entry.isdigit() else None
        except OSError:
            continue
        if fields and int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry))
    return found


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def to_group(process):
    os.killpg(process.pid, signal.SIGINT)


def to_parent(process):
    os.kill(process.pid, signal.SIGINT)


def kill_parent(process):
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize(("workers", "interrupt"), [(1, to_group), (2, to_group), (2, kill_parent)])
def test_an_ended_study_goes_on_where_it_stopped(cli, suite, tmp_path, stamps, workers, interrupt):
    out = tmp_path / "run"
    process = start(suite, out, workers)
    wait_until(lambda: any("llc" in name for name in stamps(out)) or process.poll() is not None, 90)
    interrupt(process)
    said, complaints = process.communicate(timeout=30)
    assert said == ""
    if interrupt is kill_parent:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert complaints == (
            "interrupted: what is finished is kept in the run folder, and the same command goes on from there\n"
        )
    wait_until(lambda: not alive(process.pid), 10)
    kept = stamps(out)
    assert 1 <= sum("llc" in name for name in kept) < 3
    done = cli("study", suite, "--out", out, "--workers", "1", *SLOW)
    assert done.code == 0, done.err
    after = stamps(out)
    assert {name: after[name] for name in kept} == kept
    assert sum("llc" in name for name in after) == 3
    assert len(json.loads((out / "summary.json").read_text())["checkpoints"]) == 3


@pytest.mark.parametrize(("moment", "interrupt"), [(0.5, to_group), (2.0, to_group), (6.0, to_parent)])
def test_an_interrupt_at_any_moment_is_one_sentence(suite, tmp_path, moment, interrupt):
    process = start(suite, tmp_path / "run", 2)
    time.sleep(moment)
    interrupt(process)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130, complaints
    assert complaints.startswith("interrupted: ")
    assert complaints.count("\n") == 1
    assert alive(process.pid) == []
