"""Results as tables that fit the terminal: columns are left out before words are wrapped."""

import importlib
import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bitsandnats.cli import console

_STYLES = {"usable": "green", "usable with caution": "yellow", "not usable": "red", "failed": "red"}
_SHORT = {"usable with caution": "caution"}
_DISPENSABLE = ("ESS", "R̂", "noise only", "loss")
_REASONS_SHOWN = 3


def show_run(run: Any, page: Any, as_json: bool) -> None:
    """The result of a study, and where its report is."""
    if as_json:
        console.show_json(run.summary())
        return
    show_study(run.summary(), console.output())
    waiting = pending(run)
    if waiting:
        shown = ", ".join(waiting[:5]) + (" …" if len(waiting) > 5 else "")
        console.say(f"not measured yet, {len(waiting)} checkpoints of other shards: {shown}")
    console.show_page(page)


def pending(run: Any) -> list[str]:
    """Checkpoints of a study that nobody has measured yet; none where there is no table at all."""
    return list(run.summary().get("pending", ()))


def show_replay(found: Any) -> None:
    """Whether a run made again has the same numbers, and the first of those that differ."""
    if found.identical:
        console.say(f"identical: {found.compared} values are the same to the last bit")
        return
    console.say(f"not identical: {len(found.differences)} of {found.compared} values differ")
    for line in found.differences[:10]:
        console.say(f"  {line}")


def show_study(summary: dict[str, Any], out: Console) -> None:
    """The table of a study, why estimates are not usable, its findings and its verdict."""
    main, schemes = summary["main_tolerance"], summary["schemes"]
    unit = (summary.get("model") or {}).get("unit") or "unit"
    name = "n_q*" if schemes == ["quantize"] else "critical levels"
    out.print(f"{summary['title']}: {name} at ΔL = {main:g} nats a {unit}", highlight=False)
    table = _study_table(summary, ())
    for count in range(1, len(_DISPENSABLE) + 1):
        if _width(table, out) <= out.width:
            break
        table = _study_table(summary, _DISPENSABLE[:count])
    out.print(table)
    if len(schemes) > 1:
        out.print(_schemes_table(summary))
    if any(row.get("subsets") for row in summary["checkpoints"]):
        out.print(_subsets_table(summary["checkpoints"], unit))
    for said in _remarks(summary["checkpoints"]):
        _item(said, out)
    for finding in summary["findings"]:
        _item(finding, out)
    show_verdict(summary["verdict"]["text"], summary["verdict"]["status"], out)


