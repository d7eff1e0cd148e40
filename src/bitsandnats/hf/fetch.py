"""Models fetched when they are needed or before, and given up again: only what was fetched for a run."""

import json
import os
import re
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitsandnats.errors import BitsAndNatsError, ModelError, message
from bitsandnats.hf import hub
from bitsandnats.hf.names import HubName, parse


@dataclass(frozen=True)
class Found:
    """Where a model of the hub lies.

    Attributes:
        name: the model.
        folder: in the local cache.
        commit: what its revision stands for there.
    """

    name: HubName
    folder: Path
    commit: str


def ensure(reference: str | os.PathLike[str], ledger: Path | None = None) -> Found:
    """A model of the hub in the local cache: as it lies there, else fetched.

    What is cached is used without asking the hub, so that a run gives the same numbers without a network.

    Args:
        reference: `org/name` or `org/name@revision`.
        ledger: folder in which it is written down if it was not there before, so that `give_up` may delete it.

    Raises:
        ModelError: no such model or revision, one that may not be read, or no network.
    """
    name = parse(reference)
    found = None if name is None else hub.cached(name)
    if name is None or (found is None and "/" in str(reference) and Path(reference).parent.is_dir()):
        raise ModelError(
            message(
                expected=f"a model's folder at {reference}, or a name on the Hugging Face hub (org/name@revision)",
                got="neither",
                do="check the spelling",
            )
        )
    if found is None:
        commit, files = hub.commit(name)
        if ledger is not None:
            _write_down(ledger, name, commit)
        found = hub.fetch(name, files)
    return Found(name, found, found.name)


@dataclass(frozen=True)
class Supply:
    """The models of a series, fetched one ahead and given up when they are measured.

    Attributes:
        references: of each label, its name on the hub.
        ledger: folder that says what was fetched for this run.
        evict: whether to delete what was fetched for this run and is measured.
    """

    references: Mapping[str, str]
    ledger: Path | None
    evict: bool

    def ahead(self, label: str) -> threading.Thread | None:
        """Fetches a checkpoint beside the work at hand; what goes wrong is said when its turn comes."""
        reference = self.references.get(label)
        if reference is None:
            return None

        def work() -> None:
            with suppress(BitsAndNatsError, OSError):
                ensure(reference, self.ledger)

        thread = threading.Thread(target=work, name=f"fetch {label}", daemon=True)
        thread.start()
        return thread

    def finished(self, label: str) -> None:
        """Gives up a checkpoint that is measured, where that is wanted."""
        name = parse(self.references.get(label, ""))
        if self.evict and self.ledger is not None and name is not None:
            give_up(self.ledger, name)


def give_up(ledger: Path, name: HubName) -> int:
    """Deletes from the local cache what was fetched for a run at one revision; the bytes that became free.

    Files that were there before the run, or that other revisions in the cache use, stay.

    Args:
        ledger: folder in which `ensure` wrote down what it fetched.
        name: the model and its revision.
    """
    freed = 0
    for note in sorted(ledger.glob("*.json")):
        try:
            entry = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if entry.get("model") == name.model and entry.get("revision") == name.at:
            freed += _delete(entry)
            note.unlink(missing_ok=True)
    return freed


def _write_down(ledger: Path, name: HubName, commit: str) -> None:
    """Notes, before anything is fetched, what the cache had: nothing is noted of a commit that it has parts of."""
    home = hub.repository(name.model)
    if (home / "snapshots" / commit).exists():
        return
    entry = {
        "model": name.model,
        "revision": name.at,
        "commit": commit,
        "ref": (home / "refs" / name.at).exists(),
        "tree": (home / "trees" / f"{commit}.json").exists(),
        "blobs": sorted(p.name for p in home.glob("blobs/*") if not p.name.endswith(".incomplete")),
    }
    ledger.mkdir(parents=True, exist_ok=True)
    # The first note of a commit stays: a second process would count what the first has fetched as there before.
    with suppress(FileExistsError), (ledger / f"{home.name}--{commit}.json").open("x", encoding="utf-8") as file:
        json.dump(entry, file)


def _delete(entry: Mapping[str, Any]) -> int:
    commit, home = str(entry["commit"]), hub.repository(str(entry["model"]))
    snapshot = home / "snapshots" / commit
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit) or not snapshot.is_dir():
        return 0
    files = [p for p in snapshot.rglob("*") if p.is_file()]
    freed = sum(p.stat().st_size for p in files if not p.is_symlink())
    linked = {p.resolve() for p in files if p.is_symlink()}
    shutil.rmtree(snapshot)
    used = {p.resolve() for p in home.glob("snapshots/**/*") if p.is_symlink()}
    before = set(entry["blobs"])
    for blob in linked - used:
        if blob.parent == (home / "blobs").resolve() and blob.name not in before:
            freed += blob.stat().st_size
            blob.unlink()
    ref = home / "refs" / str(entry["revision"])
    if not entry["ref"] and ref.is_file() and ref.read_text(encoding="utf-8") == commit:
        ref.unlink()
    if not entry["tree"]:
        (home / "trees" / f"{commit}.json").unlink(missing_ok=True)
    return freed
