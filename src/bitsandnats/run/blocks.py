"""Finished groups of chains, kept until the whole is there: what a killed process had drawn is not drawn again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr

from bitsandnats.run.tree import Part
from bitsandnats.store import ContentKey, Run

_WORTH_KEEPING = 5.0  # seconds: a block that took less is sooner made again than written


class Kept(NamedTuple):
    """A finished group of chains.

    Attributes:
        part: what it left behind.
        seconds: that it took.
    """

    part: Part
    seconds: float


@runtime_checkable
class Blocks(Protocol):
    """A place for finished groups of chains."""

    def read(self, chains: Sequence[int]) -> Kept | None:
        """The group of these chains, if it is there."""
        ...

    def write(self, chains: Sequence[int], kept: Kept) -> None:
        """Keeps a group."""
        ...


@dataclass(frozen=True)
class StoredBlocks:
    """Groups of chains as units of a run folder.

    Attributes:
        run: the run folder.
        label: the checkpoint.
        key: of the whole measurement.
    """

    run: Run
    label: str
    key: ContentKey

    def read(self, chains: Sequence[int]) -> Kept | None:
        """The group of these chains, if it is there and undamaged."""
        name = _name(chains)
        tree = self.run.finished(self.label, name, self.key.part(name))
        return None if tree is None else Kept(_part(tree), float(tree.attrs["seconds"]))

    def write(self, chains: Sequence[int], kept: Kept) -> None:
        """Stores a group that took long enough.

        Raises:
            StoreError: the folder cannot be written.
        """
        if kept.seconds >= _WORTH_KEEPING:
            name = _name(chains)
            self.run.finish(self.label, name, self.key.part(name), _tree(kept))

    def clear(self) -> None:
        """Removes what is kept: the whole is there."""
        self.run.remove(self.label, "llc.chains-*")


def _name(chains: Sequence[int]) -> str:
    return f"llc.chains-{chains[0]}-{chains[-1]}"


def _tree(kept: Kept) -> xr.DataTree:
    part = kept.part
    whole = xr.Dataset({"diverged_at": ("chain", part.diverged_at)}, attrs={"seconds": kept.seconds})
    if part.acceptance is not None:
        whole["acceptance"] = (("chain", "checked"), part.acceptance)
    groups = {"/": whole, "traces": xr.Dataset({k: (("chain", "step"), v) for k, v in part.traces.items()})}
    for name, kinds in part.observed.items():
        values = {kind: _labelled(kind, value.numpy()) for kind, value in kinds.items()}
        groups[f"observed/{name}"] = xr.Dataset(values)
    return xr.DataTree.from_dict(groups)


def _labelled(kind: str, value: np.ndarray) -> tuple[list[str], np.ndarray]:
    return [f"{kind}_{axis}" for axis in range(value.ndim)], value


def _part(tree: xr.DataTree) -> Part:
    whole = tree.dataset
    observed = tree["observed"].children if "observed" in tree.children else {}
    return Part(
        traces={str(name): values.values for name, values in tree["traces"].dataset.items()},
        diverged_at=whole["diverged_at"].values,
        observed={
            name: {str(kind): torch.from_numpy(values.values) for kind, values in node.dataset.items()}
            for name, node in observed.items()
        },
        acceptance=whole["acceptance"].values if "acceptance" in whole else None,
    )
