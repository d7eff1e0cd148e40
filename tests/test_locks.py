"""Locks of a run folder: who holds them is said, and those of the dead are free."""

import json
import os
import socket

import pytest

from bitsandnats.errors import StoreError
from bitsandnats.store import locked, locks

DEAD = {"pid": 4194300, "host": socket.gethostname(), "since": "2026-01-01T00:00:00+00:00", "birth": "1"}


@pytest.fixture(params=["of the file system", "by a file"])
def manner(request, monkeypatch):
    """With the file system's locks, and without any."""
    if request.param == "by a file":
        monkeypatch.setattr(locks, "fcntl", None)
    return request.param


def take(folder, name="run", **options):
    with locked(folder, name, **options):
        pass


def test_one_holder_at_a_time_and_the_other_is_told_who(manner, tmp_path):
    with locked(tmp_path, "run"):
        with pytest.raises(StoreError) as refused:
            take(tmp_path)
        take(tmp_path, "another")
    said = str(refused.value)
    assert said.startswith(
        f"expected a run folder that no other process writes to, {tmp_path}, got one held by process "
    )
    assert f"process {os.getpid()} on {socket.gethostname()} since 20" in said
    assert "; wait for it or end it" in said
    take(tmp_path)


def test_an_error_frees_the_lock(manner, tmp_path):
    with pytest.raises(KeyError), locked(tmp_path, "run"):
        raise KeyError
    take(tmp_path)


def test_the_lock_of_a_dead_process_is_free(manner, tmp_path):
    (tmp_path / ".locks").mkdir()
    for name in ("run", "run.held"):
        (tmp_path / ".locks" / name).write_text(json.dumps(DEAD))
    take(tmp_path)
    reborn = {**DEAD, "pid": os.getpid()}  # the number of the dead was given to another process
    (tmp_path / ".locks" / "run.held").write_text(json.dumps(reborn))
    take(tmp_path)


def test_without_locks_of_the_file_system_another_machine_is_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "run.held").write_text(json.dumps({**DEAD, "host": "elsewhere"}))
    with pytest.raises(StoreError, match=r"process 4194300 on elsewhere since 2026-01-01"):
        take(tmp_path)


def test_shards_share_and_keep_the_whole_out(tmp_path):
    with locked(tmp_path, "run", kind="shared"), locked(tmp_path, "shard-1-of-2"):
        with locked(tmp_path, "run", kind="shared"), locked(tmp_path, "shard-2-of-2"):
            pass
        with pytest.raises(StoreError, match=rf"got one held by shard 1 of 2: process {os.getpid()} on "):
            take(tmp_path)
        with pytest.raises(StoreError, match="expected the part shard-1-of-2 of a run folder that no other process"):
            take(tmp_path, "shard-1-of-2")
    take(tmp_path)


def test_a_lock_can_be_waited_for(tmp_path, monkeypatch):
    held = locked(tmp_path, "run")
    held.__enter__()
    monkeypatch.setattr(locks.time, "sleep", lambda _: held.__exit__(None, None, None))
    take(tmp_path, wait=10.0)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / ".locks").write_text("a file")
    with pytest.raises(StoreError, match="expected a folder that can be written"):
        take(tmp_path)