def show_llc(estimate: Any, settings: Any) -> None:
    """One estimate, the settings behind it, and why they were chosen."""
    out = console.output()
    show_verdict(str(estimate), estimate.verdict.status, out)
    if estimate.resolution is not None:
        out.print(str(estimate.resolution), markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("why")
    for name, value in settings.values().items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(name, Text(shown), Text(settings.reasons.get(name, "")))
    out.print(table)


def show_subsets(losses: dict[str, dict[str, Any]]) -> None:
    """The loss of each named part of the data, where there are any."""
    if losses:
        out = console.output()
        said = ", ".join(f"{name} {_loss_of(part)}" for name, part in losses.items())
        out.print(f"loss by subset: {said}", markup=False, highlight=False)


def _subsets_table(rows: Sequence[dict[str, Any]], unit: str) -> Table:
    """Held-out loss of every checkpoint on each subset."""
    names = list(dict.fromkeys(name for row in rows for name in row.get("subsets") or {}))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"loss by subset, nats a {unit}", title_justify="left")
    table.add_column("checkpoint", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        parts = row.get("subsets") or {}
        table.add_row(Text(row["label"]), *(_loss_of(parts[name]) if name in parts else "" for name in names))
    return table


def _loss_of(part: dict[str, Any]) -> str:
    error = "" if part["loss_se"] is None else f" ± {part['loss_se']:.2g}"
    return f"{part['loss']:.4g}{error}"


def show_critical(label: str, points: Sequence[Any]) -> None:
    """Critical points of one model, a line a tolerance."""
    out = console.output()
    out.print(f"{label}: {points[0].scheme}, critical {points[0].unit}", markup=False, highlight=False)
    table = _critical_table(points, intervals=True)
    if _width(table, out) > out.width:
        table = _critical_table(points, intervals=False)
    out.print(table, highlight=False)


def show_families(families: Sequence[str]) -> None:
    """The algorithms of each family: how one writes it, then what it is."""
    out = console.output()
    for family in families:
        registry = importlib.import_module(f"bitsandnats.{family}").registry
        if len(families) > 1:
            out.print(family, style="bold")
        for name, entry in registry.entries().items():
            options = registry.options(name)
            line = f"{name}({options})" if options else name
            out.print(Text.assemble((name, "bold"), line[len(name) :]), highlight=False)
            out.print(Padding(Text(entry.summary), (0, 0, 0, 4)), highlight=False)


def show_parts(kind: str, parts: Sequence[tuple[str, int]], dimension: int) -> None:
    """Components, or what one selects, with their numbers of coordinates."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(kind)
    table.add_column("coordinates", justify="right")
    table.add_column("of d", justify="right")
    for name, count in parts:
        table.add_row(escape(name), f"{count:,}", f"{count / dimension:.1%}")
    console.output().print(table, highlight=False)


def _study_table(summary: dict[str, Any], left_out: Sequence[str]) -> Table:
    main, schemes = summary["main_tolerance"], summary["schemes"]
    measured = [name for name in ("loss", "λ̂ ± se", "noise only", "R̂", "ESS") if name not in left_out]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("checkpoint", no_wrap=True)
    for name in measured:
        table.add_column(name, justify="right", no_wrap=True)
    alone = schemes if len(schemes) == 1 else []  # several have a table of their own
    for scheme in alone:
        table.add_column("n_q*" if scheme == "quantize" else scheme, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in summary["checkpoints"]:
        llc = row["llc"] or {}
        status = "failed" if row["failed"] else (llc.get("verdict") or {}).get("status", "")
        digits = _digits(llc.get("se"))
        cells = {
            "loss": _number(row["loss"], 3),
            "λ̂ ± se": _estimate(llc.get("llc"), llc.get("se"), digits),
            "noise only": _number(llc.get("noise_only"), digits),
            "R̂": _number(llc.get("rhat"), 2),
            "ESS": _number(llc.get("ess"), 0),
        }
        critical = (_critical(row["critical"].get(scheme, []), main) for scheme in alone)
        verdict = Text(_SHORT.get(status, status), style=_STYLES.get(status, ""))
        table.add_row(Text(row["label"]), *(cells[name] for name in measured), *critical, verdict)
    return table


def _width(table: Table, out: Console) -> int:
    """How wide a table would like to be, however wide the terminal is."""
    return out.measure(table, options=out.options.update(width=1000)).maximum


def _critical_table(points: Sequence[Any], *, intervals: bool) -> Table:
    """A line a tolerance; `intervals` for terminals that have room for them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    ends = ["95 % interval"] if intervals else []
    for name in ("tolerance", "critical", *ends, "bits/parameter", "ΔL ± se"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for point in points:
        low, high = point.interval
        known = [f"{low:.3g} … {high:.3g}" if math.isfinite(low) else "—"] if intervals else []
        shown = str(point.level) if isinstance(point.level, int) else f"{point.crossing:.4g}"
        remark = "the scheme's floor" if point.censored else "" if point.monotone else "ΔL is not monotone"
        table.add_row(
            f"{point.tolerance:g}",
            point.bound or shown,
            *known,
            _number(point.bits_per_parameter, 2),
            _estimate(point.excess_loss, point.excess_loss_se, _digits(point.excess_loss_se)),
            "no level meets it" if point.level is None else remark,
        )
    return table


def _schemes_table(summary: dict[str, Any]) -> Table:
    """The critical level of each scheme at the main tolerance, a line a checkpoint."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("checkpoint", no_wrap=True)
    for scheme in summary["schemes"]:
        table.add_column(Text(scheme.replace("-", "-\n").replace("(", "\n(")), justify="right")
    for row in summary["checkpoints"]:
        found = (row["critical"].get(scheme, []) for scheme in summary["schemes"])
        cells = [_critical(points, summary["main_tolerance"]) for points in found]
        table.add_row(Text(row["label"]), *cells)
    return table


def _remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Why checkpoints failed, all of them; why estimates are not usable, the first few."""
    failed = [f"{row['label']} failed: {row['failed']}" for row in rows if row["failed"]]
    refused = [
        f"{row['label']} is not usable: {_first(row['llc']['verdict']['reasons'])}"
        for row in rows
        if row["llc"] and row["llc"]["verdict"]["status"] == "not usable"
    ]
    more = len(refused) - _REASONS_SHOWN
    return failed + refused[:_REASONS_SHOWN] + ([f"{more} more are not usable: see the report"] if more > 0 else [])


def _first(reasons: Sequence[str]) -> str:
    """The first reason, and how many there are beside it."""
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return reasons[0] + more if reasons else "see the report"


def _item(said: str, out: Console) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_row("•", Text(said))
    out.print(table, highlight=False)


def show_verdict(said: str, status: str, out: Console) -> None:
    """A verdict in its colour."""
    out.print(said, style=_STYLES[status], markup=False, highlight=False)


def _digits(error: float | None) -> int:
    """Decimals up to the error's second digit."""
    return min(max(0, 1 - math.floor(math.log10(error))), 6) if error and error > 0 and math.isfinite(error) else 1


def _estimate(value: float | None, error: float | None, digits: int) -> str:
    return "—" if value is None else f"{_number(value, digits)} ± {_number(error, digits)}"


def _number(value: float | None, digits: int) -> str:
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _critical(points: Sequence[dict[str, Any]], tolerance: float) -> str:
    point = next((p for p in points if p["tolerance"] == tolerance), None)
    if point is None:
        return "—"
    if point["bound"]:
        return point["bound"]
    exact = isinstance(point["level"], int)
    return f"{point['level']} ({point['crossing']:.1f})" if exact else f"{point['crossing']:.3g}"
