"""Figures of the grokking study: those of 2412.09810 under their numbers, and the LLC beside them."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from bitsandnats.report.figures import Figure
from bitsandnats.report.grokking_rows import at_tolerance, by_regime, curve_over_seeds, groups, least, over_seeds
from bitsandnats.report.style import BLUE, GREEN, MUTED, ORANGE, RED, values
from bitsandnats.report.tables import Row

REGIMES = {"none": RED, "decay": BLUE, "noise": ORANGE, "entropy": GREEN}
_WIDTH, _HEIGHT = 330, 210
_COLUMNS = 3


def grokking_figures(summary: dict[str, Any]) -> list[Figure]:
    """Every figure for which there are numbers."""
    words, main = summary["regimes"], summary["main_tolerance"]
    found: list[Figure | None] = []
    for name, section, title, caption in _ALL:
        panels = [p for place, runs in groups(summary) for p in _panels(name, place, runs, summary, words)]
        found.append(_figure(name, section, title, caption.format(main=f"{main:g}"), panels))
    return [figure for figure in found if figure is not None]


def _panels(name: str, place: str, runs: list[Row], summary: dict[str, Any], words: dict[str, str]) -> list[Any]:
    """The panels of one figure for one operation and network."""
    main, own = summary["main_tolerance"], by_regime(runs)
    if name in ("figure-2", "figure-3"):
        chosen = {r: rs for r, rs in own.items() if (r == "none") == (name == "figure-3")}
        return [p for r, rs in chosen.items() if (p := _twofold(f"{place}, {words[r]}", rs, main)) is not None]
    if name == "figure-5":
        titled = {f"{place}, {words[r]}": rs for r, rs in own.items()}
        return [p for title, rs in titled.items() if (p := _tolerances(title, rs, summary["tolerances"])) is not None]
    panel = {
        "figure-1": lambda: _naive(place, own, words, main),
        "figure-4": lambda: _rates(place, runs, summary, words),
        "figure-6": lambda: _lines(
            place, _regimes(own, words, least("error_bound")), "bound on the error rate", one=1.0
        ),
        "figure-10": lambda: _accuracies(place, own, words),
        "figure-11": lambda: _description(place, runs, own, words),
        "llc": lambda: _llc(place, own, words),
        "loss": lambda: _lines(place, _curves(own, words, "test_loss"), "test loss, nats a pair", bottom=True),
    }[name]()
    return [] if panel is None else [panel]


def _figure(name: str, section: str, title: str, caption: str, panels: Sequence[Any]) -> Figure | None:
    if not panels:
        return None
    chart = panels[0] if len(panels) == 1 else alt.concat(*panels, columns=_COLUMNS, spacing=26)
    chart = chart.resolve_scale(color="independent") if len(panels) > 1 else chart
    return Figure(name, section, title, caption, chart.properties(description=title), len(panels) > 1)


def _regimes(own: dict[str, list[Row]], words: dict[str, str], value: Any) -> list[Row]:
    return [row for regime, runs in own.items() for row in over_seeds(runs, value, regime=words[regime], kind="")]


def _curves(own: dict[str, list[Row]], words: dict[str, str], name: str, kind: str = "") -> list[Row]:
    return [row for r, runs in own.items() for row in curve_over_seeds(runs, name, regime=words[r], kind=kind)]


def _epoch(rows: Sequence[Row]) -> alt.X:
    most = max(row["epoch"] for row in rows)
    scale = alt.Scale(type="log", base=10, domain=[1, most * 1.08], nice=False)
    ticks = [v * 10**k for k in range(6) for v in (1, 3) if v * 10**k <= most * 1.08]
    axis = alt.Axis(values=ticks, labelExpr="format(datum.value, '~s')", grid=False)
    return alt.X("epoch:Q", title="epoch", scale=scale, axis=axis)


def _colour(rows: Sequence[Row], words: Sequence[str] = ()) -> alt.Color:
    """One colour a regime, the same in every figure."""
    present = list(dict.fromkeys(row["regime"] for row in rows))
    colours = dict(zip(_ORDER, REGIMES.values(), strict=True))
    legend = alt.Legend(title=None, orient="bottom", direction="vertical", columns=1, symbolOpacity=1)
    return alt.Color(
        "regime:N", scale=alt.Scale(domain=present, range=[colours[name] for name in present]), legend=legend
    )


_ORDER = ("no regularisation", "weight decay", "weight decay, noise", "weight decay, noise, spectral entropy")
_HINTS = [
    alt.Tooltip("epoch:Q"),
    alt.Tooltip("value:Q", format=".4~g", title="mean"),
    alt.Tooltip("low:Q", format=".4~g", title="least"),
    alt.Tooltip("high:Q", format=".4~g", title="largest"),
    alt.Tooltip("seeds:Q"),
]


def _layers(rows: list[Row], y: alt.Y, colour: alt.Color, dash: alt.StrokeDash | None = None) -> list[alt.Chart]:
    """A line with points through the means, and a band from the least to the largest seed."""
    base = alt.Chart(values(rows)).encode(x=_epoch(rows), color=colour)
    line = base.mark_line(strokeWidth=1.8).encode(y=y, detail="kind:N")
    line = line if dash is None else line.encode(strokeDash=dash)
    band = base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q", title=""), y2="high:Q", detail="kind:N")
    return [band, line, base.mark_point(filled=True, size=22, opacity=0.9).encode(y=y, tooltip=_HINTS)]


def _lines(
    title: str, rows: list[Row], name: str, *, one: float | None = None, bottom: bool = False, form: str = "~s"
) -> Any | None:
    """Regimes over training."""
    if not rows:
        return None
    scale = alt.Scale(domainMin=0) if bottom else alt.Scale(zero=False)
    y = alt.Y("value:Q", title=name, scale=scale, axis=alt.Axis(tickCount=5, format=form))
    layers = _layers(rows, y, _colour(rows))
    if one is not None:
        rule = alt.Chart(values([{"value": one}])).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(y=y)
        layers = [rule, *layers]
    return alt.layer(*layers, width=_WIDTH, height=_HEIGHT, title=_title(title))


def _title(text: str) -> alt.Title:
    return alt.Title(text, limit=_WIDTH + 40)


def _naive(title: str, own: dict[str, list[Row]], words: dict[str, str], main: float) -> Any | None:
    """Bytes at the main tolerance, and bzip2's of the weights as they are."""
    kinds = {"coarse-grained, our code": at_tolerance(main), "bzip2 of the weights": lambda c: c["naive"]}
    rows = [
        {**row, "kind": kind}
        for kind, value in kinds.items()
        for row in _regimes(own, words, value)
        if row["value"] > 0
    ]
    if not rows:
        return None
    y = alt.Y("value:Q", title="bytes", scale=alt.Scale(type="log"), axis=alt.Axis(values=_BYTES, format="~s"))
    legend = alt.Legend(title=None, orient="bottom", direction="vertical", symbolType="stroke")
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=list(kinds), range=[[1, 0], [5, 4]]), legend=legend)
    return alt.layer(*_layers(rows, y, _colour(rows), dash), width=_WIDTH, height=_HEIGHT, title=_title(title))


