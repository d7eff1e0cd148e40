"""Figures of the deep-linear benchmark: estimate against λ, errors, times, and the chains on one network."""

import math
import statistics
from typing import Any

import altair as alt

from bitsandnats.report.figures import Figure
from bitsandnats.report.numbers import compact, finite, percent
from bitsandnats.report.style import CHAINS, INK, MUTED, RED, status_scales, values
from bitsandnats.report.tables import Row

CALIBRATED = "calibrated"
_WIDE, _SQUARE = 860, 340
_ROW = 26  # pixels an arm
_SMALLEST = 0.01  # relative error below which the axis is linear
_TICKS = [-1, -0.3, -0.1, -0.03, 0, 0.03, 0.1, 0.3, 1, 3, 10, 100, 1000]


def benchmark_figures(networks: list[Row], arms: list[Row], traces: list[Row]) -> list[Figure]:
    """Every figure for which there are numbers.

    Args:
        networks: rows of `network_rows`.
        arms: the summary's.
        traces: rows of `trace_rows`.
    """
    shown = [row for row in networks if finite(row["llc"]) and row["llc"] > 0]
    found = []
    if shown:
        found.append(
            Figure("estimates", "results", "Estimate against truth", _ESTIMATES, _estimates(shown), True),
        )
    if any(finite(row["error"]) for row in networks):
        lost = sum(not finite(row["error"]) for row in networks)
        without = f" Without a number, and not shown: {lost} of {len(networks)}." if lost else ""
        found.append(Figure("errors", "results", "Errors", _ERRORS + without, _errors(networks, arms), True))
    if any(finite(row["seconds"]) for row in networks):
        found.append(Figure("times", "results", "Time a network", _TIMES, _times(networks, arms), True))
    if traces:
        label = traces[0]["label"]
        title = f"The chains on one network ({label})"
        found.append(Figure("chains", "results", title, _CHAINS_CAPTION, _chains(traces), True))
    return found


def network_rows(summary: dict[str, Any]) -> list[Row]:
    """One row a network and sampler, with the name of its arm as figures write it."""
    rows = []
    for row in summary.get("networks") or []:
        low, high = row["interval"] or (None, None)
        kept = {key: row[key] for key in ("label", "size", "sampler", "truth", "llc", "error", "seconds", "parameters")}
        kept |= {"low": low, "high": high, "status": row["verdict"]["status"], "arm": arm_name(row)}
        kept["kind"] = CALIBRATED if row["sampler"] == CALIBRATED else "others"
        reasons = row["verdict"]["reasons"]
        rows.append(kept | {"reason": reasons[0] if reasons else "", "widths": "-".join(map(str, row["widths"]))})
    return rows


def arm_name(row: Row) -> str:
    """An arm's name on an axis: what tells it from the others."""
    if row["sampler"] != CALIBRATED:
        return str(row["sampler"])
    return f"{CALIBRATED}, {row['size']}" + ("" if row["samples"] == 20_000 else f", n = {compact(row['samples'])}")


def _hints() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="network"),
        alt.Tooltip("widths:N"),
        alt.Tooltip("sampler:N"),
        alt.Tooltip("truth:Q", title="λ"),
        alt.Tooltip("llc:Q", title="λ̂", format=".5g"),
        alt.Tooltip("error:Q", format="+.2%"),
        alt.Tooltip("seconds:Q", format=".1f"),
        alt.Tooltip("status:N", title="verdict"),
        alt.Tooltip("reason:N"),
    ]


def _estimates(rows: list[Row]) -> alt.TopLevelMixin:
    """λ̂ against λ on logarithmic axes; calibrated beside others where there are others."""
    panels = []
    for kind, title in ((CALIBRATED, "calibrated, nothing set"), ("others", "others, at the same nβ and γ")):
        own = [row for row in rows if row["kind"] == kind]
        if own:
            panels.append(_panel(own, title))
    return (
        alt.hconcat(*panels, spacing=36)
        .resolve_scale(color="independent")
        .properties(
            description="Estimated against true local learning coefficient, with the line on which they are equal"
        )
    )


