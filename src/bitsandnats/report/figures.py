"""Which figures a run has, in the page's order, each with a caption that says how it may mislead."""

import re
from dataclasses import dataclass

import altair as alt

from bitsandnats.report.bits_figures import bits_figure
from bitsandnats.report.control_figures import controls_figure
from bitsandnats.report.curve_figures import curves_figure, traces_figure
from bitsandnats.report.fit_figures import fits_figure
from bitsandnats.report.levels import level_axis
from bitsandnats.report.numbers import compact, finite
from bitsandnats.report.resolution_figures import resolution_figure
from bitsandnats.report.series_figures import critical_figure, llc_figure, loss_figure
from bitsandnats.report.style import by_step, has_step
from bitsandnats.report.tables import POINTS_PER_CHAIN, Tables, chosen_fits, main_tolerance
from bitsandnats.report.tolerance_figures import tolerances_figure


@dataclass(frozen=True)
class Figure:
    """A chart and its words."""

    name: str  # of its files and its anchor
    section: str  # "series", "controls" or "traces"
    title: str
    caption: str
    chart: alt.TopLevelMixin
    wide: bool
    group: str = ""  # what it is shown with, folded, where a section has several


def figures(tables: Tables) -> list[Figure]:
    """Every figure for which the run holds data."""
    summary = tables.summary
    chance = (summary.get("model") or {}).get("chance_loss")
    unit = (summary.get("model") or {}).get("unit") or "unit"
    left_out = _left_out(tables)
    shown = [row for row in tables.checkpoints if finite(row["llc"])]
    found = [
        _figure(
            ("llc", "series", "Local learning coefficient"),
            llc_figure(shown),
            _LLC_CAPTION[len(shown) > 1] + left_out,
        ),
        _figure(
            ("loss", "series", "Held-out loss"),
            loss_figure(tables.checkpoints, chance, unit),
            f"Loss at each checkpoint’s weights, nats per {unit}, 95 % intervals over the evaluation items. "
            "The intervals are of single checkpoints: all share the same items, so differences are known better."
            + left_out,
        ),
        _figure(
            ("resolution", "series", "Resolution curve"),
            resolution_figure(summary),
            "λ̂ at several temperatures with everything else the same, 95 % intervals. Dashed: λ extrapolated by "
            "λ − (m−1)/(ln nβ + c), averaged over the multiplicities m that the curve does not exclude. A curve that "
            "still rises at its right end has not resolved λ; one that falls at its left end is held by the pull.",
        ),
    ]
    tolerances = summary.get("tolerances") or []
    schemes = _schemes(tables)
    found.append(
        _figure(
            ("bits", "series", "Schemes in one currency"),
            bits_figure(tables.curves, tolerances, unit),
            f"ΔL, nats per {unit}, against the length of the whole description: values, ranges, ranks, masks and fixed "
            "parameters, in bits a parameter of the model, without entropy coding. Lower and further left is better. "
            "Schemes without a code (noise) have no place here.",
            wide=True,
        )
    )
    for scheme in schemes:
        found += _scheme_figures(tables, scheme, left_out)
    for scheme in schemes:
        found += _control_figures(tables, scheme, group=scheme if scheme != schemes[0] else "")
    stride = max((row["stride"] for row in tables.traces), default=1)
    paired = all(row["paired"] for row in tables.traces)
    thinned = f" One draw in {stride} is shown (about {POINTS_PER_CHAIN} a chain)." if stride > 1 else ""
    what = (
        "Loss at each draw minus the loss of the same batch at w*. The thin line at zero is w* itself, the thick line "
        "the mean over kept draws (λ̂ is nβ times its height), the dashed line the noise-only control."
        if paired
        else "Loss at each draw on its own batch, so batches’ scatter is part of it. The thin line is the loss at w*."
    )
    found.append(
        _figure(
            ("traces", "traces", "The chains"),
            traces_figure(tables.traces),
            what
            + " Burn-in is shaded and not averaged. Chains should overlap and keep their level; each panel has its own "
            "vertical scale, so a calm-looking panel may be the one that varies most." + thinned,
            wide=True,
        )
    )
    return [figure for figure in found if figure is not None]


def _scheme_figures(tables: Tables, scheme: str, left_out: str) -> list[Figure | None]:
    """What one compression scheme does along the series."""
    tolerances = tables.summary.get("tolerances") or []
    unit = (tables.summary.get("model") or {}).get("unit") or "unit"
    level = level_axis([*tables.critical, *tables.curves], scheme).unit
    return [
        _figure(
            (f"curves-{scheme}", "series", f"Loss increase under {_NAMES.get(scheme, scheme)}"),
            curves_figure(tables.curves, tolerances, scheme, unit),
            f"ΔL, nats per {unit} on the same held-out items, at every {level} that was evaluated; tolerances dashed. "
            "Points are joined by straight lines; the search evaluates more levels near a crossing than away from it, "
            "and away from it fewer items. The axes are cut above the largest tolerance and beside the levels around "
            "it.",
        ),
        _figure(
            (f"critical-{scheme}", "series", f"Where the tolerance is met under {_NAMES.get(scheme, scheme)}"),
            critical_figure(tables.critical, scheme),
            f"The interpolated {level} at which ΔL equals each tolerance, 95 % intervals. Hollow points are censored: "
            "the most severe level already meets the tolerance, so the true crossing lies there or beyond." + left_out,
        ),
    ]


