"""The compressor's interface: prepare once a checkpoint, then compress at any level."""

from typing import Protocol, runtime_checkable

from bitsandnats._types import Params
from bitsandnats.task import Task


@runtime_checkable
class Prepared(Protocol):
    """A compressor made ready for one checkpoint."""

    @property
    def levels(self) -> tuple[int, ...]:
        """From severe to mild, ascending in what is kept; at the first a critical value is censored."""
        ...

    @property
    def draws(self) -> int:
        """Compressions a level whose losses are averaged (1 for deterministic schemes)."""
        ...

    def compress(self, level: int, draw: int = 0) -> Params:
        """The compressed weights: same keys, shapes and dtypes as the center."""
        ...

    def bits(self, level: int) -> float | None:
        """Description length in bits, side information and fixed parameters included; None where there is no code."""
        ...

    def details(self, level: int) -> dict[str, float]:
        """What was chosen at that level, by name (for quantization: `max_abs`); kept with the curve.

        `bits_per_parameter` among them is the scheme's own count of bits.
        """
        ...


@runtime_checkable
class Compressor(Protocol):
    """A family of smaller networks; a frozen value."""

    @property
    def scheme(self) -> str:
        """Its registered name."""
        ...

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Looks at one checkpoint: structure, ranges, decompositions."""
        ...
