"""What `reproduce` and `selftest` print: plans, results and checks as tables that fit the terminal."""

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from bitsandnats.cli import console

_VERDICTS = {"aims met": "green", "aims not met": "red", "not judged": "yellow"}
_PARTS = {
    "training": "training",
    "calibration": "settings",
    "local": "λ̂",
    "schemes": "schemes",
    "published": "as published",
    "pruning": "pruning",
}
_SHORT = {"usable with caution": "caution"}
_STYLES = {"usable": "green", "usable with caution": "yellow", "not usable": "red"}


def show_plan(rows: Sequence[Any], workers: int) -> None:
    """What will be measured, and what it will cost."""
    out = console.output()
    table = _table(("size", "n", "sampler"), ("nets", "parameters", "a gradient", "predicted", "memory"))
    for row in rows:
        arm = row.arm
        fewest, most = row.parameters
        table.add_row(
            arm.size,
            f"{arm.samples:,}",
            arm.sampler,
            str(arm.nets),
            _count(most) if fewest == most else f"{_count(fewest)}–{_count(most)}",
            _span(row.evaluation_seconds),
            _span(row.seconds),
            _size(row.gigabytes),
        )
    out.print(table, highlight=False)
    total = _span(sum(row.seconds for row in rows) / workers)
    shared = f" by {workers} processes" if workers > 1 else ""
    console.say(
        f"predicted from one measured gradient of all chains a class: {total} in all{shared}, within a factor of 3"
    )


def show_benchmark(summary: dict[str, Any]) -> None:
    """The arms, the aims that are not met, and the verdict."""
    out = console.output()
    table = _table(("sampler", "size", "n"), ("nets", "median", "90 %", "order", "missed", "flagged", "s a net"))
    for arm in summary["arms"]:
        table.add_row(
            arm["sampler"],
            arm["size"],
            f"{arm['samples']:,}",
            str(arm["nets"]),
            _share(arm["median"]),
            _share(arm["ninetieth"]),
            "—" if arm["order"] is None else f"{arm['order']:.3f}",
            f"{arm['missed']}",
            f"{arm['missed_flagged']} of {arm['missed']}" if arm["missed"] else "—",
            "—" if arm["seconds"] is None else f"{arm['seconds']:.0f}",
        )
    out.print(table, highlight=False)
    failed = [f"{row['label']}, {row['sampler']}: {row['failed']}" for row in summary["networks"] if row["failed"]]
    for said in (*failed, *summary["findings"]):
        item = Table.grid(padding=(0, 1))
        item.add_row("•", Text(said))
        out.print(item, highlight=False)
    verdict = summary["verdict"]
    said = verdict["text"]
    out.print(said, style=_VERDICTS.get(verdict["status"], ""), markup=False, highlight=False)


def show_compressibility_plan(rows: Sequence[Any], workers: int) -> None:
    """What will be trained and measured, and what it will cost."""
    out = console.output()
    table = _table(("suite", "layers"), ("parameters", "points", "gradient", *_PARTS.values(), "in all"))
    for row in rows:
        own, parts = row.suite.options, row.parts()
        costs = (_brief(parts[name]) if parts[name] else "—" for name in _PARTS)
        size = _count(row.parameters), str(row.checkpoints), f"{1000 * row.gradient_seconds:.0f} ms"
        table.add_row(row.suite.name, f"{own.layers} × {own.width}", *size, *costs, _brief(row.seconds))
    out.print(table, highlight=False)
    total = _span(sum(row.seconds for row in rows) / workers)
    shared = f" by {workers} processes" if workers > 1 else ""
    console.say(f"predicted from one measured gradient a size: {total} in all{shared}, within a factor of 2")


def show_compressibility(summary: dict[str, Any]) -> None:
    """R² of λ̂ and its controls at the main tolerance, the findings, and the verdict."""
    out = console.output()
    controls = ("noise only", "loss", "log2 step")
    table = _table(("suite", "settings", "range"), ("points", "λ̂", *controls, "λ̂ given log2 step"))
    wanted = {"scheme": summary["schemes"][0], "tolerance": summary["main_tolerance"], "response": "level"}
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for fit in summary["fits"]:
        if all(fit[name] == value for name, value in wanted.items()):
            rows.setdefault((fit["suite"], fit["settings"], fit["range"]), {})[fit["predictor"]] = fit
    for place, own in rows.items():
        if "llc" in own:
            squares = [
                "—" if name not in own else f"{own[name]['r2']:.2f}"
                for name in ("llc", "noise_only", "loss", "log_step")
            ]
            partial = own["llc"]["partial"]
            said = "—" if partial is None else f"{partial:+.2f}"
            table.add_row(*place, str(own["llc"]["points"]), *squares, said)
    out.print(table, highlight=False)
    for said in summary["findings"]:
        item = Table.grid(padding=(0, 1))
        item.add_row("•", Text(said))
        out.print(item, highlight=False)
    out.print(summary["verdict"]["text"], style="bold", markup=False, highlight=False)