def _control_figures(tables: Tables, scheme: str, *, group: str) -> list[Figure | None]:
    """What the critical level of one scheme follows."""
    main = main_tolerance(tables.summary)
    fits = [fit for fit in chosen_fits(tables.summary) if fit["scheme"] == scheme]
    own = [row for row in tables.critical if row["scheme"] == scheme]
    of_level = [fit for fit in fits if fit["response"] == "level"]
    level = level_axis(own, scheme).unit
    under = f", {_NAMES.get(scheme, scheme)}" if len(_schemes(tables)) > 1 else ""
    starred = any(fit.get("subset") == "all" for fit in fits)
    return [
        _figure(
            (f"fits-{scheme}", "controls", f"Critical {level} against λ̂ and against each control{under}"),
            fits_figure(
                tables.checkpoints,
                [row for row in own if row["tolerance"] == main],
                [fit for fit in of_level if fit["tolerance"] == main],
                level,
            ),
            f"Tolerance {main:g} nats. One point a checkpoint, labelled; lines are least-squares fits, hollow points "
            "are left out of them (censored, or outside the rule for fits). All panels share the vertical axis. "
            "Checkpoints of one training run are not independent: any two quantities that grow during training "
            "correlate, so a high R² for λ̂ means something only if it stands above the panels beside it."
            if finite(main)
            else "",
            wide=True,
            group=group,
        ),
        _figure(
            (f"tolerances-{scheme}", "controls", f"Critical {level} against λ̂ at every tolerance{under}"),
            tolerances_figure(tables.checkpoints, own, of_level, level, tables.summary.get("tolerances") or []),
            "One panel a tolerance, each with its own vertical axis; 95 % intervals both ways, hollow points are left "
            "out of the fit. That all panels look alike says that the choice of the tolerance decides nothing, not "
            "that λ̂ explains the critical level: for that, compare with the controls above.",
            wide=True,
            group=group,
        ),
        _figure(
            (f"controls-{scheme}", "controls", f"All fits, with first differences and partial correlation{under}"),
            controls_figure(fits),
            "R² of the linear fit; R² between first differences along the series, where a shared trend cancels; "
            "partial correlation with the response given log2 step (none for log2 step itself). With few checkpoints "
            "all of them are uncertain; small differences between cells mean nothing."
            + (" * fitted to all uncensored checkpoints, since fewer than four satisfy the rule." if starred else ""),
            wide=True,
            group=group,
        ),
    ]


def _schemes(tables: Tables) -> list[str]:
    """The schemes that were asked for, then any others with results."""
    named = [*(tables.summary.get("schemes") or []), *(row["scheme"] for row in tables.critical)]
    return list(dict.fromkeys(str(name) for name in named))


_LLC_CAPTION = {
    False: "λ̂ and its control in nats with 95 % intervals. The control is the excess that pure Gaussian weight noise "
    "of the chain's variance at nβ = 0 gives, with no chain and no gradient. Intervals hold the sampling error only, "
    "not the dependence on nβ and γ: compare only with estimates at equal nβ, γ, data and unit.",
    True: "λ̂ in nats with 95 % intervals, marks by verdict. Dashed, in grey: the excess that pure Gaussian weight "
    "noise of the chain's variance at nβ = 0 gives, with no chain and no gradient. Where the two move together, λ̂ "
    "tells little beyond sensitivity to noise. Intervals hold the sampling error only, not the dependence on nβ and γ.",
}

_NAMES = {
    "quantize": "quantization",
    "quantize-largest": "quantization, range the largest weight",
    "factorize": "factorization",
    "factorize-energy": "factorization by energy",
    "noise-absolute": "absolute noise",
    "noise-relative": "relative noise",
    "prune-heads": "head pruning",
    "prune-magnitude": "pruning by magnitude",
}


def _figure(
    name: tuple[str, str, str], chart: alt.TopLevelMixin | None, caption: str, *, wide: bool = False, group: str = ""
) -> Figure | None:
    """A figure, where there is a chart."""
    if chart is None:
        return None
    file, section, title = name
    return Figure(re.sub(r"[^A-Za-z0-9_.-]+", "_", file), section, title, caption, chart, wide, group)


def _left_out(tables: Tables) -> str:
    """Names the checkpoints that have no place on a log axis of steps."""
    if not by_step(tables.checkpoints):
        return ""
    names = [
        row["label"] if row["step"] is None else f"step {compact(row['step'])}"
        for row in tables.checkpoints
        if not has_step(row)
    ]
    return f" Not shown, having no place on a log axis of steps: {', '.join(names)}." if names else ""