def _twofold(title: str, runs: list[Row], main: float) -> Any | None:
    """Accuracies on the left axis, bytes on the right."""
    sizes = over_seeds(runs, at_tolerance(main), kind="complexity")
    if not sizes:
        return None
    shares = [
        row
        for name, kind in (("train_accuracy", "training accuracy"), ("test_accuracy", "test accuracy"))
        for row in curve_over_seeds(runs, name, kind=kind)
    ]
    names = {"training accuracy": MUTED, "test accuracy": GREEN, "complexity": BLUE}
    legend = alt.Legend(title=None, orient="bottom", direction="horizontal", symbolOpacity=1)
    colour = alt.Color("kind:N", scale=alt.Scale(domain=list(names), range=list(names.values())), legend=legend)
    left = alt.Y("value:Q", title="accuracy", scale=alt.Scale(domain=[0, 1.02]), axis=alt.Axis(format="%", tickCount=5))
    axis = alt.Axis(orient="right", titleColor=BLUE, format="~s", tickCount=5, grid=False)
    right = alt.Y("value:Q", title=f"bytes, ε = {main:g}", scale=alt.Scale(domainMin=0), axis=axis)
    accuracy = alt.layer(*_layers(shares, left, colour))
    complexity = alt.layer(*_layers(sizes, right, colour))
    chart = alt.layer(accuracy, complexity, width=_WIDTH, height=_HEIGHT, title=_title(title))
    return chart.resolve_scale(y="independent")


