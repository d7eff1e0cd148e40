"""A study split over processes, and a study made again from its run.toml: the numbers are the same to the last bit."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def numbers(run):
    rows = json.loads((run / "summary.json").read_text())["checkpoints"]
    for row in rows:
        row["llc"].pop("seconds")
    return rows


@pytest.fixture(scope="module")
def replayed(studied, tmp_path_factory):
    """What `replay` said, and where it went."""
    out = tmp_path_factory.mktemp("replayed") / "again"
    command = [sys.executable, "-m", "bitsandnats", "replay", str(studied), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240), out


def test_a_run_is_made_again_from_its_own_settings(replayed, studied):
    done, out = replayed
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("identical: ")
    assert done.stdout.endswith(f"report: {out}/report.html\n")
    assert numbers(out) == numbers(studied)
    for file in studied.glob("units/*/*/data.zarr/**/*"):
        if file.is_file() and not file.name.startswith(".z"):
            assert (out / file.relative_to(studied)).read_bytes() == file.read_bytes(), file


def test_a_replay_of_a_replay_says_what_differs(replayed, cli, tmp_path):
    _, out = replayed
    summary = json.loads((out / "summary.json").read_text())
    first = summary["checkpoints"][1]["llc"]
    was, first["llc"] = first["llc"], first["llc"] * (1 + 1e-15)
    (out / "summary.json").write_text(json.dumps(summary))
    toml = (out / "run.toml").read_text()
    assert "[resolved]" in toml
    assert "[series]" in toml
    done = cli("replay", out, "--out", tmp_path / "third", "--json")
    assert done.code == 1
    said = json.loads(done.out)
    assert said["identical"] is False
    assert said["differences"] == [f"step4 llc llc: {first['llc']!r}, now {was!r}"]


def test_a_run_on_named_subsets_is_made_again(cli, suite, study_options, text_file, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    for i in range(3):
        (code / f"{i}.py").write_text(f"def f{i}(x):\n    return x + {i}\n\n\n" * 40)
    out, again = tmp_path / "run", tmp_path / "again"
    named = ["--text", f"code={code}", "--text", f"prose={text_file}", "--context", "16", "--at-most", "2"]
    assert cli("study", suite, "--out", out, "--workers", "1", *named, *study_options).code == 0
    rows = numbers(out)
    assert [list(row["subsets"]) for row in rows] == [["code", "prose"]] * 2
    said = cli("replay", out, "--out", again, "--json")
    assert said.json["identical"], said.json["differences"]
    assert numbers(again) == rows
    told = tomllib.loads((again / "run.toml").read_text())["series"]["text"]
    assert told == [f"code={code}", f"prose={text_file}"]
    (code / "0.py").write_text("x = 1\n" * 100)
    assert cli("replay", out, "--out", tmp_path / "other", "--json").code == 1  # other data, other numbers: said so


def test_shards_of_two_processes_make_the_same_table(cli, suite, studied, study_options, stamps, tmp_path):
    out = tmp_path / "run"
    words = ["study", suite, "--out", out, "--workers", "1", *study_options]
    command = [sys.executable, "-m", "bitsandnats", "--threads", "1", *words, "--shard", "1/2"]
    other = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    mine = cli(*words, "--shard", "2/2")
    said, complaints = other.communicate(timeout=120)
    assert (mine.code, other.returncode, complaints) == (0, 0, "")
    assert ("not measured yet" in mine.out) != ("not measured yet" in said) or "not measured yet" not in mine.out + said
    assert numbers(out) == numbers(studied)
    assert (out / "report.html").is_file()
    before = stamps(out)
    assert cli(*words).code == 0
    assert stamps(out) == before


def test_what_cannot_be_replayed(cli, studied, suite, tmp_path, llc_options, monkeypatch):
    assert "got no folder" in cli("replay", tmp_path / "nowhere", "--out", tmp_path / "a").sentence
    assert "got the run folder itself" in cli("replay", studied, "--out", studied).sentence
    assert cli("llc", suite / "step24", "--out", tmp_path / "llc", *llc_options).code == 0
    said = cli("replay", tmp_path / "llc", "--out", tmp_path / "b").sentence
    assert "expected a study whose settings were chosen" in said
    import bitsandnats as bn

    tasks = {"step24": bn.hf.load_task(suite / "step24")}
    settings = {"chains": 1, "draws": 4, "gamma": 1000.0, "step_size": 1e-5, "nbeta": 30.0, "mode": "loop"}
    bn.study(tasks, settings=settings, tolerances=[0.5], out=tmp_path / "made")
    said = cli("replay", tmp_path / "made", "--out", tmp_path / "c").sentence
    assert "got one of Tasks made in Python" in said
    assert not Path(tmp_path / "c").exists()
