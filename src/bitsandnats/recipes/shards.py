"""A study split over processes that share one run folder."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bitsandnats.errors import InputError, message
from bitsandnats.store import locked


class Shard(NamedTuple):
    """One of several equal parts of a series.

    Attributes:
        index: from 1 to `count`.
        count: parts.
    """

    index: int
    count: int

    def of(self, labels: Sequence[str]) -> list[str]:
        """Every `count`-th label: neighbours in training go to different shards.

        Raises:
            InputError: there is none for this shard.
        """
        if self.index > len(labels):
            got = f"shard {self.index} of {self.count}"
            do = f"use at most {len(labels)} shards, one a checkpoint"
            raise InputError(message(expected=f"a shard of {len(labels)} checkpoints", got=got, do=do))
        return list(labels[self.index - 1 :: self.count])


def shard_of(text: str) -> Shard:
    """The shard that a text such as `2/8` names.

    Raises:
        InputError: it names none.
    """
    index, _, count = text.partition("/")
    if index.strip().isdigit() and count.strip().isdigit() and 1 <= int(index) <= int(count):
        return Shard(int(index), int(count))
    do = "give for instance 1/8, the first of eight"
    raise InputError(message(expected="a shard i/n with 1 ≤ i ≤ n", got=repr(text), do=do))


@contextmanager
def holding(folder: Path, shard: Shard | None) -> Iterator[None]:
    """Keeps other processes off a run folder, or off one shard of it, while the block runs.

    Args:
        folder: the run folder; must exist.
        shard: the part that is worked on; None = all, which nobody else may then touch.

    Raises:
        StoreError: another process holds it; the sentence says which.
    """
    with ExitStack() as held:
        held.enter_context(locked(folder, "run", kind="exclusive" if shard is None else "shared"))
        if shard is not None:
            held.enter_context(locked(folder, f"shard-{shard.index}-of-{shard.count}"))
        yield
