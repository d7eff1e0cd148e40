"""Rows of a study's table beside the units: what processes that share a study tell each other."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from bitsandnats.errors import StoreError
from bitsandnats.recipes.checkpoint import CheckpointResult
from bitsandnats.store import ContentKey, Run, read_json, write_json, write_text


def keep_row(run: Run, key: ContentKey, result: CheckpointResult) -> None:
    """Writes the row of one checkpoint, and where something unforeseen went wrong in it, where that was.

    Args:
        run: the run folder.
        key: of the series and its settings; rows of others are not read.
        result: of the checkpoint.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = _file(run, str(result.row["label"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"series": key.digest, "row": result.row, "model": result.model, "data": result.data})
    if result.trace is not None:
        write_text(path.with_name("failed.txt"), result.trace)
    else:
        with contextlib.suppress(OSError):
            path.with_name("failed.txt").unlink(missing_ok=True)


def kept_rows(run: Run, key: ContentKey, labels: Sequence[str]) -> dict[str, CheckpointResult]:
    """The rows that there are, by label."""
    found = {}
    for label in labels:
        with contextlib.suppress(StoreError, KeyError):
            kept = read_json(_file(run, label))
            if kept["series"] == key.digest:
                found[label] = CheckpointResult(kept["row"], kept["model"], kept["data"])
    return found


def labels_kept(run: Run, key: ContentKey) -> list[str]:
    """The labels of all rows that there are, by step."""
    found = {}
    for path in run.path.glob("units/*/row.json"):
        with contextlib.suppress(StoreError, KeyError):
            kept = read_json(path)
            if kept["series"] == key.digest:
                found[str(kept["row"]["label"])] = kept["row"]["step"] or 0
    return sorted(found, key=found.__getitem__)


def _file(run: Run, label: str) -> Path:
    return run.unit_folder(label, "row.json")