def _panel(rows: list[Row], title: str) -> alt.TopLevelMixin:
    numbers = [value for row in rows for value in (row["truth"], row["llc"])]
    ends = [min(numbers) / 1.25, max(numbers) * 1.25]
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    scale = alt.Scale(type="log", domain=ends, nice=False)
    axis = alt.Axis(values=_one_two_five(*ends), format="~s", labelOverlap="greedy", labelSeparation=6)
    x = alt.X("truth:Q", title="λ, nats", scale=scale, axis=axis)
    y = alt.Y("llc:Q", title="estimate, nats", scale=scale, axis=axis)
    colours = alt.Scale(domain=arms, range=CHAINS[: len(arms)])
    legend = alt.Legend(title=None, orient="right", symbolOpacity=1)
    line = alt.Chart(values([{"truth": end, "llc": end} for end in ends])).mark_line(
        color=MUTED, strokeDash=[4, 3], strokeWidth=1
    )
    points = alt.Chart(values(rows)).mark_point(size=52, filled=True, opacity=0.75)
    colour = alt.Color("arm:N", scale=colours, sort=arms, legend=legend)
    layers = [line.encode(x=x, y=y), points.encode(x=x, y=y, color=colour, tooltip=_hints())]
    return alt.layer(*layers, width=_SQUARE, height=_SQUARE, title=title)


def _errors(rows: list[Row], arms: list[Row]) -> alt.TopLevelMixin:
    """Signed relative errors by arm: a mark a network, a tick at their median, the median of |error| in words."""
    found = [row for row in rows if finite(row["error"])]
    farthest = max([abs(row["error"]) for row in found] + [0.05]) * 1.3
    lowest = -min(farthest, 1.0)
    scale = alt.Scale(type="symlog", constant=_SMALLEST, domain=[lowest, farthest], nice=False)
    ticks = [tick for tick in _TICKS if lowest <= tick <= farthest]
    label = "datum.value == 0 ? '0' : format(datum.value, '+.0%')"
    axis = alt.Axis(values=ticks, labelExpr=label, grid=True, labelOverlap="greedy")
    y = _arm_axis(arms)
    colour, shape = status_scales(found)
    lines = [{"arm": arm_name(arm), "low": -arm["line"], "high": arm["line"]} for arm in arms]
    medians = []
    for arm in arms:
        own = [row["error"] for row in found if row["arm"] == arm_name(arm)]
        if own:
            medians.append({"arm": arm_name(arm), "median": statistics.median(own), "words": percent(arm["median"])})
    base, at = alt.Chart(values(lines)).encode(y=y), alt.Chart(values(medians)).encode(y=y)
    layers = [
        base.mark_bar(color="#eaf1f8", height=_ROW - 4).encode(
            x=alt.X("low:Q", scale=scale, axis=axis, title="relative error of the estimate"), x2="high:Q"
        ),
        alt.Chart(values([{"zero": 0}])).mark_rule(color=MUTED).encode(x=alt.X("zero:Q", scale=scale)),
        alt.Chart(values(found))
        .mark_point(size=46, filled=True, opacity=0.7)
        .encode(y=y, x=alt.X("error:Q", scale=scale), color=colour, shape=shape, tooltip=_hints()),
        at.mark_tick(color=INK, thickness=2, size=_ROW - 8, clip=True).encode(x=alt.X("median:Q", scale=scale)),
        at.mark_text(align="left", dx=10, fontSize=11, color=INK).encode(x=alt.value(_WIDE), text="words:N"),
    ]
    return alt.layer(*layers, width=_WIDE, height=_ROW * len(arms)).properties(
        description="Relative errors of the estimates by sampler and size"
    )


