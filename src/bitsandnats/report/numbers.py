"""Numbers as a reader wants them: few digits, one dash for what is missing."""

import math
from typing import TypeGuard

Number = int | float
"""A JSON number; `None` beside it stands for a number that is missing."""

DASH = "—"
MINUS = "\u2212"


def finite(value: Number | None) -> TypeGuard[Number]:
    """Whether there is a number, and a finite one."""
    return value is not None and math.isfinite(value)


def number(value: Number | None, digits: int = 3) -> str:
    """The number at `digits` significant digits, large and small ones as powers of ten, `—` where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    if isinstance(value, int) and abs(value) < 10_000_000:
        return _signed(f"{value:,}" if abs(value) >= 10_000 else str(value))
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < max(digits, 6):
        return _signed(f"{value:.{max(digits - 1 - exponent, 0)}f}" if exponent < 4 else f"{value:,.0f}")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    lead = "" if mantissa == "1" else f"{mantissa}×"
    return _signed(f"{lead}10{str(int(power)).translate(_SUPERSCRIPT)}")


def exact(value: Number | None) -> str:
    """A number that was chosen rather than measured: no more digits than it has."""
    if value is None or not math.isfinite(value):
        return DASH
    if value != 0 and not 1e-3 <= abs(value) < 1e7:
        return number(float(value), 4)
    return _signed(f"{value:,.6g}" if abs(value) < 1e5 else f"{value:,.0f}").replace(
        ",", "" if abs(value) < 10_000 else ","
    )


def decimals(value: Number | None) -> str:
    """Two decimals, for numbers between −1 and 1."""
    return DASH if value is None or not math.isfinite(value) else _signed(f"{value:.2f}")


def uncertain(value: Number | None, error: Number | None) -> str:
    """`value ± error`, both at the decimals that the error's two leading digits ask for."""
    if value is None or not math.isfinite(value):
        return DASH
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 4)
    return _signed(f"{value:,.{decimals}f} ± {error:,.{decimals}f}")


def interval(bounds: list[Number | None] | None, digits: int = 3) -> str:
    """`[low, high]`, or nothing at all where a bound is missing."""
    if bounds is None or len(bounds) != 2 or not all(finite(bound) for bound in bounds):
        return ""
    return f"[{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def percent(share: Number | None) -> str:
    """A share as per cent: one decimal below ten, none above."""
    if share is None or not math.isfinite(share):
        return DASH
    value = 100 * share
    return _signed(f"{value:.0f} %" if abs(value) >= 9.95 or value == 0 else f"{value:.1f} %")


def duration(seconds: Number | None) -> str:
    """A stretch of time in the two units that fit it."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def compact(step: Number) -> str:
    """A step for a label in a figure: 512, 2000, 90k."""
    if abs(step) >= 1_000_000:
        return f"{step / 1e6:.3g}M"
    return f"{step / 1e3:.3g}k" if abs(step) >= 10_000 else f"{step:g}"


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _signed(text: str) -> str:
    """The text with a true minus sign."""
    return text.replace("-", MINUS)
