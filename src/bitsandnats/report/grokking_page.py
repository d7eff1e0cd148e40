"""The page of `reproduce grokking`: the paper's figures, the LLC beside them, and the tables."""

from typing import Any

from bitsandnats.report.experiment_base import Page, environment
from bitsandnats.report.grokking_figures import grokking_figures
from bitsandnats.report.numbers import DASH
from bitsandnats.report.page import javascript
from bitsandnats.report.tables import Row, Run

_VERDICTS = {"rises and falls": "good", "in part": "caution", "does not fall": "bad"}
_SECTIONS = ("learning", "complexity", "the LLC", "promises")


def grokking_page(run: Run) -> Page:
    """The page of a run.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    summary = run.summary()
    figures = grokking_figures(summary)
    words = {
        "summary": summary,
        "verdict_class": _VERDICTS.get(summary["verdict"]["status"], "none"),
        "arms": [_arm(arm, summary) for arm in summary["arms"]],
        "coders": list(summary["sizes"][0]["sizes"]) if summary["sizes"] else [],
        "figures": figures,
        "sections": [name for name in _SECTIONS if any(figure.section == name for figure in figures)],
        "bundle": javascript() if figures else "",
    }
    template = "grokking.html.jinja"
    return Page(figures, lambda specs: environment().get_template(template).render(**words, specs=specs))


def _arm(arm: Row, summary: dict[str, Any]) -> Row:
    """An arm's numbers as text."""
    sizes, llc = arm["bytes"], arm["llc"]
    shown: Row = {
        "place": f"{arm['operation']}, {arm['network']}",
        "regime": summary["regimes"][arm["regime"]],
        "memorised": _epochs(arm["memorised"]),
        "generalised": _epochs(arm["generalised"]),
        "accuracy": _mean(arm["test_accuracy"], ".1%"),
        "judged": DASH if sizes is None else "yes" if sizes["falls"] else "no",
    }
    for name, found, form in (("bytes", sizes, ",.0f"), ("llc", llc, ".1f")):
        for key, own in (("peak", form), ("fall", ".2f"), ("last", form), ("fall_last", ".2f")):
            shown[f"{name}_{key}"] = DASH if found is None else _mean(found[key], own)
    return {**arm, **shown}


def _mean(found: Row | None, form: str) -> str:
    if found is None:
        return DASH
    return f"{found['mean']:{form}}" + ("" if found["sd"] is None else f" ± {found['sd']:{form}}")


def _epochs(epochs: list[int | None]) -> str:
    return ", ".join("never" if e is None else f"{e:,}" for e in epochs)
