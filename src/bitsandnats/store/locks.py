"""Who writes to a run folder: locks that name their holder and end with it."""

import contextlib
import errno
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bitsandnats.errors import StoreError, message
from bitsandnats.store.files import unwritable

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

FOLDER = ".locks"
_LOOK_EVERY = 0.1  # seconds
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def locked(
    run: Path, name: str, *, kind: Literal["exclusive", "shared"] = "exclusive", wait: float = 0.0
) -> Iterator[None]:
    """Holds a lock of a run folder while the block runs; it ends with the process, however that ends.

    The lock is the file system's own (`flock`, which Linux turns into a lock of the server on NFS), so one whose
    holder has died is free. Where a file system has none, a file that exactly one process can create takes its place;
    it is recovered if its process has died on this machine, and nothing is shared.

    Args:
        run: the run folder; must exist.
        name: what is locked, in letters that a file name may have.
        kind: `shared` locks exclude exclusive ones only.
        wait: seconds to wait for a holder.

    Raises:
        StoreError: another process holds it (the sentence says which), or the folder cannot be written.
    """
    path = run / FOLDER / name
    try:
        path.parent.mkdir(exist_ok=True)
        held = _system_lock(path, kind, wait)
        if held is None and kind == "exclusive":
            _create(path.with_name(f"{name}.held"), path, wait)
    except OSError as error:
        raise unwritable(run, error) from None
    try:
        yield
    finally:
        if held is not None:
            with contextlib.suppress(OSError):  # the record is for people; closing is what frees the lock
                if kind == "exclusive":
                    os.ftruncate(held, 0)
            os.close(held)
        elif kind == "exclusive":
            path.with_name(f"{name}.held").unlink(missing_ok=True)


def holder(run: Path, name: str) -> str:
    """Who holds a lock, in words: process, machine, since when."""
    found = _record(run / FOLDER / name) or _record(run / FOLDER / f"{name}.held")
    if found is None:
        return "another process"
    return f"process {found['pid']} on {found['host']} since {found['since']}"


def _system_lock(path: Path, kind: str, wait: float) -> int | None:
    """The descriptor that holds the lock; None where the file system has no locks."""
    if fcntl is None:
        return None
    end = time.monotonic() + wait
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while True:
            try:
                how = fcntl.LOCK_EX if kind == "exclusive" else fcntl.LOCK_SH
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    os.close(descriptor)
                    return None
                if error.errno not in _HELD:
                    raise
            if time.monotonic() >= end:
                raise _busy(path)
            time.sleep(_LOOK_EVERY)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    if kind == "exclusive":
        with contextlib.suppress(OSError):  # on a full disk the lock still holds
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _own().encode(), 0)
    return descriptor


def _create(path: Path, shown: Path, wait: float) -> None:
    """Makes the file that stands for a lock, or waits for it."""
    end = time.monotonic() + wait
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            found = _record(path)
            if found is not None and found["host"] == socket.gethostname() and not _alive(found):
                _remove(path, found)
                continue
            if time.monotonic() >= end:
                raise _busy(shown) from None
            time.sleep(_LOOK_EVERY)
            continue
        with os.fdopen(descriptor, "w") as file:
            file.write(_own())
        return


def _remove(path: Path, dead: dict[str, Any]) -> None:
    """Removes a dead process's file, unless another was quicker and the file is already its own."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        if _record(aside) != dead:
            os.rename(aside, path)
        else:
            aside.unlink()


def _busy(path: Path) -> StoreError:
    run, name = path.parent.parent, path.name
    what = "a run folder" if name == "run" else f"the part {name} of a run folder"
    return StoreError(
        message(
            expected=f"{what} that no other process writes to, {run}",
            got=f"one held by {_holders(run, name)}",
            do="wait for it or end it; --shard lets several processes share a study",
        )
    )


def _holders(run: Path, name: str) -> str:
    """The holder of a lock; those of a shared one by the locks that each has to itself."""
    if _record(run / FOLDER / name) is None:
        for other in sorted((run / FOLDER).glob("shard-*")):
            if _record(other) is not None and _is_held(other):
                return f"{other.name.replace('-', ' ')}: {holder(run, other.name)}"
    return holder(run, name)


def _is_held(path: Path) -> bool:
    """Whether a lock is held at this moment."""
    if fcntl is None:
        return True
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _own() -> str:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since, "birth": _birth(os.getpid())})


def _record(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if {"pid", "host", "since"} <= set(found) else None
    except (OSError, ValueError, TypeError):
        return None


def _alive(found: dict[str, Any]) -> bool:
    """Whether the process of a record still runs; a number that was given to another since is told by its birth."""
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return found.get("birth") in (None, _birth(int(found["pid"])))


def _birth(pid: int) -> str | None:
    """When a process began, in the system's own count; None where it does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
