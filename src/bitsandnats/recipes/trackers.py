"""Rows of a table, told to the experiment tracker that the user has."""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from bitsandnats.errors import InputError, message

TRACKERS = ("wandb", "trackio")


def check_trackers(names: Sequence[str]) -> None:
    """Refuses trackers that are unknown or not installed.

    Raises:
        InputError: one is.
    """
    for name in names:
        if name not in TRACKERS:
            raise InputError(
                message(expected=f"a tracker among {', '.join(TRACKERS)}", got=repr(name), do="choose one")
            )
        if importlib.util.find_spec(name) is None:
            raise InputError(message(expected=f"{name} to log to", got="no such module", do=f"run: pip install {name}"))


def track(names: Sequence[str], row: dict[str, Any]) -> None:
    """Logs the numbers of a row to the current run of each tracker, with the training step among them.

    The tracker's own count of steps is left alone: it may be ahead, and numbers for the past would be dropped.

    Raises:
        InputError: a tracker has no run, or refuses the numbers.
    """
    values = tracked(row)
    for name in names:
        try:
            importlib.import_module(name).log(values)
        except Exception as error:  # each tracker has errors of its own
            got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": .")
            do = f"call {name}.init() before the training"
            raise InputError(message(expected=f"a run of {name} to log to", got=got, do=do)) from error


def tracked(row: dict[str, Any]) -> dict[str, int | float]:
    """The numbers of a row by the names that a tracker shows.

    `bitsandnats/step`, `loss` (nats a unit), `llc`, `llc_se` (nats) and for each scheme and tolerance the crossing.
    """
    found: dict[str, Any] = {"step": row["step"], "loss": row["loss"]}
    if row["llc"] is not None:
        found |= {"llc": row["llc"]["llc"], "llc_se": row["llc"]["se"]}
    for scheme, points in row["critical"].items():
        found |= {f"{scheme} at {point['tolerance']:g}": point["crossing"] for point in points}
    return {f"bitsandnats/{name}": value for name, value in found.items() if value is not None}