def _tolerances(title: str, runs: list[Row], tolerances: list[float]) -> Any | None:
    """Bytes at every tolerance."""
    rows = [row for t in tolerances for row in over_seeds(runs, at_tolerance(t), kind=f"{t:g}", order=math.log2(t))]
    if not rows:
        return None
    y = alt.Y("value:Q", title="bytes", scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=5, format="~s"))
    legend = alt.Legend(title="ε, nats", orient="right", symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3)
    names = [f"{t:g}" for t in sorted(tolerances)]
    scale = alt.Scale(domain=names, scheme=alt.SchemeParams(name="viridis", extent=[0.0, 0.9]))
    colour = alt.Color("kind:N", sort=names, scale=scale, legend=legend)
    return alt.layer(*_layers(rows, y, colour), width=_WIDTH - 60, height=_HEIGHT, title=_title(title))


def _rates(title: str, runs: list[Row], summary: dict[str, Any], words: dict[str, str]) -> Any | None:
    """Bytes against ε at the end, with the power law of each regime."""
    own = [row for row in summary["rate_distortion"] if (row["operation"], row["network"]) == _place(runs)]
    if not own:
        return None
    exponents: dict[str, list[float]] = {}
    for row in own:
        exponents.setdefault(row["regime"], []).append(row["exponent"])
    named = {r: f"{words[r]}: b = {sum(e) / len(e):.2f}" for r, e in exponents.items()}
    colours = [REGIMES[regime] for regime in named]
    points = [{**p, "regime": named[row["regime"]], "seed": row["seed"]} for row in own for p in row["curve"]]
    lines = []
    for regime, name in named.items():
        laws = [row for row in own if row["regime"] == regime]
        level = sum(math.log(row["size"]) for row in laws) / len(laws)
        slope = sum(row["exponent"] for row in laws) / len(laws)
        ends = (min(summary["tolerances"]), summary["fitted_tolerance"])
        lines += [{"tolerance": t, "bytes": math.exp(level) * t**-slope, "regime": name} for t in ends]
    legend = alt.Legend(title=None, orient="bottom", direction="vertical")
    colour = alt.Color("regime:N", scale=alt.Scale(domain=list(named.values()), range=colours), legend=legend)
    ticks = [t for t in summary["tolerances"] if math.log2(t) % 2 == 0]
    axis = alt.Axis(values=ticks, labelExpr="format(datum.value, '~g')")
    x = alt.X("tolerance:Q", title="ε, nats a pair", scale=alt.Scale(type="log", base=2, nice=False), axis=axis)
    axis = alt.Axis(values=_BYTES, format="~s")
    y = alt.Y("bytes:Q", title="bytes", scale=alt.Scale(type="log"), axis=axis)
    hints = [alt.Tooltip("tolerance:Q"), alt.Tooltip("bytes:Q"), alt.Tooltip("seed:Q")]
    layers = [
        alt.Chart(values(lines)).mark_line(strokeWidth=1.4, opacity=0.8).encode(x=x, y=y, color=colour),
        alt.Chart(values(points)).mark_point(filled=True, size=34).encode(x=x, y=y, color=colour, tooltip=hints),
    ]
    return alt.layer(*layers, width=_WIDTH, height=_HEIGHT, title=_title(title))


def _place(runs: list[Row]) -> tuple[str, str]:
    return runs[0]["operation"], runs[0]["network"]


def _accuracies(title: str, own: dict[str, list[Row]], words: dict[str, str]) -> Any:
    """Training and test accuracy of every regime."""
    rows = _curves(own, words, "test_accuracy", "test") + _curves(own, words, "train_accuracy", "training")
    y = alt.Y("value:Q", title="accuracy", scale=alt.Scale(domain=[0, 1.02]), axis=alt.Axis(format="%", tickCount=5))
    legend = alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="stroke")
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=["test", "training"], range=[[1, 0], [5, 4]]), legend=legend)
    return alt.layer(*_layers(rows, y, _colour(rows), dash), width=_WIDTH, height=_HEIGHT, title=_title(title))


def _description(title: str, runs: list[Row], own: dict[str, list[Row]], words: dict[str, str]) -> Any | None:
    """The shortest description over ε, beside that of the labels without a model."""
    return _lines(title, _regimes(own, words, least("description")), "bits")


