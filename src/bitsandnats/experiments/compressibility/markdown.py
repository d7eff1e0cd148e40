"""The study's tables as a page of Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from bitsandnats.experiments.compressibility.findings import groups, of_interest
from bitsandnats.experiments.compressibility.fits import PREDICTORS
from bitsandnats.experiments.compressibility.tables import Row, family

_FIT_HEAD = (
    *("suite", "settings", "range", "tolerance", "points", "R² of λ̂ [95 %]", "noise only", "loss", "log₂ step"),
    *("partial r of λ̂ given log₂ step [95 %]", "given all three", "R² of differences"),
)


def markdown(summary: dict[str, Any]) -> str:
    """The tables of a summary, with the command, the versions and the machine.

    Args:
        summary: of the run.
    """
    made, settings = summary["provenance"], summary["settings"]
    scheme = summary["schemes"][0]
    lines = [
        f"# {summary['title']}",
        "",
        "```console",
        made.get("command") or "bitsandnats reproduce compressibility",
        "```",
        "",
        f"{summary['verdict']['text']} bitsandnats {made['version']}, torch {made['torch']}, {made['platform']}, "
        f"{made['cores']} cores, {made.get('workers', 1)} process(es) on {made.get('device', 'cpu')}, "
        f"{made['seconds'] / 60:.0f} min, seed {made['seed']}.",
        "",
        *(f"- {finding}" for finding in summary["findings"]),
        "",
        "## Suites and settings",
        "",
        *_table(
            ("suite", "shape", "steps", "parameters", "measured d", "checkpoints", "γ", "nβ", "ε", "not usable"),
            [_suite(suite) for suite in summary["suites"]],
        ),
        "",
        f"Local settings: {_chains(settings['local'])}, the rest by calibration; γ, nβ and ε are those.",
        "Published settings (2510.12077, appendix D): γ = 300, nβ = 30, ε = 10⁻³, RMSProp-SGLD from w\\*, nothing",
        f"discarded; here {_chains(settings['published'])}.",
        "Not usable: estimates of which the verdict says so, local and published.",
        "",
        f"## What the critical level of {scheme} follows",
        "",
        summary["rule"],
        "",
        "R² of a straight line; 95 % percentile intervals of 2000 resamples of the checkpoints. Those of one training",
        "run are no independent draws: the intervals say how much single checkpoints decide. ↓: the line falls.",
        "Columns noise only, loss, log₂ step: R² of the control, then the interval of R²(λ̂) − R²(control).",
        "",
        "### n_q",
        "",
        *_table(_FIT_HEAD, list(_fits(summary["fits"], scheme, "level"))),
        "",
        "### log₂ n_q",
        "",
        *_table(_FIT_HEAD, list(_fits(summary["fits"], scheme, "log2_level"))),
        "",
        f"## The other schemes at {summary['main_tolerance']:g} nat",
        "",
        *_table(("scheme", *_FIT_HEAD), list(_others(summary))),
        "",
        "## Checkpoint by checkpoint",
        "",
    ]
    for suite in summary["suites"]:
        lines += [f"### {suite['name']}", "", *_checkpoints(suite, summary["tolerances"], scheme), ""]
    lines += ["## Insensitivity to the tolerance", "", *_ranks(summary), ""]
    lines += ["## Schemes in bits", "", *_bits(summary), ""]
    lines += ["## Head pruning, smallest suite", "", *_pruning(summary), ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["None."]
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def _suite(suite: Row) -> tuple[str, ...]:
    chosen, wrong = suite["settings"], suite["not_usable"]
    return (
        *(suite["name"], suite["shape"], f"{suite['steps']:,}"),
        *(_number(suite["parameters"], ",d"), _number(suite["moved"], ",d"), str(len(suite["checkpoints"]))),
        *(_number(chosen["gamma"], "g"), _number(chosen["nbeta"], "g"), _number(chosen["step_size"], ".3g")),
        f"{wrong['local']} local, {wrong['published']} published",
    )


def _fits(fits: Sequence[Row], scheme: str, response: str, tolerance: float | None = None) -> Iterable[Sequence[str]]:
    tolerances = sorted({fit["tolerance"] for fit in fits})
    for chosen in tolerances if tolerance is None else [tolerance]:
        for group in groups(of_interest(fits, scheme, chosen, response)):
            if "llc" in group:
                yield _fit(group)


def _fit(group: dict[str, Row]) -> tuple[str, ...]:
    llc = group["llc"]
    controls = [group.get(name) for name in PREDICTORS if name != "llc"]
    return (
        *(llc["suite"], llc["settings"], llc["range"], f"{llc['tolerance']:g}", str(llc["points"])),
        _squared(llc) + _interval(llc["r2_interval"]),
        *("—" if fit is None else _squared(fit) + _interval(fit["gain_interval"], "+.2f", "()") for fit in controls),
        _number(llc["partial"], "+.2f") + _interval(llc["partial_interval"], "+.2f"),
        _number(llc["partial_all"], "+.2f"),
        _number(llc["difference_r2"], ".2f"),
    )


def _others(summary: dict[str, Any]) -> Iterable[Sequence[str]]:
    for scheme in summary["schemes"][1:]:
        for row in _fits(summary["fits"], scheme, "level", summary["main_tolerance"]):
            yield scheme, *row


def _checkpoints(suite: Row, tolerances: Sequence[float], scheme: str) -> list[str]:
    names = ("local", "published")
    head = ["step", "loss", *(f"{what}, {name}" for name in names for what in ("λ̂", "noise only"))]
    head += [f"n_q at {tolerance:g}" for tolerance in tolerances]
    rows = []
    for row in suite["checkpoints"]:
        if row["failed"]:
            rows.append([str(row["step"]), f"failed: {row['failed']}", *[""] * (len(head) - 2)])
            continue
        cells = [str(row["step"]), _number(row["loss"], ".3f")]
        for name in names:
            llc = row[name] or {}
            cells += [_uncertain(llc.get("llc"), llc.get("se")), _number(llc.get("noise_only"), ".1f")]
        own = {c["tolerance"]: c for found, cs in row["critical"].items() if family(found) == scheme for c in cs}
        rows.append([*cells, *(_level(own.get(tolerance)) for tolerance in tolerances)])
    return _table(head, rows)


def _ranks(summary: dict[str, Any]) -> list[str]:
    found = summary["tolerance_ranks"]
    pairs = list(dict.fromkeys((row["tolerance"], row["other"]) for row in found))
    rows = []
    for suite, scheme in dict.fromkeys((row["suite"], row["scheme"]) for row in found):
        own = {(r["tolerance"], r["other"]): r for r in found if (r["suite"], r["scheme"]) == (suite, scheme)}
        cells = [f"{own[p]['spearman']:+.2f} ({own[p]['points']})" if p in own else "—" for p in pairs]
        rows.append([suite, scheme, *cells])
    said = "Spearman's correlation, along the series, of the critical levels at two tolerances (checkpoints)."
    return [said, "", *_table(("suite", "scheme", *(f"{a:g} and {b:g}" for a, b in pairs)), rows)]


def _bits(summary: dict[str, Any]) -> list[str]:
    found = summary["fewest_bits"]
    schemes = list(dict.fromkeys(name for row in found for name in row["median_bits"]))
    rows = [
        [
            *(row["suite"], f"{row['tolerance']:g}", str(row["checkpoints"])),
            ", ".join(f"{name} {n}" for name, n in row["shortest"].items()),
            *(_number(row["median_bits"].get(name), ".2f") for name in schemes),
            *(_number(row["last_bits"].get(name), ".2f") for name in schemes),
        ]
        for row in found
    ]
    head = ["suite", "tolerance", "checkpoints", "shortest at"]
    head += [f"{name}, {when}" for when in ("median", "last") for name in schemes]
    said = (
        "Bits a parameter of the whole description, side information and fixed parameters included; noise has no code."
    )
    return [said, "", *_table(head, rows)]


def _pruning(summary: dict[str, Any]) -> list[str]:
    own = summary["settings"]["pruning"]
    said = (
        f"Random heads set to zero, {own['draws']} choice(s) a fraction, then {own['steps']} steps at a tenth of the "
        f"training rate, batch {own['batch_size']}, on the training text. ΔL is on held-out text, ± standard error; "
        f"the training loss is the smallest of a batch while retraining. A fraction of 1 is retraining alone. No "
        f"critical fraction is given, as in the paper."
    )
    head = ("checkpoint", "heads kept", "fraction", "ΔL retrained", "ΔL without", "smallest training loss")
    rows = [
        (row["label"], *(["failed: " + row["failed"], "", "", "", ""] if row["failed"] else _pruned(row)))
        for row in summary["pruning"]
    ]
    return [said, "", *_table(head, rows)]


def _pruned(row: Row) -> list[str]:
    return [
        f"{row['heads_kept']} of {row['heads']}",
        f"{row['fraction']:g}",
        f"{row['retrained']:+.3f} ± {row['retrained_se']:.3f}",
        f"{row['pruned']:+.3f} ± {row['pruned_se']:.3f}",
        _number(row["training_loss"], ".3f"),
    ]


def _squared(fit: Row) -> str:
    return f"{fit['r2']:.2f}" + ("↓" if fit["slope"] < 0 else "")


def _interval(ends: Sequence[float] | None, form: str = ".2f", marks: str = "[]") -> str:
    return "" if ends is None else f" {marks[0]}{ends[0]:{form}}, {ends[1]:{form}}{marks[1]}"


def _level(point: Row | None) -> str:
    if point is None:
        return "—"
    if point["level"] is None or point["censored"]:
        return point["bound"] or "—"
    return _number(point["crossing"], ".1f")


def _uncertain(value: float | None, error: float | None) -> str:
    return "—" if value is None else f"{value:.1f} ± {_number(error, '.1f')}"


def _number(value: float | int | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def _chains(sampling: Row) -> str:
    return f"{sampling['chains']} chains of {sampling['draws']} draws of {sampling['batch_size']} contexts"
