"""The compressor's interface: prepare once a checkpoint, then compress at any level."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from bitsandnats._types import Params
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task

Level = int | float
"""How far a network is compressed, in the scheme's own unit."""


@dataclass(frozen=True)
class Levels:
    """The levels of a scheme, from severe to mild.

    Attributes:
        kind: `integer`: `values` are all there are, and a critical level is one of them, exactly; `real`: `values` are
            a coarse grid, and any level between the first and the last may be asked for.
        values: strictly ascending or strictly descending (noise is severe where σ is large).
        unit: what a level counts, as a symbol or a few words: `n_q`, `σ`, `fraction of singular values`.

    Raises:
        InputError: no values, or values that are not finite or not in order.
    """

    kind: Literal["integer", "real"]
    values: tuple[Level, ...]
    unit: str

    def __post_init__(self) -> None:
        rising = [a < b for a, b in itertools.pairwise(self.values)]
        ordered = (all(rising) or not any(rising)) and len(set(self.values)) == len(self.values)
        if not self.values or not ordered or not all(math.isfinite(v) for v in self.values):
            got = ", ".join(f"{v:g}" for v in self.values[:6]) or "none"
            raise InputError(
                message(expected="distinct finite levels from severe to mild", got=got, do="put them in order")
            )

    @property
    def rising(self) -> bool:
        """Whether the milder of two levels is the larger number."""
        return self.values[-1] >= self.values[0]

    def check(self, level: Level) -> None:
        """Refuses a level outside the range; for `integer` also one that is not among the values.

        Raises:
            InputError: as said.
        """
        low, high = sorted((self.values[0], self.values[-1]))
        if low <= level <= high and (self.kind == "real" or level in self.values):
            return
        between = f"{self.unit} between {low:g} and {high:g}"
        raise InputError(
            message(
                expected=between if self.kind == "real" else f"{between}, one of the scheme's {len(self.values)}",
                got=f"{level:g}",
                do="choose another level",
            )
        )


@runtime_checkable
class Prepared(Protocol):
    """A compressor made ready for one checkpoint."""

    @property
    def levels(self) -> Levels:
        """From severe to mild; at the first a critical value is censored."""
        ...

    @property
    def draws(self) -> int:
        """Compressions a level whose losses are averaged (1 for deterministic schemes)."""
        ...

    def compress(self, level: Level, draw: int = 0) -> Params:
        """The compressed weights: same keys, shapes and dtypes as the center; the same for the same (level, draw)."""
        ...

    def bits(self, level: Level) -> float | None:
        """Description length in bits, side information and fixed parameters included; None where there is no code."""
        ...

    def details(self, level: Level) -> dict[str, float]:
        """What was chosen at that level, by name (for quantization: `max_abs`); kept with the curve.

        `bits_per_parameter` among them is the scheme's own count of bits.
        """
        ...


@runtime_checkable
class Compressor(Protocol):
    """A family of smaller networks; a frozen value."""

    @property
    def scheme(self) -> str:
        """Its registered name, with those options that are not the default: what `compressors.registry` rebuilds."""
        ...

    def prepare(self, task: Task, seed: int = 0) -> Prepared:
        """Looks at one checkpoint: structure, ranges, decompositions."""
        ...
