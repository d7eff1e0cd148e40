"""A study that is killed, starved of disk or memory, split, or fed a broken checkpoint loses nothing."""

import errno
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bitsandnats as bn
from bitsandnats.errors import InputError, StoreError
from bitsandnats.recipes import checkpoint, resolved
from bitsandnats.recipes.series import Series
from bitsandnats.run import blocks, choices
from bitsandnats.store import locked

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "nbeta": 100.0, "gamma": 50.0, "step_size": 1e-4, "batch_size": 16, "chains": 2, "burn_in": 2, "draws": 20,
    "mode": "loop",
}  # fmt: skip


@pytest.fixture(scope="module")
def tasks(build_mlp):
    """Three snapshots of a small network."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(64, 2, generator=generator) * 4 - 2
    task = bn.Task.from_module(build_mlp(2, 6, 1), bn.losses.gaussian(0.5), (x, x[:, :1].sin() * x[:, 1:]))
    return {f"step{s}": task.at({k: w * (1 - s / 100) for k, w in task.center.items()}) for s in (10, 20, 30)}


def study(tasks, out, **options):
    return bn.study(tasks, out=out, **{"settings": SETTINGS, "tolerances": (0.1, 0.5), **options})


def numbers(run):
    """The table, without what tells the time."""
    rows = json.loads(json.dumps(run.summary()["checkpoints"]))
    for row in rows:
        (row["llc"] or {}).pop("seconds", None)
    return rows


def stamps(run):
    return {str(p): p.stat().st_mtime_ns for p in run.path.glob("units/*/*/unit.json")}


@pytest.fixture(scope="module")
def whole(tasks, tmp_path_factory):
    """The study left alone."""
    return study(tasks, tmp_path_factory.mktemp("study") / "whole")


def series_of(tasks, faults):
    """A series of which some checkpoints cannot be loaded."""

    def loader(label):
        def load():
            if label in faults:
                raise faults[label]
            return tasks[label]

        return load

    return Series({label: loader(label) for label in tasks}, None, {label: int(label[4:]) for label in tasks})


def test_twenty_kills_lose_nothing():
    """The seed varies with the text of this file, so that the moments do now and then."""
    seed = str(len(Path(__file__).read_bytes()))
    command = [sys.executable, ROOT / "benchmarks" / "kill.py", "--kills", "20", "--small", "--json", "--seed", seed]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280)
    found = json.loads(done.stdout)
    assert (found["kills"], found["lost"], found["different"], found["wrong_ends"]) == (20, [], [], []), done.stderr
    assert done.returncode == 0
    assert found["rounds"] >= 2


@pytest.mark.parametrize("at", [0, 1, 2, 5])
def test_a_full_disk_ends_the_study_and_it_goes_on_when_there_is_room(at, tasks, whole, tmp_path, monkeypatch):
    import xarray as xr

    write, written = xr.DataTree.to_zarr, []

    def full(tree, store, **options):
        if len(written) == at:
            write(tree, store, **options)  # a part is there already
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(store)
        return write(tree, store, **options)

    with monkeypatch.context() as patch:
        patch.setattr(xr.DataTree, "to_zarr", full)
        with pytest.raises(StoreError, match=r"got No space left on device; make room and run the same command again"):
            study(tasks, tmp_path / "run")
    run = bn.open_run(tmp_path / "run")
    kept = stamps(run)
    assert len(kept) == at
    assert not list(run.path.glob("units/*/.*"))
    assert numbers(study(tasks, run.path)) == numbers(whole)
    assert {name: stamps(run)[name] for name in kept} == kept


def test_no_room_for_the_table(tasks, whole, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bitsandnats.store.files.os.fsync", full)
        with pytest.raises(StoreError, match="No space left on device; make room"):
            study(tasks, tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == [".locks"]
    assert numbers(study(tasks, tmp_path / "run")) == numbers(whole)


def test_a_checkpoint_without_memory_is_marked_and_made_later(tasks, whole, tmp_path):
    run = study(series_of(tasks, {"step30": MemoryError("2 GiB")}), tmp_path / "run")
    assert [row["failed"] for row in run.summary()["checkpoints"]] == [None, None, "MemoryError: 2 GiB"]
    assert "raise faults[label]" in (run.path / "units" / "step30" / "failed.txt").read_text()
    bn.write_report(run.path, images=False)
    before = stamps(run)
    assert numbers(study(series_of(tasks, {}), run.path)) == numbers(whole)
    assert not (run.path / "units" / "step30" / "failed.txt").exists()
    again = stamps(run)
    assert {name: again[name] for name in before if "_series" not in name} == {
        name: at for name, at in before.items() if "_series" not in name
    }


def test_errors_that_nobody_foresaw_mark_their_cell(tasks, whole, tmp_path, monkeypatch):
    measure, search = checkpoint.measure_llc, checkpoint.critical_points

    def llc(task, *rest, **options):
        if task is tasks["step10"]:
            raise RuntimeError("CUDA out of memory.\n  Tried to allocate")
        return measure(task, *rest, **options)

    def critical(compressor, task, *rest, **options):
        if torch.equal(task.center["0.weight"], tasks["step20"].center["0.weight"]):
            raise ZeroDivisionError
        return search(compressor, task, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "measure_llc", llc)
        patch.setattr(checkpoint, "critical_points", critical)
        run = study(tasks, tmp_path / "run")
    first, second, third = run.summary()["checkpoints"]
    assert first["failed"] == "RuntimeError: CUDA out of memory. Tried to allocate"
    assert first["llc"] is None
    assert first["critical"]["quantize"]
    assert second["unmeasured"] == {"quantize": "ZeroDivisionError"}
    assert second["llc"]["llc"] is not None
    assert third == whole.summary()["checkpoints"][2] | {"llc": {**third["llc"]}}
    bn.write_report(run.path, images=False)
    assert numbers(study(tasks, run.path)) == numbers(whole)


def test_weights_that_are_not_numbers_spoil_their_checkpoint_alone(tasks, whole, tmp_path):
    broken = {k: torch.full_like(w, math.nan) for k, w in tasks["step20"].center.items()}
    run = study({**tasks, "step20": tasks["step20"].at(broken)}, tmp_path / "run")
    rows = run.summary()["checkpoints"]
    assert numbers(run)[0] == numbers(whole)[0]
    assert numbers(run)[2] == numbers(whole)[2]
    assert rows[1]["failed"] or rows[1]["llc"]["verdict"]["status"] == "not usable"
    bn.write_report(run.path, images=False)


def test_what_the_clock_decides_is_decided_once(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(resolved, "choose_mode", lambda *_: "vmap")
    options = {"settings": {k: v for k, v in SETTINGS.items() if k != "mode"}}
    run = study(tasks, tmp_path / "run", **options)
    before = stamps(run)
    assert run.settings()["resolved"]["mode"] == "vmap"
    assert run.tree("step10", "llc").attrs["mode"] == "vmap"
    monkeypatch.setattr(resolved, "choose_mode", lambda *_: "loop")
    study(tasks, run.path, **options)
    assert stamps(run) == before


def test_what_memory_decides_is_decided_once(tasks, tmp_path, monkeypatch):
    """Passes round one by one: with other memory free, a study taken up again must use those that it began with."""
    room = iter([5, None, 3])  # as memory holds at each of the three checkpoints that settings are chosen by

    def free(*_, **__):
        return next(room)

    monkeypatch.setattr(choices, "choose_micro_batch", free)
    run = study(tasks, tmp_path / "run")
    assert run.settings()["resolved"]["micro_batch"] == 3
    assert run.tree("step30", "llc").attrs["micro_batch"] == 3
    before, kept = stamps(run), numbers(run)
    run.remove("step30", "llc")
    study(tasks, run.path)
    assert numbers(run) == kept
    assert {name for name, at in stamps(run).items() if before[name] != at} == {
        str(run.unit_folder("step30", "llc") / "unit.json")
    }
    monkeypatch.setattr(choices, "choose_micro_batch", lambda *_, **__: None)
    whole = study(tasks, tmp_path / "whole")
    assert whole.settings()["resolved"]["micro_batch"] == "whole"
    assert whole.tree("step30", "llc").attrs["micro_batch"] == 16
    assert numbers(whole) != kept


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_chains_that_were_finished_are_not_drawn_again(mode, tasks, tmp_path, monkeypatch):
    import bitsandnats.run as room

    monkeypatch.setattr(blocks, "_WORTH_KEEPING", 0.0)
    one = {"step10": tasks["step10"]}
    options = {"settings": {**SETTINGS, "chains": 3, "mode": mode}}
    whole = study(one, tmp_path / "whole", **options)
    walk, walked = room._run_group, []

    def counted(target, sampler, settings, group, *rest):
        walked.append(group)
        return walk(target, sampler, settings, group, *rest)

    def stop(stage, done, total):
        if mode == "loop" and stage == "checkpoints" and done > 700:
            raise KeyboardInterrupt

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "_run_group", counted)
    with monkeypatch.context() as patch:
        if mode == "vmap":
            patch.setattr("bitsandnats.recipes.llc.with_controls", fail)
        with pytest.raises(KeyboardInterrupt):
            study(one, tmp_path / "run", progress=stop, **options)
    begun = len(walked)
    kept = list((tmp_path / "run" / "units" / "step10").glob("llc.chains-*"))
    assert len(kept) == (2 if mode == "loop" else 1)
    run = study(one, tmp_path / "run", **options)
    assert walked[begun:] == ([[2]] if mode == "loop" else [])
    assert numbers(run) == numbers(whole)
    for group in ("draws", "burn_in"):
        assert run.tree("step10", "llc")[group].dataset.identical(whole.tree("step10", "llc")[group].dataset)
    assert not list(run.path.glob("units/*/llc.chains-*"))


def test_observables_and_acceptances_come_back_as_they_were(tasks, tmp_path, monkeypatch):
    from bitsandnats.run import sample
    from bitsandnats.settings import settings_from
    from bitsandnats.store import content_key, create_run

    monkeypatch.setattr(blocks, "_WORTH_KEEPING", 0.0)
    task, settings = tasks["step10"], settings_from(SETTINGS)
    watched = {"distance": "moments", "weights": "thin(5)"}
    kept = blocks.StoredBlocks(create_run(tmp_path, {}, provenance={}), "a", content_key(task, {}))
    first = sample(task, settings, observables=watched, blocks=kept)
    monkeypatch.setattr("bitsandnats.run._run_group", None)
    again = sample(task, settings, observables=watched, blocks=kept)
    for group in ("draws", "burn_in", "observables"):
        assert again[group].dataset.identical(first[group].dataset)
    assert again.attrs["mala_acceptance"] == first.attrs["mala_acceptance"]


def test_shards_make_the_same_table(tasks, whole, tmp_path):
    out = tmp_path / "run"
    first = study(tasks, out, shard="1/2").summary()
    assert [row["label"] for row in first["checkpoints"]] == ["step10", "step30"]
    assert first["pending"] == ["step20"]
    with locked(out, "run", kind="shared"):  # of another shard at work
        run = study(tasks, out, shard="2/2")
    assert numbers(run) == numbers(whole)
    assert "pending" not in run.summary()
    before = stamps(run)
    assert numbers(study(tasks, out)) == numbers(whole)
    assert stamps(run) == before


def test_shards_of_another_series_are_not_in_the_table(tasks, tmp_path):
    study(tasks, tmp_path / "run", shard="1/2")
    moved = {label: task.at({k: 1.01 * w for k, w in task.center.items()}) for label, task in tasks.items()}
    rows = study(moved, tmp_path / "run", shard="2/2").summary()["checkpoints"]
    assert [row["label"] for row in rows] == ["step20"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", ""])
def test_what_is_no_shard(shard, tasks, tmp_path):
    with pytest.raises(InputError, match="expected a shard i/n with 1 ≤ i ≤ n"):
        study(tasks, tmp_path / "run", shard=shard)
    assert not (tmp_path / "run").exists()


def test_more_shards_than_checkpoints(tasks, tmp_path):
    with pytest.raises(InputError, match="expected a shard of 3 checkpoints, got shard 4 of 4; use at most 3 shards"):
        study(tasks, tmp_path / "run", shard="4/4")


def test_two_studies_of_one_folder(tasks, whole):
    before = numbers(whole)
    with (
        locked(whole.path, "run"),
        pytest.raises(
            StoreError, match=r"no other process writes to, .*whole, got one held by process \d+ on \S+ since"
        ),
    ):
        study(tasks, whole.path)
    with locked(whole.path, "shard-1-of-2"), pytest.raises(StoreError, match=r"expected the part shard-1-of-2"):
        study(tasks, whole.path, shard="1/2")
    assert numbers(whole) == before


def test_two_writers_of_one_unit(tasks, whole):
    """Units are replaced as wholes, whoever comes second."""
    from bitsandnats.store import content_key
    from bitsandnats.store.run import _put

    tree = whole.tree("step10", "loss")
    for _ in range(2):
        whole.finish("step10", "loss", content_key(tasks["step10"], {}), tree)
    final = whole.unit_folder("step10", "loss")
    made = final.with_name(".made")
    made.mkdir()
    (made / "new").touch()
    _put(made, final)
    assert [p.name for p in final.iterdir()] == ["new"]
    assert not list(final.parent.glob(".*"))
