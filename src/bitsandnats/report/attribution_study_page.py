"""Pages of the studies of attribution: their sheets as tables, with figures."""

from collections.abc import Callable
from typing import Any

from bitsandnats.report.attribution_study_figures import kernel_figures, retraining_figures
from bitsandnats.report.experiment_base import Page, environment
from bitsandnats.report.figures import Figure
from bitsandnats.report.heads_figures import susceptibility_figures
from bitsandnats.report.heads_refined_figures import refined_figures
from bitsandnats.report.page import javascript
from bitsandnats.report.tables import Run

_VERDICTS = {"aims met": "good", "aims not met": "bad"}
_VERDICTS |= {"separated": "good", "recovered": "good", "in part": "caution"}
_VERDICTS |= {"not separated": "bad", "not recovered": "bad"}
_PAPERS = {"influence-retraining": "arXiv 2509.26544", "loss-kernel": "arXiv 2509.26537"}
_PAPERS |= {"susceptibility-of-heads": "arXiv 2504.18274", "refined-llc": "arXiv 2410.02984"}


def retraining_page(run: Run) -> Page:
    """The page of `reproduce influence-retraining`.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    return _page(run, retraining_figures)


def loss_kernel_page(run: Run) -> Page:
    """The page of `reproduce loss-kernel`.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    return _page(run, kernel_figures)


def susceptibility_page(run: Run) -> Page:
    """The page of `reproduce susceptibility`.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    return _page(run, susceptibility_figures)


def refined_page(run: Run) -> Page:
    """The page of `reproduce refined-llc`.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    return _page(run, refined_figures)


def _page(run: Run, draw: Callable[[dict[str, Any]], list[Figure]]) -> Page:
    summary = run.summary()
    figures = draw(summary)
    words = {
        "summary": summary,
        "paper": _PAPERS[summary["kind"]],
        "verdict_class": _VERDICTS.get(summary["verdict"]["status"], "none"),
        "figures": figures,
        "bundle": javascript() if figures else "",
    }
    template = "attribution_study.html.jinja"
    return Page(figures, lambda specs: environment().get_template(template).render(**words, specs=specs))
