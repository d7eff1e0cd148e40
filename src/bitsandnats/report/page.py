"""The page: what the run folder holds, formatted for reading. Decides nothing, measures nothing."""

from collections.abc import Callable
from functools import cache
from typing import Any

import altair as alt
import jinja2
import vl_convert
from markupsafe import Markup, escape

from bitsandnats.report import numbers
from bitsandnats.report.control_figures import RESPONSES
from bitsandnats.report.explore import Section
from bitsandnats.report.figures import Figure
from bitsandnats.report.levels import level_axis
from bitsandnats.report.refined_figures import cluster_rows, refined_rows
from bitsandnats.report.style import PREDICTORS
from bitsandnats.report.tables import Row, Tables, chosen_fits, main_tolerance

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""Version of Vega-Lite that the charts are written for."""

STATUS_CLASSES = {"usable": "good", "usable with caution": "caution", "not usable": "bad"}

QUESTIONS = {
    "llc": "Does the local learning coefficient explain compressibility?",
    "noise_only": "Or does plain sensitivity to weight noise (nβ = 0, the same variance) do as well?",
    "loss": "Or is it that better models are harder to compress?",
    "log_step": "Or that later checkpoints are?",
}

KINDS = {
    "study": "Study of a series of checkpoints",
    "llc": "Local learning coefficient",
    "compress": "Compression",
    "influence": "Influence of data",
    "kernel": "Loss kernel",
    "susceptibility": "Susceptibilities of components",
    "refined": "Refined learning coefficients",
    "attribution": "Which data and which components",
}


def render(
    tables: Tables,
    figures: list[Figure],
    specs: dict[str, dict[str, Any]],
    explored: tuple[list[Section], list[str]] = ([], []),
) -> str:
    """The whole page as one HTML text that loads nothing from anywhere.

    Args:
        tables: what the run folder holds.
        figures: drawn by the plotting library.
        specs: specifications of the figures, by name.
        explored: what the page's own scripts draw, and why not, of what could not be read.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bitsandnats.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summary = tables.summary
    verdict = summary.get("verdict") or {}
    names = ("number", "exact", "decimals", "uncertain", "interval", "percent", "duration")
    environment.filters |= {name: _present(getattr(numbers, name)) for name in names}
    environment.filters |= {
        "setting": _present(setting),
        "maths": maths,
        "status_class": lambda status: STATUS_CLASSES.get(status, "none"),
    }
    return environment.get_template("page.html.jinja").render(
        summary={**_EMPTY, **{key: value for key, value in summary.items() if value is not None}},
        kind=KINDS.get(summary.get("kind", ""), "Report"),
        verdict={"status": verdict.get("status"), **split_verdict(verdict)},
        counts=status_counts(tables.checkpoints),
        checkpoints=tables.checkpoints,
        show_step=any(row["step"] is not None and row["label"] != f"step{row['step']}" for row in tables.checkpoints),
        has_llc=any(row["has_llc"] for row in tables.checkpoints),
        columns=critical_columns(tables.critical),
        heads=result_columns(tables.critical, main_tolerance(summary)),
        bits=bits_rows(summary),
        ranks=rank_rows(summary),
        unmeasured=unmeasured_rows(tables.checkpoints),
        critical={(row["label"], row["scheme"], row["tolerance"]): row for row in tables.critical},
        controls=control_rows(summary),
        matrix=control_matrix(summary),
        main=main_tolerance(summary),
        fits=fit_rows(summary),
        schemes_like=lambda start: any(name.startswith(start) for name, _ in critical_columns(tables.critical)),
        missing=tables.missing,
        figures=figures,
        specs=specs,
        refined=refined_rows(summary),
        clusters=cluster_rows(summary),
        explored=explored[0],
        unexplored=explored[1],
        bundle=javascript() if figures else "",
    )


@cache
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that no text inside it can end early."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def setting(value: Any) -> str:
    """A setting's value as text."""
    if value is None:
        return numbers.DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return numbers.exact(value)
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value)
    return str(value)


def maths(text: str) -> Markup:
    """Plain text, escaped, with the subscripts of the project's own symbols set as such."""
    return Markup(str(escape(text)).replace("n_q", "n<sub>q</sub>").replace("log2 ", "log<sub>2</sub> "))


def split_verdict(verdict: dict[str, Any]) -> dict[str, str]:
    """Headline and explanation: the status is said once."""
    status, text = verdict.get("status") or "no verdict", verdict.get("text") or ""
    rest = text.removeprefix(status).lstrip(" :;,.–—") if text.startswith(status) else text
    return {
        "headline": status[:1].upper() + status[1:],
        "rest": rest[:1].upper() + rest[1:] if rest[:2].isalpha() else rest,
    }


