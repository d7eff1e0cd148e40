"""One set of sampler settings for a series, chosen once and kept with it."""

import json
from collections.abc import Sequence
from typing import Any

import torch
import xarray as xr

from bitsandnats._types import Progress, silent
from bitsandnats._version import __version__
from bitsandnats.calibration import calibrate, check_fit
from bitsandnats.errors import BitsAndNatsError, ModelError, message
from bitsandnats.metric import in_metric
from bitsandnats.precision import in_precision
from bitsandnats.recipes.series import Series
from bitsandnats.run import choose_mode, choose_pass
from bitsandnats.settings import Settings, changed, settings_from
from bitsandnats.store import ContentKey, Run, content_key, data_digest
from bitsandnats.target import LocalPosterior
from bitsandnats.task import Task

_PROBE_ITEMS = 4


def series_settings(
    run: Run, labels: list[str], probed: list[Task], wanted: Settings | dict[str, Any], progress: Progress
) -> tuple[Settings, ContentKey]:
    """The settings of a series, and the key of what they were chosen for.

    What is decided by a clock (the route of `calibrate`, vmap or loop) or by memory (items a pass) is decided here and
    stored, so that a study that is taken up again, or shared by several processes, gives the same numbers.

    Args:
        run: the run folder.
        labels: of the whole series.
        probed: checkpoints to choose by.
        wanted: all settings, or a dict of those that are not to be chosen.
        progress: told of each probe.

    Raises:
        InputError: a setting is out of range or does not fit the data.
        SettingsError: no settings keep the draws in the basin.
    """
    whole = isinstance(wanted, Settings)
    given = wanted.values() if isinstance(wanted, Settings) else wanted
    others = [content_key(task, {}).digest for task in probed[:-1]]
    key = content_key(probed[-1], {"calibrate": given, "whole": whole, "labels": labels, "others": others})
    stored = run.finished("_series", "settings", key)
    if stored is not None:
        return settings_from(json.loads(stored.attrs["settings"])), key
    return _chosen(run, key, probed, wanted, progress), key


def kept_settings(run: Run, task: Task, wanted: Settings | dict[str, Any]) -> tuple[Settings, ContentKey]:
    """The settings of a series that is still being made: chosen at the first of its checkpoints, then kept.

    Args:
        run: the run folder.
        task: the checkpoint at hand.
        wanted: all settings, or a dict of those that are not to be chosen.

    Raises:
        InputError: a setting is out of range or does not fit the data.
        SettingsError: no settings keep the draws in the basin.
    """
    given = wanted.values() if isinstance(wanted, Settings) else wanted
    key = ContentKey(data_digest(task), ()).part(f"{json.dumps(given, sort_keys=True, default=str)} {__version__}")
    stored = run.finished("_series", "settings", key)
    if stored is not None:
        return settings_from(json.loads(stored.attrs["settings"])), key
    return _chosen(run, key, [task], wanted, silent), key


def _chosen(
    run: Run, key: ContentKey, probed: list[Task], wanted: Settings | dict[str, Any], progress: Progress
) -> Settings:
    if isinstance(wanted, Settings):
        check_fit(probed, wanted.values())
        found = wanted
    else:
        found = calibrate(probed, given=wanted, progress=progress)
    if found.mode == "auto":
        modes = {choose_mode(in_metric(task, found.metric), found) for task in probed}
        found = changed(found, {"mode": "vmap" if modes == {"vmap"} else "loop"})
    if found.micro_batch == "auto":
        found = changed(found, {"micro_batch": _least_pass(probed, found)})
    tree = xr.DataTree(xr.Dataset(attrs={"settings": json.dumps(found.model_dump())}))
    run.finish("_series", "settings", key, tree)
    return found


def _least_pass(probed: list[Task], settings: Settings) -> int | str:
    """Items a pass that every one of these checkpoints has the memory for."""
    sizes = []
    for task in probed:
        moved = in_precision(in_metric(task, settings.metric), settings.precision)
        mode: Any = settings.mode
        target = LocalPosterior(moved, settings.nbeta, settings.gamma, mode, precision=settings.precision)
        sizes.append(choose_pass(target, settings))
    return min((size for size in sizes if size != "whole"), default="whole")


def probes(source: Series, *, only_last: bool) -> list[Task]:
    """The first, the middle and the last checkpoint, or the one after (before the last) where one cannot be loaded.

    Args:
        source: the series.
        only_last: the last one alone.
    """
    labels = list(source.load)
    middle = len(labels) // 2
    orders = [labels, labels[middle:] + labels[:middle], labels[::-1]]
    return [loadable(source, order) for order in (orders[-1:] if only_last else orders[: len(labels)])]


def _sound(task: Task) -> Task:
    """The task, if its losses are numbers: settings are not chosen by one that is broken.

    Raises:
        ModelError: they are not.
    """
    with torch.no_grad():
        losses = task.item_losses(task.center, task.batch(torch.arange(min(len(task.data), _PROBE_ITEMS))))
    if not bool(torch.isfinite(losses).all()):
        do = "use an undamaged checkpoint"
        raise ModelError(message(expected="a checkpoint with a finite loss", got="NaN or infinity", do=do))
    return task


def loadable(source: Series, labels: Sequence[str]) -> Task:
    """The first checkpoint that can be loaded and measured; the others are marked when their turn comes.

    Raises:
        BitsAndNatsError: none can; what is wrong with the first.
    """
    errors: list[Exception] = []
    for label in labels:
        try:
            return _sound(source.load[label]())
        except Exception as error:  # whatever is wrong with one, the next may be sound
            errors.append(error)
    if isinstance(errors[0], BitsAndNatsError):
        raise errors[0]
    got = f"{type(errors[0]).__name__}: {' '.join(str(errors[0]).split())[:200]}"
    raise ModelError(message(expected="a checkpoint that can be loaded", got=got, do="mend it")) from errors[0]
