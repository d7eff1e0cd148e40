"""Texts of Hugging Face datasets: saved to disk, or by name."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitsandnats.data import no_field
from bitsandnats.errors import DataError, message
from bitsandnats.hf._quiet import first_line

PREFIX = "dataset:"
_NAME = re.compile(r"(?P<name>[\w./-]+)(@(?P<revision>[^#:]+))?(#(?P<config>[^:]+))?(:(?P<split>.+))?")
_SAVED = ("dataset_dict.json", "state.json")


def is_dataset(source: str) -> bool:
    """Whether a source is `dataset:…`, or a folder that `save_to_disk` wrote."""
    return source.startswith(PREFIX) or any(os.path.isfile(os.path.join(source, name)) for name in _SAVED)


def dataset_documents(source: str, field: str) -> Iterator[str]:
    """The texts of a dataset, in its order.

    Args:
        source: `dataset:org/name`, with `@revision`, `#config` and `:split` where they are needed, in this order; or a
            folder that `save_to_disk` wrote, `dataset:folder:split` where it holds several splits.
        field: that holds the text.

    Raises:
        DataError: the dataset cannot be had, is one of several splits, or has no such field.
    """
    named = source.removeprefix(PREFIX)
    found = None if Path(named).is_dir() else _NAME.fullmatch(named)
    folder = named if found is None else found["name"]
    split = None if found is None else found["split"]
    datasets = _library(source)
    with _no_bars(datasets):
        try:
            if Path(folder).is_dir() and any((Path(folder) / name).is_file() for name in _SAVED):
                data = datasets.load_from_disk(folder)
                data = data[split] if split is not None and isinstance(data, dict) and split in data else data
            elif found is None:
                raise FileNotFoundError(f"no dataset that save_to_disk wrote in {folder}")
            else:
                data = datasets.load_dataset(found["name"], found["config"], split=split, revision=found["revision"])
        except Exception as error:
            do = "check its name, #config and :split; without a network it must be cached"
            raise DataError(message(expected=f"the dataset {source}", got=first_line(error), do=do)) from None
    if isinstance(data, dict) and len(data) == 1 and split is None:
        data = next(iter(data.values()))
    if isinstance(data, dict):
        expected, do = f"one split of {source}", f"write {PREFIX}{folder}:{next(iter(data), 'train')}"
        raise DataError(message(expected=expected, got=f"splits {', '.join(data)}", do=do))
    if field not in data.column_names:
        raise no_field(field, list(data.column_names), source)
    yield from (str(row) for row in data[field] if row is not None)


def _library(source: str) -> Any:
    try:
        import datasets
    except ImportError:
        do = "pip install 'bitsandnats[data]'"
        raise DataError(message(expected=f"the package datasets, to read {source}", got="none", do=do)) from None
    return datasets


@contextmanager
def _no_bars(datasets: Any) -> Iterator[None]:
    """Inside, the library shows no progress bars; its setting is as it was afterwards."""
    shown = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()
