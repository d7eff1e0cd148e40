"""Rows of the grokking study as figures want them: means and ranges over seeds, epoch by epoch."""

from collections.abc import Callable, Sequence
from typing import Any

from bitsandnats.report.numbers import finite
from bitsandnats.report.tables import Row

Value = Callable[[Row], float | int | None]
"""A number of a checkpoint."""


def groups(summary: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Runs by operation and network: what shares a panel, under its name."""
    found: dict[tuple[str, str], list[Row]] = {}
    for run in summary["runs"]:
        found.setdefault((run["operation"], run["network"]), []).append(run)
    return [(f"{operation}, {network}", runs) for (operation, network), runs in found.items()]


def by_regime(runs: Sequence[Row]) -> dict[str, list[Row]]:
    """Runs of the same regime: its seeds."""
    found: dict[str, list[Row]] = {}
    for run in runs:
        found.setdefault(run["regime"], []).append(run)
    return found


def over_seeds(runs: Sequence[Row], value: Value, **place: Any) -> list[Row]:
    """Mean, least and largest of a checkpoint's number over seeds, one row an epoch at which there is one."""
    by_epoch: dict[int, list[float | int]] = {}
    for run in runs:
        for checkpoint in run["checkpoints"]:
            number = value(checkpoint)
            if finite(number):
                by_epoch.setdefault(checkpoint["epoch"], []).append(float(number))
    return [_row(epoch, numbers, place) for epoch, numbers in sorted(by_epoch.items())]


def curve_over_seeds(runs: Sequence[Row], name: str, **place: Any) -> list[Row]:
    """The same of a curve that is known at every epoch looked at, measured or not."""
    by_epoch: dict[int, list[float | int]] = {}
    for run in runs:
        for epoch, number in zip(run["epochs"], run[name], strict=True):
            by_epoch.setdefault(epoch, []).append(number)
    return [_row(epoch, numbers, place) for epoch, numbers in sorted(by_epoch.items())]


def _row(epoch: int, numbers: list[float | int], place: dict[str, Any]) -> Row:
    mean = sum(numbers) / len(numbers)
    return {"epoch": epoch, "value": mean, "low": min(numbers), "high": max(numbers), "seeds": len(numbers), **place}


def at_tolerance(tolerance: float, name: str = "bytes") -> Value:
    """A number of the coarse network at a tolerance."""

    def value(checkpoint: Row) -> float | int | None:
        return next((p[name] for p in checkpoint["points"] if p["tolerance"] == tolerance), None)

    return value


_LARGEST = 1.0  # nats; of the tolerances over which a least is taken


def least(name: str) -> Value:
    """The least of a number over the tolerances up to 1 nat: at larger ones a constant guess can be all there is."""

    def value(checkpoint: Row) -> float | int | None:
        return min((p[name] for p in checkpoint["points"] if p["tolerance"] <= _LARGEST), default=None)

    return value
