"""Which checkpoints of a series are meant: `step1000..step90000`, lists, globs and log-spaced parts of them."""

import fnmatch
import math
import re
from collections.abc import Sequence

from bitsandnats.errors import DataError, InputError, message
from bitsandnats.hf.names import near, numbered, some, step_of

_PART = re.compile(r"(?P<which>[^:]+)(:(?P<count>\d+))?")
_GLOB = re.compile(r"[*?\[]")


def select(spec: str, there: Sequence[str], where: str) -> list[str]:
    """The names that a specification selects, each once, by training step.

    Parts are separated by commas. A part is a name; a glob (`step*000`); or a range of steps, both ends included,
    `step1000..step90000` or `step1000..90000`. `:8` after a part leaves at most eight of it, spaced evenly in
    log(1 + step), its first and its last among them.

    Args:
        spec: the specification.
        there: the names there are.
        where: what has them, in words.

    Raises:
        InputError: the specification cannot be read.
        DataError: a part selects nothing.
    """
    chosen: dict[str, None] = {}
    for part in (p.strip() for p in spec.split(",")):
        found = _PART.fullmatch(part)
        if found is None or found["count"] == "0":
            raise InputError(
                message(
                    expected="revisions such as step1000..step90000:8, step*000 or step0,step512",
                    got=repr(spec),
                    do="see 'bitsandnats study --help'",
                )
            )
        names = sorted(_matching(found["which"], there), key=in_order)
        if not names:
            close = [] if _GLOB.search(part) or ".." in part else near(part, there)
            got = f"none, near it {some(close)}" if close else f"none; there are {some(sorted(there, key=in_order))}"
            raise DataError(message(expected=f"{part} among the checkpoints of {where}", got=got, do="name others"))
        if found["count"] is not None:
            names = [names[i] for i in spaced([step_of(name) for name in names], int(found["count"]))]
        chosen |= dict.fromkeys(names)
    return sorted(chosen, key=in_order)


def is_list(spec: str) -> bool:
    """Whether a specification names each checkpoint, so that what else there is need not be known."""
    return not _GLOB.search(spec) and ".." not in spec and ":" not in spec


def in_order(name: str) -> tuple[bool, int, str]:
    """By training step; names without one come last, by name."""
    step = step_of(name)
    return step is None, step or 0, name


def spaced(steps: Sequence[int | None], at_most: int) -> list[int]:
    """At most so many places, spaced evenly in log(1 + step), the first and the last among them.

    Without steps they are spaced evenly by place. With `at_most` 1, the last.

    Args:
        steps: of each place, ascending; None where unknown.
        at_most: at least 1.
    """
    if len(steps) <= at_most:
        return list(range(len(steps)))
    if at_most == 1:
        return [len(steps) - 1]
    known = None not in steps
    places = [math.log1p(step or 0) if known else float(i) for i, step in enumerate(steps)]
    chosen = [0]
    for pick in range(1, at_most):
        # Each pick leaves room for those still to come, so that exactly `at_most` are taken.
        last = len(steps) - at_most + pick
        wanted = places[0] + (places[-1] - places[0]) * pick / (at_most - 1)
        chosen.append(min(range(chosen[-1] + 1, last + 1), key=lambda i, goal=wanted: abs(places[i] - goal)))
    return chosen


def _matching(which: str, there: Sequence[str]) -> list[str]:
    if ".." in which:
        first, _, last = which.partition("..")
        start = numbered(first.strip())
        end = numbered(last.strip())
        if start is None or end is None or end[0] not in ("", start[0]) or start[1] > end[1]:
            raise InputError(
                message(
                    expected="a range of steps, the first before the last, such as step1000..step90000",
                    got=repr(which),
                    do="name the steps at its two ends",
                )
            )
        steps = [(name, numbered(name)) for name in there]
        return [name for name, n in steps if n is not None and n[0] == start[0] and start[1] <= n[1] <= end[1]]
    if _GLOB.search(which):
        return [name for name in there if fnmatch.fnmatchcase(name, which)]
    return [which] if which in there else []
