"""What the pages of experiments share: their form, and the templates' filters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jinja2

from bitsandnats.report import numbers
from bitsandnats.report.figures import Figure
from bitsandnats.report.page import STATUS_CLASSES, maths, setting


class Page(NamedTuple):
    """An experiment's figures, and the page once their specifications are known."""

    figures: list[Figure]
    render: Callable[[dict[str, dict[str, Any]]], str]


def order(value: numbers.Number | None) -> str:
    """A share of pairs, four decimals at most."""
    return numbers.DASH if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def environment() -> jinja2.Environment:
    """The templates with the filters that they use."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("bitsandnats.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "number": numbers.number,
        "uncertain": numbers.uncertain,
        "percent": numbers.percent,
        "duration": numbers.duration,
        "decimals": numbers.decimals,
        "span": lambda ends: f"[{numbers.decimals(ends[0])}, {numbers.decimals(ends[1])}]",
        "order": order,
        "signed": lambda share: "" if share is None else ("+" if share > 0 else "") + numbers.percent(share),
        "setting": setting,
        "maths": maths,
        "status_class": lambda status: STATUS_CLASSES.get(status, "none"),
    }
    return found
