"""A run folder kept to one process while it works."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitsandnats.store.locks import locked
from bitsandnats.store.run import check_run


@contextmanager
def alone(path: str | Path | None, settings: dict[str, Any] | None = None) -> Iterator[None]:
    """Keeps other processes off a run folder while the block runs.

    Args:
        path: the folder, made where it is missing; None = there is none to keep.
        settings: what defines its results, as for `check_run`; None = not known yet.

    Raises:
        StoreError: it cannot be used, or another process works on it; the sentence says which.
    """
    if path is None:
        yield
        return
    check_run(path, settings)
    with locked(Path(path), "run"):
        yield