def status_counts(checkpoints: list[Row]) -> list[tuple[str, int]]:
    """How many checkpoints have each status, those that failed last."""
    counts = [(status, sum(row["status"] == status for row in checkpoints)) for status in STATUS_CLASSES]
    failed = sum(row["failed"] is not None for row in checkpoints)
    return [(status, count) for status, count in [*counts, ("failed", failed)] if count]


def critical_columns(critical: list[Row]) -> list[tuple[str, list[numbers.Number]]]:
    """The schemes with their tolerances, as heads of columns."""
    schemes = dict.fromkeys(row["scheme"] for row in critical)
    return [(name, sorted({row["tolerance"] for row in critical if row["scheme"] == name})) for name in schemes]


def result_columns(critical: list[Row], main: float | None) -> list[Row]:
    """Columns of critical levels in the table of results: all tolerances of one scheme, or the main one of several."""
    schemes = critical_columns(critical)
    if len(schemes) == 1:
        scheme, tolerances = schemes[0]
        return [{"scheme": scheme, "tolerance": t, "head": numbers.exact(t), "unit": "nat"} for t in tolerances]
    return [
        {"scheme": name, "tolerance": main, "head": name, "unit": level_axis(critical, name).unit}
        for name, tolerances in schemes
        if main in tolerances
    ]


def bits_rows(summary: dict[str, Any]) -> dict[str, dict[float, Row]]:
    """The scheme of the shortest description by checkpoint and tolerance."""
    found: dict[str, dict[float, Row]] = {}
    for row in summary.get("fewest_bits") or []:
        found.setdefault(row["label"], {})[row["tolerance"]] = row
    return found


def rank_rows(summary: dict[str, Any]) -> dict[str, list[Row]]:
    """Rank correlations between tolerances by scheme, for schemes that have one."""
    rows = summary.get("tolerance_ranks") or []
    schemes = dict.fromkeys(row["scheme"] for row in rows if numbers.finite(row["spearman"]))
    return {scheme: [row for row in rows if row["scheme"] == scheme] for scheme in schemes}


def unmeasured_rows(checkpoints: list[Row]) -> list[Row]:
    """Schemes that could not be measured, one row a reason, with the checkpoints concerned."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in checkpoints:
        for scheme, why in row["unmeasured"].items():
            found.setdefault((scheme, why), []).append(str(row["label"]))
    return [{"scheme": scheme, "why": why, "labels": labels} for (scheme, why), labels in found.items()]


def control_matrix(summary: dict[str, Any]) -> list[Row]:
    """Where there are several schemes: one row a scheme, R² by predictor at the main tolerance."""
    rows = control_rows(summary)
    schemes = list(dict.fromkeys(row["scheme"] for row in rows))
    found = []
    for scheme in schemes if len(schemes) > 1 else []:
        own = {row["predictor"]: row for row in rows if row["scheme"] == scheme}
        first = next(iter(own.values()))
        partial = {"partial": own["llc"]["partial"] if "llc" in own else None}
        found.append({"scheme": scheme, "points": first["points"], "subset": first["subset"], "by": own, **partial})
    return found


def control_rows(summary: dict[str, Any]) -> list[Row]:
    """The fits at the main tolerance, response `level`: λ̂ first, then its controls, with the question each one asks."""
    main = main_tolerance(summary)
    rows = []
    found = chosen_fits(summary)
    for scheme in dict.fromkeys(fit["scheme"] for fit in found):
        fits = {
            fit["predictor"]: fit
            for fit in found
            if fit["scheme"] == scheme and fit["tolerance"] == main and fit["response"] == "level"
        }
        best = max((fit["r2"] for fit in fits.values() if numbers.finite(fit["r2"])), default=None)
        for predictor, name in PREDICTORS.items():
            if predictor in fits:
                words = {"scheme": scheme, "name": name, "question": QUESTIONS[predictor]}
                rows.append({**fits[predictor], **words, "best": fits[predictor]["r2"] == best})
    return rows


def fit_rows(summary: dict[str, Any]) -> list[Row]:
    """Every fit with the names that the page uses."""
    return [
        {
            **fit,
            "name": PREDICTORS.get(fit["predictor"], fit["predictor"]),
            "of": RESPONSES.get(fit["response"], fit["response"]),
        }
        for fit in summary.get("fits") or []
    ]


def _present(function: Callable[..., str]) -> Callable[..., str]:
    """The filter with a key that the summary lacks read as null."""

    def apply(*values: Any) -> str:
        return function(*(None if isinstance(value, jinja2.Undefined) else value for value in values))

    return apply


_EMPTY: dict[str, Any] = {
    "title": "Untitled run",
    "findings": [],
    "provenance": {},
    "model": {},
    "data": {},
    "settings": {},
    "reasons": {},
    "rule": None,
    "tolerances": [],
    "schemes": [],
    "kind": "",
    "recipe": None,
}
