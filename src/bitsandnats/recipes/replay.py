"""replay(): a run made again from what its own `run.toml` says, and whether the numbers are the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitsandnats._types import Progress, silent
from bitsandnats.errors import InputError, StoreError, message
from bitsandnats.recipes.series import replayed_series
from bitsandnats.recipes.study import study
from bitsandnats.settings import settings_from
from bitsandnats.store import Run, open_run

_TIMES = ("seconds",)  # how long something took is no result


@dataclass(frozen=True)
class Replay:
    """A run made again.

    Attributes:
        run: the new one.
        differences: `label quantity: was, is`, for every number that differs by even one bit; empty: identical.
        compared: numbers that were compared.
    """

    run: Run
    differences: tuple[str, ...]
    compared: int

    @property
    def identical(self) -> bool:
        """Whether every number is the same to the last bit."""
        return not self.differences


def replay(
    folder: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    command: str | None = None,
    progress: Progress = silent,
) -> Replay:
    """Makes a study of checkpoints again, in a new folder, from its `run.toml` alone.

    The series, the settings (those that were chosen, not the rule that chose them) and the number of workers are taken
    from there. On the same machine and version, with as many torch threads (`threads` in `run.toml`), the numbers are
    the same to the last bit.

    Args:
        folder: the run folder.
        out: the new one; interrupted, the same call goes on there.
        workers: processes; None = as many as then.
        command: what remakes the new run, for its report.
        progress: told of the work as it is done.

    Raises:
        StoreError: there is no finished run, or a folder cannot be used.
        InputError: the run is not of a folder of checkpoints, or `out` is the run folder itself.
        DataError: checkpoints or text are no longer there.
    """
    before = open_run(folder)
    if Path(out).resolve() == before.path.resolve():
        do = "name another folder, or run the study's own command to continue it"
        raise InputError(message(expected="another folder to replay into", got="the run folder itself", do=do))
    told = before.settings()
    if "resolved" not in told:
        do = "replay a folder that 'bitsandnats study' or 'demo' has made"
        raise InputError(message(expected="a study whose settings were chosen", got=f"{before.path} without", do=do))
    rows = _rows(before)
    asked, made = told["settings"], told["provenance"]
    fold = asked.get("fold")
    run = study(
        replayed_series(told.get("series", {}), out),
        schemes=asked["schemes"],
        tolerances=asked["tolerances"],
        settings=settings_from(told["resolved"]),
        out=out,
        context=asked.get("context"),
        fold=fold if isinstance(fold, bool) else None,
        recipe=asked["recipe"],
        seed=asked["seed"],
        workers=made.get("workers", 1) if workers is None else workers,
        title=before.summary().get("title"),
        command=command,
        progress=progress,
    )
    was, now = (dict(_numbers(found)) for found in (rows, _rows(run)))
    names = [*was, *(name for name in now if name not in was)]
    differences = [f"{name}: {_shown(was, name)}, now {_shown(now, name)}" for name in names if _differ(was, now, name)]
    return Replay(run, tuple(differences), len(names))


def stored_threads(folder: str | Path) -> int | None:
    """How many threads torch had when a run was made; None where it does not say."""
    return open_run(folder).settings().get("provenance", {}).get("threads")


def _rows(run: Run) -> list[dict[str, Any]]:
    rows = run.summary().get("checkpoints", [])
    if not rows:
        raise StoreError(message(expected=f"results in {run.path}", got="none", do="finish the study first"))
    return rows


def _numbers(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Everything in a row, by a path of names."""
    if isinstance(value, Mapping):
        return [found for key, part in value.items() if key not in _TIMES for found in _numbers(part, f"{name} {key}")]
    if isinstance(value, list):
        names = [part["label"] if isinstance(part, Mapping) and "label" in part else i for i, part in enumerate(value)]
        return [found for key, part in zip(names, value, strict=True) for found in _numbers(part, f"{name} {key}")]
    return [(name.strip(), value)]


def _differ(was: dict[str, Any], now: dict[str, Any], name: str) -> bool:
    return name not in was or name not in now or was[name] != now[name]


def _shown(values: dict[str, Any], name: str) -> str:
    return f"{values[name]!r}" if name in values else "nothing"
