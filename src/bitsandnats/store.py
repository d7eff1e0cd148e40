"""The run folder: layout, atomic units, content keys, completion."""

import hashlib
import json
import math
import os
import shutil
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from bitsandnats import _tree
from bitsandnats._rng import generator
from bitsandnats._tree import tensors
from bitsandnats._version import __version__
from bitsandnats.errors import StoreError, message
from bitsandnats.settings import to_toml
from bitsandnats.task import Task

_PROBE_ITEMS = 4
_RELATIVE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ContentKey:
    """What a result depends on.

    Attributes:
        digest: hash of parameters, data, options, seed and version.
        behaviour: losses of a few fixed items at w* and at one fixed perturbation: the loss function by what it does,
            since closures do not hash. Compared within a relative 1e-3.
    """

    digest: str
    behaviour: tuple[float, ...]

    def matches(self, digest: str, behaviour: list[float]) -> bool:
        """Whether a stored result belongs to this key."""
        return (
            digest == self.digest
            and len(behaviour) == len(self.behaviour)
            and all(
                math.isclose(a, b, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-9)
                for a, b in zip(behaviour, self.behaviour, strict=True)
            )
        )


def content_key(task: Task, options: dict[str, Any]) -> ContentKey:
    """The key of a measurement of `task` under `options` (plain values, the seed among them)."""
    digest = hashlib.sha256()
    for group in (task.center, task.fixed):
        for name in sorted(group):
            _feed(digest, name, group[name])
    blocks = max(1, (1 << 22) // max(1, sum(t[0].numel() for t in tensors(task.batch(torch.arange(1))))))
    for block in task.blocks(blocks):
        for i, tensor in enumerate(tensors(block)):
            _feed(digest, f"data{i}", tensor)
    meta = {"unit": task.unit, "mean_weight": task.mean_weight, "version": __version__, "notes": task.notes}
    digest.update(json.dumps({**meta, "options": options}, sort_keys=True, default=str).encode())
    return ContentKey(digest.hexdigest(), _behaviour(task))


def write_json(path: Path, value: Any) -> None:
    """Writes plain values atomically; numbers that JSON does not have become null."""
    write_text(path, json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically: the old one or the new one, never half.

    Raises:
        StoreError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path.parent, error) from None


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
        try:
            return xr.open_datatree(folder / "data.zarr", engine="zarr").load()
        except Exception as error:
            raise _damaged(folder, error) from None

    def has(self, label: str, measurement: str) -> bool:
        """Whether the unit is finished."""
        return (self.unit_folder(label, measurement) / "unit.json").is_file()

    def summary(self) -> dict[str, Any]:
        """The table that the report and the command line show.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        return _read_json(self.path / "summary.json")

    def settings(self) -> dict[str, Any]:
        """What `run.toml` says.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        try:
            return tomllib.loads((self.path / "run.toml").read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise _damaged(self.path / "run.toml", error) from None

    def unit_folder(self, label: str, measurement: str) -> Path:
        """Where a unit lives."""
        safe = "".join(c if c.isalnum() or c in "._-@" else "_" for c in label).lstrip(".") or "_"
        if safe != label:
            safe += "-" + hashlib.sha256(label.encode()).hexdigest()[:6]
        return self.path / "units" / safe / measurement

    def finished(self, label: str, measurement: str, key: ContentKey) -> xr.DataTree | None:
        """The unit's data if it was made with the same content key, else None.

        Raises:
            StoreError: it is finished but cannot be read.
        """
        folder = self.unit_folder(label, measurement)
        if not (folder / "unit.json").is_file():
            return None
        unit = _read_json(folder / "unit.json")
        if not key.matches(unit.get("digest", ""), unit.get("behaviour", [])):
            return None
        return self.tree(label, measurement)

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
            write_json(temporary / "unit.json", unit)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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


def create_run(path: str | Path, settings: dict[str, Any], *, provenance: dict[str, Any]) -> Run:
    """Opens a run folder for writing, making it if need be.

    Args:
        path: the folder; new, empty, or of the same settings.
        settings: plain values that define the results; a folder made with others is refused by name.
        provenance: versions, command and the like; rewritten, never compared.

    Raises:
        StoreError: it cannot be written, is damaged, holds other things, or belongs to other settings.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        existing = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise _unwritable(folder, error) from None
    run = Run(folder)
    settings = tomllib.loads(to_toml(settings))
    if (folder / "run.toml").is_file():
        stored = run.settings().get("settings", {})
        differences = _differences(stored, settings)
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
    write_text(folder / "run.toml", to_toml({"settings": settings, "provenance": provenance}))
    return run


def _differences(stored: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*stored, *asked}):
        a, b = stored.get(name), asked.get(name)
        if isinstance(a, dict) or isinstance(b, dict):
            found += _differences(a or {}, b or {}, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name} = {b!r} where the folder has {a!r}")
    return found


def _behaviour(task: Task) -> tuple[float, ...]:
    """Losses of a few items at w* and at w* + a fixed perturbation of a hundredth of the weights' scale."""
    batch = task.batch(torch.arange(min(_PROBE_ITEMS, len(task.data))))
    scale = (sum(float(w.double().square().sum()) for w in task.center.values()) / task.dimension) ** 0.5
    nudge = _tree.gaussian(task.center, generator(0, 0, "probe", task.device))
    moved = _tree.axpy(0.01 * max(scale, 1e-6), nudge, task.center)
    with torch.no_grad():
        losses = [task.item_losses(params, batch) for params in (task.center, moved)]
    return tuple(float(v) for v in torch.cat(losses))


def _feed(digest: "hashlib._Hash", name: str, tensor: Tensor) -> None:
    digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return _plain(value.item())
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        message(
            expected=f"a readable {path}",
            got=f"{type(error).__name__}",
            do="remove it and run again; finished units beside it are kept",
        )
    )


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        message(
            expected=f"a folder that can be written at {path}",
            got=error.strerror or type(error).__name__,
            do="choose another --out",
        )
    )
