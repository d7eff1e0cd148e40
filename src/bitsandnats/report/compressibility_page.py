"""The page of `reproduce compressibility`: suites side by side, with links to the page of each."""

from typing import Any

from bitsandnats.errors import StoreError
from bitsandnats.report import tables
from bitsandnats.report.compressibility_figures import SETTINGS, compressibility_figures
from bitsandnats.report.experiment_base import Page, environment
from bitsandnats.report.page import javascript
from bitsandnats.report.tables import Row, Run, Tables
from bitsandnats.store import open_run

_VERDICTS = {"beyond the controls": "good", "in part": "caution", "not beyond the controls": "bad"}
_SECTIONS = ("λ̂ over training", "critical levels", "fits", "schemes", "pruning")


def compressibility_page(run: Run) -> Page:
    """The page of a run.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    summary = run.summary()
    studies = study_tables(run, summary)
    figures = compressibility_figures(summary, studies)
    words = {
        "summary": summary,
        "verdict_class": _VERDICTS.get(summary["verdict"]["status"], "none"),
        "fits": fit_table(summary),
        "others": other_table(summary),
        "ranks": rank_table(summary),
        "settings_names": SETTINGS,
        "pages": {name: f"{place}/report.html" for name, place in summary["studies"].items()},
        "figures": figures,
        "sections": [name for name in _SECTIONS if any(figure.section == name for figure in figures)],
        "bundle": javascript() if figures else "",
    }
    template = "compressibility.html.jinja"
    return Page(figures, lambda specs: environment().get_template(template).render(**words, specs=specs))


def study_tables(run: Run, summary: dict[str, Any]) -> dict[str, Tables]:
    """What the suites' studies hold; those that cannot be read are left out."""
    folder = getattr(run, "path", None)
    found = {}
    for name, place in summary["studies"].items() if folder is not None else ():
        try:
            found[name] = tables.read(open_run(folder / place))
        except StoreError:
            continue
    return found


def fit_table(summary: dict[str, Any]) -> list[Row]:
    """The first scheme: one row a tolerance, response, suite, settings and range, the predictors as cells."""
    return _rows(summary, summary["schemes"][0], summary["tolerances"])


def other_table(summary: dict[str, Any]) -> list[Row]:
    """The other schemes at the main tolerance."""
    schemes = summary["schemes"][1:]
    rows = [row for scheme in schemes for row in _rows(summary, scheme, [summary["main_tolerance"]])]
    return [row for row in rows if row["response"] == "level"]


def _rows(summary: dict[str, Any], scheme: str, tolerances: list[float]) -> list[Row]:
    names = ("tolerance", "response", "suite", "settings", "range")
    found: dict[tuple[Any, ...], Row] = {}
    for fit in summary["fits"]:
        if fit["scheme"] == scheme and fit["tolerance"] in tolerances:
            place = tuple(fit[name] for name in names)
            row = found.setdefault(place, {**dict(zip(names, place, strict=True)), "scheme": scheme, "by": {}})
            row["by"][fit["predictor"]] = fit
    ordered = sorted(found.values(), key=lambda row: (row["response"], row["tolerance"]))
    return [row for row in ordered if "llc" in row["by"]]


def rank_table(summary: dict[str, Any]) -> dict[str, Any]:
    """Rank correlations between tolerances: the pairs as columns, suites and schemes as rows."""
    rows = summary["tolerance_ranks"]
    pairs = list(dict.fromkeys((row["tolerance"], row["other"]) for row in rows))
    cells: dict[tuple[str, str], dict[tuple[float, float], Row]] = {}
    for row in rows:
        cells.setdefault((row["suite"], row["scheme"]), {})[row["tolerance"], row["other"]] = row
    return {"pairs": pairs, "rows": cells}
