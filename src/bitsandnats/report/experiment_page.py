"""Pages of the experiments, by kind: what their run folders hold, formatted for reading."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bitsandnats.errors import StoreError
from bitsandnats.report import numbers
from bitsandnats.report.attribution_study_page import (
    loss_kernel_page,
    refined_page,
    retraining_page,
    susceptibility_page,
)
from bitsandnats.report.compressibility_page import compressibility_page
from bitsandnats.report.experiment_base import Page, environment, order
from bitsandnats.report.experiment_figures import CALIBRATED, arm_name, benchmark_figures, network_rows
from bitsandnats.report.grokking_page import grokking_page
from bitsandnats.report.page import javascript, setting
from bitsandnats.report.tables import Row, Run


def benchmark_page(run: Run) -> Page:
    """The page of `reproduce dln-benchmark`.

    Raises:
        StoreError: the folder has no summary, or one of another form.
    """
    summary = run.summary()
    networks, arms = network_rows(summary), summary.get("arms") or []
    figures = benchmark_figures(networks, arms, trace_rows(run, summary))
    missed = [_missed(row, arms) for row in summary.get("networks") or [] if _is_missed(row, arms)]
    words = {
        "summary": summary,
        "arms": [{**arm, "arm": arm_name(arm)} for arm in arms],
        "aims": _aim_rows(arms),
        "networks": summary.get("networks") or [],
        "missed": missed,
        "lines": _lines(arms),
        "verdict_class": _VERDICTS.get(summary["verdict"]["status"], "none"),
        "figures": figures,
        "bundle": javascript() if figures else "",
        "calibrated": CALIBRATED,
    }
    return Page(figures, lambda specs: environment().get_template("benchmark.html.jinja").render(**words, specs=specs))


def trace_rows(run: Run, summary: dict[str, Any]) -> list[Row]:
    """The thinned traces of the first network that most samplers measured: the mean over chains at each place."""
    by_label: dict[str, list[Row]] = {}
    for row in summary.get("networks") or []:
        if not row["failed"]:
            by_label.setdefault(row["label"], []).append(row)
    if not by_label:
        return []
    chosen = max(by_label.values(), key=len)  # the first of the largest
    rows = []
    for row in chosen:
        try:
            data = run.tree(row["label"], row["unit"]).dataset
        except StoreError:
            continue
        means = np.asarray(data["contribution"].mean("chain").values) / row["truth"]
        settings = row["settings"]
        burned = settings["burn_in"] / (settings["burn_in"] + settings["draws"])
        for share, value in zip(data["share"].values, means, strict=True):
            place = {"label": row["label"], "sampler": row["sampler"], "share": float(share), "one": 1.0}
            rows.append(place | {"value": float(value) if np.isfinite(value) else None, "burn_in": burned})
    return rows


def _is_missed(row: Row, arms: list[Row]) -> bool:
    line = _line(row, arms)
    return line is not None and (not numbers.finite(row["error"]) or abs(row["error"]) > line)


def _missed(row: Row, arms: list[Row]) -> Row:
    return {**row, "arm": arm_name(row), "line": _line(row, arms), "flagged": row["verdict"]["status"] != "usable"}


def _line(row: Row, arms: list[Row]) -> float | None:
    """The error beyond which a network of this arm counts as missed."""
    same = (a["line"] for a in arms if all(a[k] == row[k] for k in ("size", "samples", "sampler")))
    return next(same, None)


def _lines(arms: list[Row]) -> list[tuple[str, float]]:
    """Each size with its line, n where it is not the usual one."""
    named = {arm_name({**arm, "sampler": CALIBRATED}).removeprefix(f"{CALIBRATED}, "): arm["line"] for arm in arms}
    return list(named.items())


def _aim_rows(arms: list[Row]) -> list[Row]:
    """One row an arm with aims, a cell an aim."""
    with_aims = [arm for arm in arms if arm["aims"]]
    names = list(dict.fromkeys(aim["name"] for arm in with_aims for aim in arm["aims"]))
    rows = []
    for arm in with_aims:
        cells = {aim["name"]: {**_shown(aim), "met": aim["met"]} for aim in arm["aims"]}
        rows.append({"arm": arm_name(arm), "nets": arm["nets"], "cells": {name: cells.get(name) for name in names}})
    return rows


def _shown(aim: Row) -> dict[str, str]:
    """An aim and what was reached, as text in their unit."""
    form = {"share": numbers.percent, "seconds": numbers.duration, "count": setting, "number": order}[aim["unit"]]
    return {"aim": f"{aim['sense']} {form(aim['aim'])}", "value": form(aim["value"])}


_VERDICTS = {"aims met": "good", "aims not met": "bad", "not judged": "caution"}

EXPERIMENTS: dict[str, Callable[[Run], Page]] = {
    "dln-benchmark": benchmark_page,
    "compressibility": compressibility_page,
    "grokking": grokking_page,
    "influence-retraining": retraining_page,
    "loss-kernel": loss_kernel_page,
    "susceptibility-of-heads": susceptibility_page,
    "refined-llc": refined_page,
}
"""A summary's kind -> its page."""
