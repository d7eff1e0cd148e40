"""How a scheme's levels are named and drawn: unit, scale and ticks of the axis they stand on."""

from typing import NamedTuple

import altair as alt

from bitsandnats.report.numbers import Number, finite
from bitsandnats.report.tables import Row

_RATIO_UNITS = {"n_q": 2, "σ": 10}  # drawn on a logarithmic axis of this base


class LevelAxis(NamedTuple):
    """What an axis of levels says and how it is divided.

    Attributes:
        unit: what a level counts.
        title: the unit, and the scale where it is logarithmic.
        base: of the logarithm; 0 for a linear axis.
    """

    unit: str
    title: str
    base: int

    def scale(self, ends: list[Number], padding: int = 0) -> alt.Scale:
        """The scale between two values."""
        if self.base:
            return alt.Scale(type="log", base=self.base, domain=ends, nice=False, padding=padding)
        return alt.Scale(domain=ends, nice=False, zero=False, padding=padding)

    def axis(self, ends: list[Number]) -> alt.Axis:
        """Ticks at powers of two (and half-way between them where there are few), or at 1, 2, 5 times powers of ten."""
        if not self.base:
            return alt.Axis(grid=False, tickCount=6)
        low, high = ends
        every = [2.0**k for k in range(-20, 21)] if self.base == 2 else []
        if self.base == 10:
            every = [m * 10.0**k for k in range(-9, 5) for m in ((1, 2, 5) if high / low < 300 else (1,))]
        if self.base == 2 and high / low < 12:
            every += [1.5 * value for value in every]
        inside = sorted(value for value in every if low <= value <= high)
        return alt.Axis(values=inside, format="~g", grid=False, labelOverlap="greedy")


def level_axis(rows: list[Row], scheme: str) -> LevelAxis:
    """The axis for one scheme's levels; runs stored without a unit are of the schemes that there were then."""
    unit = next((str(row["unit"]) for row in rows if row["scheme"] == scheme and row.get("unit")), None)
    unit = unit or ("n_q" if scheme.startswith("quantize") else f"level of {scheme}")
    base = _RATIO_UNITS.get(unit, 0)
    levels = [
        row[key] for row in rows if row["scheme"] == scheme for key in ("level", "crossing") if finite(row.get(key))
    ]
    base = base if levels and min(levels) > 0 else 0
    return LevelAxis(unit, f"{unit} (log scale)" if base else unit, base)


def stretched(levels: list[Number], *, log: bool, within: list[Number]) -> list[Number]:
    """The span of some levels with a margin, not beyond that of `within`."""
    low, high = min(levels), max(levels)
    if log:
        margin = max((high / low) ** 0.12, 1.15)
        ends = [low / margin, high * margin]
    else:
        margin = 0.08 * (high - low) or 0.1 * (abs(high) or 1.0)
        ends = [low - margin, high + margin]
    return [max(ends[0], min(within)), min(ends[1], max(within))] if min(within) < max(within) else ends
