"""Values of options as they are typed."""

import re

from bitsandnats.errors import InputError, message


def numbers(text: str, name: str) -> list[float]:
    """A comma-separated list of numbers, each once.

    Raises:
        InputError: one is not a number.
    """
    try:
        return list(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise InputError(
            message(expected=f"numbers separated by commas for {name}", got=repr(text), do="give for instance 0.1,0.5")
        ) from None


def share(text: str | None, name: str) -> float | None:
    """A share, as `5%` or `0.05`.

    Raises:
        InputError: it is neither.
    """
    if text is None:
        return None
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InputError(message(expected=f"a share for {name}", got=repr(text), do="give for instance 5%")) from None


def seconds(text: str | None, name: str) -> float | None:
    """A time in seconds, as `90`, `90s`, `10m` or `2h`.

    Raises:
        InputError: it is none of these.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None:
        raise InputError(message(expected=f"a time for {name}", got=repr(text), do="give for instance 90s, 10m or 2h"))
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def names(text: str) -> list[str]:
    """A comma-separated list of algorithms, each once; commas between parentheses belong to their options."""
    parts = (part.strip() for part in re.split(r",(?![^(]*\))", text))
    return list(dict.fromkeys(part for part in parts if part))
