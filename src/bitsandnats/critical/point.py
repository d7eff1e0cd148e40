"""CriticalPoint: where a scheme's loss increase meets a tolerance, in numbers and in words."""

import math
from dataclasses import dataclass
from typing import Any

import xarray as xr

from bitsandnats.compressors.types import Level

_SYMBOL = 3  # letters; longer units are words


@dataclass(frozen=True)
class CriticalPoint:
    """Where a scheme's loss increase meets a tolerance.

    Attributes:
        scheme: the compressor.
        unit: what a level counts.
        tolerance: ε, nats a unit of the loss.
        level: the most severe level within the tolerance: exact for integer levels (2510.12077, section 4.1), the
            most severe one evaluated for real ones; None where not even the mildest is.
        crossing: where the interpolated curve crosses the tolerance (2510.12077, figure 3); `level` where censored.
        bits: description length at `level`, everything included.
        bits_per_parameter: the scheme's own count where it has one (log₂ n_q for quantization), else `bits` over the
            parameters that were compressed.
        excess_loss: ΔL at `level`, nats a unit; at the mildest level, as a bound, where none is within the tolerance.
        excess_loss_se: its standard error over paired items, and over draws for random schemes.
        interval: 95 % interval of the crossing, from the error of ΔL there; NaN where censored.
        censored: the most severe level already meets the tolerance.
        monotone: whether, of the levels that were evaluated, ΔL falls all along those up to this one and the milder
            ones are within the tolerance.
        bound: where there is no crossing, what is known of it: `≤ 4`, `> 256`; empty where there is one.
        remark: why there is none, in words; empty where there is one.
        curve: every level evaluated (dims: level).
    """

    scheme: str
    unit: str
    tolerance: float
    level: Level | None
    crossing: float
    bits: float
    bits_per_parameter: float
    excess_loss: float
    excess_loss_se: float
    interval: tuple[float, float]
    censored: bool
    monotone: bool
    bound: str
    remark: str
    curve: xr.Dataset

    def __str__(self) -> str:
        if self.level is None:
            return f"{self.scheme}: no level meets ΔL ≤ {self.tolerance:g}: {self.remark}"
        symbol = len(self.unit) <= _SYMBOL
        name = f"{self.unit}* =" if symbol else f"critical {self.unit}"
        shown = f"{self.level}" if isinstance(self.level, int) else f"{self.crossing:.4g}"
        cost = f"{self.bits_per_parameter:.2f} bits/parameter" if math.isfinite(self.bits_per_parameter) else ""
        notes = ", ".join(part for part in (cost, "the floor of the scheme" if self.censored else "") if part)
        loss = f"ΔL = {self.excess_loss:.3f} ± {self.excess_loss_se:.3f}"
        at = "" if isinstance(self.level, int) or self.crossing == self.level else f" at {self.level:.4g}"
        return f"{name} {shown}{f' ({notes})' if notes else ''}, {loss}{at}"

    def as_record(self) -> dict[str, Any]:
        """Plain values for a summary; null where not a number."""
        names = ("unit", "tolerance", "level", "crossing", "bits", "bits_per_parameter", "excess_loss")
        plain = {name: getattr(self, name) for name in (*names, "excess_loss_se")}
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}
        interval = [v if math.isfinite(v) else None for v in self.interval]
        ends = {"interval": interval, "censored": self.censored, "monotone": self.monotone}
        return {**finite, **ends, "bound": self.bound, "remark": self.remark}
