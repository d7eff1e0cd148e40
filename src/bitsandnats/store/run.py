"""The run folder: its layout, its units, and whose settings it belongs to."""

import contextlib
import errno
import hashlib
import os
import shutil
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from bitsandnats._version import __version__
from bitsandnats.errors import StoreError, message
from bitsandnats.settings import to_toml
from bitsandnats.store.files import content, damaged, read_json, unwritable, write_json, write_text
from bitsandnats.store.keys import ContentKey


@dataclass(frozen=True)
class Run:
    """A run folder: units of finished work, a summary, and the settings that made them."""

    path: Path

    def tree(self, label: str, measurement: str) -> xr.DataTree:
        """The stored draws or curve of one unit, loaded.

        Raises:
            StoreError: there is no such finished unit, or it cannot be read.
        """
        folder = self.unit_folder(label, measurement)
        if not (folder / "unit.json").is_file():
            raise StoreError(
                message(
                    expected=f"a finished unit {label}/{measurement} in {self.path}",
                    got="none",
                    do="run the study again to finish it",
                )
            )
        unit = read_json(folder / "unit.json")
        try:
            if unit.get("data", "") not in ("", content(folder / "data.zarr")):
                raise ValueError("data that are not those written")
            return xr.open_datatree(folder / "data.zarr", engine="zarr").load()
        except Exception as error:
            raise damaged(folder, error) from None

    def has(self, label: str, measurement: str) -> bool:
        """Whether the unit is finished."""
        return (self.unit_folder(label, measurement) / "unit.json").is_file()

    def summary(self) -> dict[str, Any]:
        """The table that the report and the command line show.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        return read_json(self.path / "summary.json")

    def settings(self) -> dict[str, Any]:
        """What `run.toml` says.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        try:
            return tomllib.loads((self.path / "run.toml").read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise damaged(self.path / "run.toml", error) from None

    def unit_folder(self, label: str, measurement: str) -> Path:
        """Where a unit lives."""
        safe = "".join(c if c.isalnum() or c in "._-@" else "_" for c in label).lstrip(".") or "_"
        if safe != label:
            safe += "-" + hashlib.sha256(label.encode()).hexdigest()[:6]
        return self.path / "units" / safe / measurement

    def remove(self, label: str, pattern: str) -> None:
        """Removes the units of a checkpoint whose names match, if there are any."""
        for folder in self.unit_folder(label, "_").parent.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)

    def finished(self, label: str, measurement: str, key: ContentKey) -> xr.DataTree | None:
        """The unit's data if it was made with the same content key and is undamaged, else None: to be made again."""
        folder = self.unit_folder(label, measurement)
        if not (folder / "unit.json").is_file():
            return None
        try:
            unit = read_json(folder / "unit.json")
            if not key.matches(unit.get("digest", ""), unit.get("behaviour", [])):
                return None
            return self.tree(label, measurement)
        except StoreError:
            return None

    def finish(self, label: str, measurement: str, key: ContentKey, tree: xr.DataTree) -> None:
        """Stores a unit: complete, or not there at all.

        Raises:
            StoreError: the folder cannot be written.
        """
        final = self.unit_folder(label, measurement)
        temporary = final.with_name(f".{measurement}.{uuid.uuid4().hex[:8]}")
        try:
            temporary.mkdir(parents=True)
            tree.to_zarr(temporary / "data.zarr", mode="w", consolidated=True, zarr_format=2)
            unit = {"digest": key.digest, "behaviour": list(key.behaviour), "label": label, "version": __version__}
            write_json(temporary / "unit.json", {**unit, "data": content(temporary / "data.zarr")})
            for stale in final.parent.glob(f".{measurement}.*"):  # of a process that was killed while writing
                if stale != temporary:  # before the unit counts as finished, or a second kill would leave them for ever
                    shutil.rmtree(stale, ignore_errors=True)
            _put(temporary, final)
        except OSError as error:
            raise unwritable(self.path, error) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _put(made: Path, final: Path) -> None:
    """Renames a folder to its place; what stands there is moved aside first, since a full folder is never replaced."""
    while True:
        try:
            os.rename(made, final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        aside = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            os.rename(final, aside)
        shutil.rmtree(aside, ignore_errors=True)


def open_run(path: str | Path) -> Run:
    """A stored run.

    Raises:
        StoreError: the folder is missing or holds no run.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise StoreError(message(expected="a run folder", got=f"no folder {folder}", do="check the path"))
    if not (folder / "run.toml").is_file():
        raise StoreError(
            message(
                expected="a run folder with run.toml in it",
                got=f"{folder} without one",
                do="give the folder that --out named, or run the study again",
            )
        )
    return Run(folder)


def create_run(
    path: str | Path,
    settings: dict[str, Any],
    *,
    provenance: dict[str, Any],
    further: dict[str, dict[str, Any]] | None = None,
) -> Run:
    """Opens a run folder for writing, making it if need be.

    Args:
        path: the folder; new, empty, or of the same settings.
        settings: plain values that define the results; a folder made with others is refused by name.
        provenance: versions, command and the like; rewritten, never compared.
        further: other tables of `run.toml`, by name: what a replay needs; rewritten, never compared.

    Raises:
        StoreError: it cannot be written, is damaged, holds other things, or belongs to other settings.
    """
    check_run(path, settings)
    folder = Path(path)
    settings = tomllib.loads(to_toml(settings))
    write_text(folder / "run.toml", to_toml({"settings": settings, "provenance": provenance, **(further or {})}))
    return Run(folder)


def check_run(path: str | Path, settings: dict[str, Any] | None) -> None:
    """Refuses a folder that `create_run` would refuse; makes it where it is missing, writes nothing into it.

    Args:
        path: the folder.
        settings: as for `create_run`; None = not known yet, only the folder is looked at.

    Raises:
        StoreError: it cannot be written, is damaged, holds other things, or belongs to other settings.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        existing = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission to write there")
    except OSError as error:
        raise unwritable(folder, error) from None
    run = Run(folder)
    if (folder / "run.toml").is_file():
        stored = run.settings().get("settings", {})
        differences = [] if settings is None else _differences(stored, tomllib.loads(to_toml(settings)))
        if differences:
            raise StoreError(
                message(
                    expected=f"the settings that {folder} was made with",
                    got="; ".join(differences[:3]),
                    do="choose another --out, or remove the folder",
                )
            )
    elif "units" in existing or "summary.json" in existing:
        raise StoreError(
            message(
                expected=f"run.toml in the run folder {folder}",
                got="results without it",
                do="choose another --out, or remove the folder",
            )
        )


def _differences(stored: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*stored, *asked}):
        a, b = stored.get(name), asked.get(name)
        if isinstance(a, dict) or isinstance(b, dict):
            found += _differences(a or {}, b or {}, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name} = {b!r} where the folder has {a!r}")
    return found
