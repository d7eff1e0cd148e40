"""Pages to explore: maps, tables and coloured text of a run that followed losses of subsets."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import xarray as xr

from bitsandnats.errors import BitsAndNatsError
from bitsandnats.estimators.covariance import has_pair
from bitsandnats.estimators.susceptibility import susceptibility
from bitsandnats.recipes.attribution.maps import mapped
from bitsandnats.report.explore.influence import influence_section
from bitsandnats.report.explore.kernel import kernel_section
from bitsandnats.report.explore.matrix import influence_matrix, response_matrix
from bitsandnats.report.explore.section import Section as Section
from bitsandnats.report.explore.tokens import has_tokens, influence_tokens, susceptibility_tokens
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


def _readings(tree: xr.DataTree) -> list[Callable[[], Section]]:
    """A function for each section that the run holds data of."""
    subsets, found = list(tree["subsets"].children), []
    if "moments" in tree.children and {"train", "query"} <= set(subsets) and has_pair(tree, "query", "train"):
        found += [partial(influence_section, tree), partial(influence_matrix, tree)]
        found += [partial(influence_tokens, tree, side) for side in ("train", "query") if has_tokens(tree, side)]
    if "component0" in tree.children:
        found += _responses(tree, [name for name in subsets if name != "train"] or ["train"])
    return found + [partial(kernel_section, tree, name) for name in mapped(tree)]


def _responses(tree: xr.DataTree, probes: list[str]) -> list[Callable[[], Section]]:
    read = cache(lambda: susceptibility(tree, probes))  # for both sections
    found = [lambda: response_matrix(tree, read(), probes)]
    if all(has_tokens(tree, name) for name in probes):
        found.append(lambda: susceptibility_tokens(tree, read(), probes))
    return found