def _times(rows: list[Row], arms: list[Row]) -> alt.TopLevelMixin:
    """Seconds a network by arm, calibration included, with the aim where one is stated."""
    found = [row for row in rows if finite(row["seconds"])]
    wanted = [
        {"arm": arm_name(arm), "seconds": aim["aim"], "words": "aim"}
        for arm in arms
        for aim in arm["aims"]
        if aim["unit"] == "seconds"
    ]
    numbers = [row["seconds"] for row in (*found, *wanted)]
    ends = [min(numbers) / 1.3, max(numbers) * 1.3]
    scale = alt.Scale(type="log", domain=ends, nice=False)
    axis = alt.Axis(values=_one_two_five(*ends), format="~g", labelOverlap="greedy")
    y = _arm_axis(arms)
    x = alt.X("seconds:Q", scale=scale, axis=axis, title="seconds a network")
    medians = [{"arm": arm_name(arm), "seconds": arm["seconds"]} for arm in arms if finite(arm["seconds"])]
    marks = alt.Chart(values(found)).mark_point(size=40, filled=True, opacity=0.6, color=CHAINS[0])
    tick = alt.Chart(values(medians)).mark_tick(color=INK, thickness=2, size=_ROW - 8)
    layers = [marks.encode(x=x, y=y, tooltip=_hints()), tick.encode(x=x, y=y)]
    if wanted:
        aim = alt.Chart(values(wanted)).encode(x=x, y=y)
        layers.append(aim.mark_tick(color=RED, thickness=2, size=_ROW))
        layers.append(aim.mark_text(align="left", dx=6, fontSize=11, color=RED).encode(text="words:N"))
    return alt.layer(*layers, width=_WIDE, height=_ROW * len(arms)).properties(
        description="Seconds a network by sampler and size"
    )


def _arm_axis(arms: list[Row]) -> alt.Y:
    """One line an arm, in the table's order."""
    axis = alt.Axis(grid=True, labelLimit=220, tickSize=0, domain=False, labelPadding=8)
    names = list(dict.fromkeys(arm_name(arm) for arm in arms))
    return alt.Y("arm:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)


def _one_two_five(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten over more than two decades, else 1, 2 and 5 times them as well."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def _chains(rows: list[Row]) -> alt.TopLevelMixin:
    """nβ(L − L(w*))/λ along the run, the mean of the chains, one panel a sampler; the same vertical axis in all."""
    samplers = list(dict.fromkeys(row["sampler"] for row in rows))
    numbers = sorted(row["value"] for row in rows if finite(row["value"]))
    high = min(max(numbers[int(0.995 * (len(numbers) - 1))], 1.3), 3.0) if numbers else 1.3
    scale = alt.Scale(domain=[0, high], nice=False)
    x = alt.X("share:Q", title="share of the run", axis=alt.Axis(format=".0%", tickCount=4))
    line = alt.Chart().mark_line(strokeWidth=1.4, color=CHAINS[0], clip=True)
    line = line.encode(x=x, y=alt.Y("value:Q", title="mean of nβ ΔL/λ", scale=scale))
    one = alt.Chart().mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=alt.Y("one:Q"))
    burned = alt.Chart().mark_rule(color=CHAINS[1]).encode(x=alt.X("mean(burn_in):Q"))
    return (
        alt.layer(line, one, burned, data=values(rows), width=236, height=130)
        .facet(
            facet=alt.Facet("sampler:N", title=None, sort=samplers, header=alt.Header(labelFontWeight=600)), columns=4
        )
        .properties(description="Loss along the chains of one network by sampler")
    )


_ESTIMATES = (
    "Each mark is a network; on the dashed line the estimate is λ. Both axes are logarithmic, so errors of a few per "
    "cent hardly show here: they are in the next figure."
)
_ERRORS = (
    "Each mark is a network, its shape and colour the verdict; the tick is the median, and the number at the right the "
    "median of |error|. Shaded: errors that do not count as a miss. The axis is linear within ±1 % and logarithmic "
    "beyond. Part of an error is no fault of a sampler: at finite nβ λ̂ is not λ, and it lies below it where the "
    "multiplicity exceeds 1."
)
_TIMES = (
    "Wall-clock seconds, calibration and controls included, on the machine named below; ticks are medians. The others "
    "have no calibration of their own: they are given γ."
)
_CHAINS_CAPTION = (
    "nβ(L(w) − L(w*))/λ along the run, mean of all chains and of neighbouring steps; 1 is the truth, the upright line "
    "the end of burn-in. A curve that still rises at the right edge has not been run for long enough: its mean is too "
    "low, however small its standard error."
)
