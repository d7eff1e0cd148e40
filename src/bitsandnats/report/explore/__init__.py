"""Pages to explore: maps, tables and coloured text of a run that followed losses of subsets."""

from typing import Any

import xarray as xr

from bitsandnats.errors import BitsAndNatsError
from bitsandnats.report.explore.kernel import kernel_section
from bitsandnats.report.explore.section import Section as Section
from bitsandnats.report.tables import Run

KINDS = ("attribution", "influence", "kernel", "susceptibility")
"""Kinds of runs that have such pages."""

_UNIT = "attribution"


def explore(run: Run, summary: dict[str, Any]) -> tuple[list[Section], list[str]]:
    """What there is to explore in a run; and why not, of what could not be read."""
    if summary.get("kind") not in KINDS:
        return [], []
    try:
        tree = run.tree(summary["title"], _UNIT)
    except BitsAndNatsError as error:
        return [], [str(error)]
    sections, missing = [], []
    for read in _readings(tree):
        try:
            sections.append(read())
        except BitsAndNatsError as error:
            missing.append(str(error))
    return sections, missing


def _readings(tree: xr.DataTree) -> list[Any]:
    from functools import partial

    from bitsandnats.recipes.attribution.maps import mapped

    return [partial(kernel_section, tree, name) for name in mapped(tree)]