def show_grokking_plan(rows: Sequence[Any], workers: int) -> None:
    """What will be trained and measured, and what it will cost."""
    out = console.output()
    table = _table(
        ("operation, network, regime",),
        ("parameters", "n", "seeds", "points", "step", "training", "a point: bytes", "λ̂", "in all"),
    )
    for row in rows:
        table.add_row(
            row.arm,
            _count(row.parameters),
            f"{row.pairs:,}",
            str(row.seeds),
            str(row.checkpoints),
            f"{1000 * row.step_seconds:.2g} ms",
            *(_brief(seconds) for seconds in (row.training, row.complexity, row.llc, row.seconds)),
        )
    out.print(table, highlight=False)
    total = _span(sum(row.seconds for row in rows) / workers)
    shared = f" by {workers} processes" if workers > 1 else ""
    console.say(f"predicted from a few measured steps and searches: {total} in all{shared}, within a factor of 3")


def show_grokking(summary: dict[str, Any]) -> None:
    """Peak and fall of each arm, the findings, and the verdict."""
    out = console.output()
    table = _table(
        ("operation, network, regime",), ("test accuracy", "peak, bytes", "fall at 95 %", "at the end", "λ̂ at the end")
    )
    for arm in summary["arms"]:
        sizes, llc = arm["bytes"], arm["llc"]
        table.add_row(
            arm["arm"],
            _mean(arm["test_accuracy"], ".1%"),
            *(_mean(None if sizes is None else sizes[name], form) for name, form in _FALLS),
            _mean(None if llc is None else llc["fall_last"], ".2f"),
        )
    out.print(table, highlight=False)
    for said in summary["findings"]:
        item = Table.grid(padding=(0, 1))
        item.add_row("•", Text(said))
        out.print(item, highlight=False)
    out.print(summary["verdict"]["text"], style="bold", markup=False, highlight=False)


_FALLS = (("peak", ",.0f"), ("fall", ".2f"), ("fall_last", ".2f"))


def _mean(found: dict[str, Any] | None, form: str) -> str:
    """Mean ± standard deviation over seeds."""
    if found is None:
        return "—"
    return f"{found['mean']:{form}}" + ("" if found["sd"] is None else f" ± {found['sd']:{form}}")


def show_checks(checks: Sequence[Any]) -> None:
    """The self-test: a line a known answer, then why those that failed did."""
    out = console.output()
    numbers = ("estimate ± s.e.", "95 % interval", "truth", "λ", "s")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("model")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in checks:
        status = check.status or ""
        table.add_row(
            Text(check.model),
            *_measured(check),
            "—" if check.llc is None else f"{check.llc:g}",
            f"{check.seconds:.0f}",
            Text(_SHORT.get(status, status) or "—", style=_STYLES.get(status, "")),
            Text("pass" if check.passed else "FAIL", style="green" if check.passed else "red"),
        )
    out.print(table, highlight=False)
    for check in checks:
        if not check.passed:
            out.print(f"{check.model}: {check.why}", style="red", markup=False, highlight=False)


def _measured(check: Any) -> tuple[str, str, str]:
    """Estimate with its error, interval and truth, at the decimals that the error's second digit asks for."""
    if check.estimate is None:
        return "—", "—", "—" if check.truth is None else f"{check.truth:g}"
    if check.se is None:
        return f"{check.estimate:g}, exact", "—", f"{check.truth:g}"
    digits = max(0, 1 - math.floor(math.log10(check.se))) if check.se > 0 else 2
    low, high = check.interval
    shown = f"{check.estimate:.{digits}f} ± {check.se:.{digits}f}"
    return shown, f"{low:.{digits}f} to {high:.{digits}f}", f"{check.truth:.{digits}f}"


def _table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _share(value: float | None) -> str:
    return "no number" if value is None else f"{value:.1%}"


def _count(value: int) -> str:
    """A number of parameters in three digits."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return str(value)


def _size(gigabytes: float) -> str:
    """An amount of memory in the unit that fits it."""
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{max(1000 * gigabytes, 1):.0f} MB"


def _brief(seconds: float) -> str:
    """A stretch of time in whole seconds or minutes."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _span(seconds: float) -> str:
    """A stretch of time in the unit that fits it."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}" if seconds >= 10 * size else f"{seconds / size:.1f} {name}"
    return f"{1000 * seconds:.2g} ms"