def _llc(title: str, own: dict[str, list[Row]], words: dict[str, str]) -> Any | None:
    """λ̂, and dashed what weight noise alone gives."""
    kinds = {"λ̂": lambda c: c["llc"], "noise only": lambda c: c["noise_only"]}
    rows = [{**row, "kind": kind} for kind, value in kinds.items() for row in _regimes(own, words, value)]
    rows = [row for row in rows if row["value"] > 0]
    if not rows:
        return None
    y = alt.Y("value:Q", title="nats", scale=alt.Scale(type="symlog", constant=10), axis=alt.Axis(tickCount=5))
    legend = alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="stroke")
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=list(kinds), range=[[1, 0], [5, 4]]), legend=legend)
    return alt.layer(*_layers(rows, y, _colour(rows), dash), width=_WIDTH, height=_HEIGHT, title=_title(title))


_BYTES = [v * 10**k for k in range(7) for v in (1, 3)]
_SEEDS = "Lines are means over seeds, bands reach from the least to the largest seed."
_ALL = (
    (
        "figure-1", "complexity", "Figure 1: complexity beside the size of the raw weights",
        "Bytes of the smallest network found whose training loss differs by less than {main} nat, and, dashed, bzip2 "
        "of the float32 weights as they are, which hardly moves. An upper bound: a better search or code "
        f"gives less. {_SEEDS}",
    ),
    (
        "figure-2", "complexity", "Figure 2: accuracy and complexity, regularised",
        "Left axis: share of right answers on training and test pairs. Right axis: bytes at {main} nat, from zero. The "
        "question is whether bytes peak while only the training accuracy is high and fall as the test accuracy rises. "
        f"{_SEEDS}",
    ),
    (
        "figure-3", "complexity", "Figure 3: accuracy and complexity, not regularised",
        "The same without weight decay, noise or spectral entropy. Compare the right axes with those of figure 2: they "
        f"begin at zero but end where each panel's data end. {_SEEDS}",
    ),
    (
        "figure-4", "complexity", "Figure 4: algorithmic rate–distortion curves",
        "Bytes against the tolerance ε at the last checkpoint, one point a seed, both axes logarithmic, with the power "
        "law K = K₁ε⁻ᵇ fitted by least squares for ε up to 1 nat (means over seeds). The law is a description of a few "
        "points, not a theory: at large ε, where the constant guess is nearly good enough, curves drop below it.",
    ),
    (
        "figure-5", "complexity", "Figure 5: complexity at every tolerance",
        "Bytes over training, one line a tolerance, all read off one pool of trials a checkpoint. At a large ε a "
        f"network that has learnt nothing yet needs hardly any bytes, since the constant guess is within ε. {_SEEDS}",
    ),
    (
        "figure-6", "promises", "Figure 6: generalisation bound",
        "Bound on the error rate over all pairs that the code's length gives with probability 95 %, the least over the "
        "tolerances up to 1 nat: at larger ones a constant guess, of few bytes, can be all there is. Above the dashed "
        "line it says nothing; the number still orders the regimes by error and bytes "
        f"together. {_SEEDS}",
    ),
    (
        "figure-10", "learning", "Figure 10: who groks",
        "Test accuracy (solid) and training accuracy (dashed) over training, by regime, at every epoch ⌊1.3^k⌋. For "
        "commutative operations a network that memorises pairs without regard to order is right on those test pairs "
        f"whose mirror image it was trained on. {_SEEDS}",
    ),
    (
        "figure-11", "promises", "Figure 11: total description length",
        "Bits of the coarse network and of the training labels under it, the least over the tolerances up to 1 nat. It "
        f"falls where a shorter network describes the same data as well. {_SEEDS}",
    ),
    (
        "llc", "the LLC", "The LLC over the same checkpoints",
        "λ̂ in nats at the same nβ and γ for all checkpoints, from full-batch SGLD; dashed, what weight noise of the "
        "chain's variance gives without any likelihood (nβ = 0). Where the two move together λ̂ says little beyond "
        f"sensitivity to noise; the verdicts stand in the table. Linear below 10. {_SEEDS}",
    ),
    (
        "loss", "learning", "Test loss",
        "Mean cross-entropy of the pairs not trained on, nats a pair. It rises in memorisation, when wrong answers are "
        f"given with confidence. {_SEEDS}",
    ),
)  # fmt: skip
