"""Figures of the studies of attention heads: responses, principal components, additivity, curves over training."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from bitsandnats.report.figures import Figure
from bitsandnats.report.style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, SKY, values
from bitsandnats.report.tables import Row

ROLES = {
    "bigram": SKY,
    "skip": GREEN,
    "previous token": ORANGE,
    "induction": RED,
    "bracket": PURPLE,
    "idle": MUTED,
}
"""What heads do by ablation -> colour, the same in every figure."""

CHAINS = {"posterior": "posterior", "control": "nβ = 0", "published": "published settings"}
_COLUMNS = 3


def susceptibility_figures(summary: dict[str, Any]) -> list[Figure]:
    """Every figure for which there are numbers."""
    heads = summary["heads"]
    found = []
    posterior = [h for h in heads if h["kind"] == "posterior"]
    if posterior:
        panels = [_responses(seed, rows, summary["structures"]) for seed, rows in by_seed(posterior)]
        found.append(Figure("responses", "heads", "Response matrix", _RESPONSES, concat(panels), True))
        for family, (name, title, text, places) in _FAMILIES.items():
            panels = [p for kind in ("posterior", "control") for p in _components(kind, heads, family, places)]
            if panels:
                found.append(Figure(name, "heads", title, text, concat(panels), True))
        found.append(Figure("contrast", "heads", "Contrast of heads", _CONTRAST, _contrasts(heads), True))
    if summary["pulls"]:
        found.append(Figure("pulls", "controls", "Likelihood and pull", _PULLS, _pulls(summary), False))
    if summary["points"]:
        found.append(Figure("additivity", "controls", "Additivity", _ADDITIVITY, _additivity(summary), False))
    return found


def by_seed(rows: Sequence[Row]) -> list[tuple[int, list[Row]]]:
    """Rows of each seed in order."""
    return [(seed, [r for r in rows if r["seed"] == seed]) for seed in sorted({r["seed"] for r in rows})]


def concat(panels: Sequence[Any]) -> Any:
    """Panels side by side."""
    return panels[0] if len(panels) == 1 else alt.concat(*panels, columns=_COLUMNS, spacing=24)


def role_colour(rows: Sequence[Row]) -> alt.Color:
    """One colour a role."""
    present = [role for role in ROLES if any(r["role"] == role for r in rows)]
    scale = alt.Scale(domain=present, range=[ROLES[role] for role in present])
    return alt.Color("role:N", scale=scale, legend=alt.Legend(title="by ablation", symbolOpacity=1))


def short(head: str) -> str:
    """A head's name on an axis."""
    return head.replace("layer.", "").replace("head.", "")


def _responses(seed: int, rows: Sequence[Row], structures: Sequence[str]) -> Any:
    """Heads by structures, each head's specific responses over its largest."""
    cells = []
    for h in rows:
        most = max(abs(h["specific"][s]) for s in structures) or 1.0
        name = f"{short(h['head'])} {h['role']}"
        cells += [
            {"head": name, "structure": s, "share": h["specific"][s] / most, "value": h["specific"][s],
             "rise": h["rise"][s]}
            for s in structures
        ]  # fmt: skip
    ordered = sorted(rows, key=lambda h: (list(ROLES).index(h["role"]), h["head"]))
    order = [f"{short(h['head'])} {h['role']}" for h in ordered]
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(scheme="redblue", domain=[-1, 1]),
        legend=alt.Legend(title=["response", "over the", "head's", "largest"], gradientLength=110),
    )
    hints = [
        alt.Tooltip("head:N"),
        alt.Tooltip("structure:N"),
        alt.Tooltip("value:Q", format="+.4f", title="specific response"),
        alt.Tooltip("rise:Q", format="+.3f", title="rise under ablation"),
    ]
    axis = alt.Axis(labelAngle=-30, orient="bottom")
    return (
        alt.Chart(values(cells), width=170, height=22 * len(rows), title=f"seed {seed}")
        .mark_rect(stroke="white")
        .encode(
            x=alt.X("structure:N", sort=list(structures), title=None, axis=axis),
            y=alt.Y("head:N", sort=order, title=None),
            color=colour,
            tooltip=hints,
        )
    )


def _components(kind: str, heads: Sequence[Row], family: str, places: tuple[int, int]) -> list[Any]:
    """Loadings on two statistical components, a panel a seed that has them."""
    panels = []
    for seed, rows in by_seed([h for h in heads if h["kind"] == kind and family in h["loadings"]]):
        points = [
            {"head": short(h["head"]), "role": h["role"]}
            | {axis: h["loadings"][family][place] for axis, place in zip("xy", places, strict=True)}
            for h in rows
        ]
        x, y = (
            {"shorthand": f"{axis}:Q", "title": f"{family} {place + 1}", "scale": alt.Scale(domain=[-1, 1])}
            for axis, place in zip("xy", places, strict=True)
        )
        base = alt.Chart(values(points)).encode(
            x=alt.X(**x, axis=alt.Axis(tickCount=5)), y=alt.Y(**y, axis=alt.Axis(tickCount=5))
        )
        hints = [alt.Tooltip("head:N"), alt.Tooltip("role:N")]
        dots = base.mark_point(filled=True, size=110, opacity=0.9).encode(color=role_colour(heads), tooltip=hints)
        names = base.mark_text(dx=8, align="left", fontSize=10, color=INK).encode(text="head:N")
        panels.append(alt.layer(dots, names, width=220, height=200, title=f"{CHAINS[kind]}, seed {seed}"))
    return panels


def _pulls(summary: dict[str, Any]) -> Any:
    """The rise of L over that by noise against the pull, a line a network."""
    rows = [
        {"seed": f"seed {row['seed']}", "ratio": ratio, "heads": which, "share": share}
        for row in summary["pulls"]
        for which in ("median", "largest")
        for ratio, share in zip(summary["ratios"], row[which], strict=True)
    ]
    half = alt.Chart(values([{"share": 0.5}])).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(y="share:Q")
    lines = (
        alt.Chart(values(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("ratio:Q", title="γ/nβ", scale=alt.Scale(type="log"), axis=alt.Axis(values=summary["ratios"])),
            y=alt.Y("share:Q", title="rise of L over that by noise", scale=alt.Scale(domain=[0, 1.1])),
            color=alt.Color("seed:N", legend=alt.Legend(title=None)),
            strokeDash=alt.StrokeDash("heads:N", legend=alt.Legend(title="of heads"), sort=["median", "largest"]),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("seed", "heads", "ratio")]
            + [alt.Tooltip("share:Q", format=".2f")],
        )
    )
    return alt.layer(half, lines, width=360, height=240)


def _contrasts(heads: Sequence[Row]) -> Any:
    """Every head's contrast, a column a seed, beside that at nβ = 0."""
    points = [
        {"seed": f"seed {h['seed']}", "chains": CHAINS[h["kind"]], "role": h["role"], "head": short(h["head"]),
         "contrast": h["contrast"]}
        for h in heads
    ]  # fmt: skip
    panels = []
    for name in CHAINS.values():
        own = [p for p in points if p["chains"] == name]
        if own:
            panels.append(
                alt.Chart(values(own), width=330, height=230, title=name)
                .mark_point(filled=True, size=80, opacity=0.9)
                .encode(
                    x=alt.X("seed:N", title=None, axis=alt.Axis(labelAngle=0)),
                    y=alt.Y("contrast:Q", title="contrast"),
                    color=role_colour(heads),
                    tooltip=[alt.Tooltip("head:N"), alt.Tooltip("role:N"), alt.Tooltip("contrast:Q", format="+.4f")],
                )
            )
    return alt.hconcat(*panels) if len(panels) > 1 else panels[0]


def _additivity(summary: dict[str, Any]) -> Any:
    points = [{**p, "head": short(p["head"])} for p in summary["points"]]
    found = summary["additivity"]
    ends = [min(p["whole"] for p in points), max(p["whole"] for p in points)]
    line = [{"whole": x, "tokens": x / summary["shift"]} for x in ends]
    hints = [alt.Tooltip(f"{name}:N") for name in ("seed", "head", "probe")]
    x = alt.X("whole:Q", title="response to shifted data, per rise of L, nats")
    y = alt.Y("tokens:Q", title="mean response of tokens, per rise of L, nats")
    dots = alt.Chart(values(points)).mark_point(filled=True, size=36, opacity=0.7, color=BLUE)
    rule = alt.Chart(values(line)).mark_line(color=MUTED, strokeDash=[4, 4]).encode(x=x, y=y)
    title = "" if not found else f"r = {found['r']:.3f}, slope {found['slope']:.2f}"
    return alt.layer(rule, dots.encode(x=x, y=y, tooltip=hints), width=360, height=300, title=title)


_RESPONSES = (
    "Specific responses of each head, by the structure that predicts the token, over the head's largest one. Red: what "
    "moves this head costs those tokens more than what moves other heads does. Heads are ordered by what ablation says "
    "of them; hover for the numbers. Each head's row is scaled by itself, so a weak head's noise looks as strong as a "
    "signal: see its reliability in the table."
)
_OF = (
    " Colours are from ablation, not from the chains; signs and order of components are not fixed from seed to seed. "
    "The panels at nβ = 0 show what weight noise without any likelihood gives."
)
_FAMILIES = {
    "PC": (
        "components",
        "Principal components of χ",
        "Loadings of heads on the second and third principal component of the standardised responses of all tokens; "
        "the first one is common to all heads." + _OF,
        (1, 2),
    ),
    "IC": (
        "independent",
        "Independent components of χ",
        "Loadings of heads on the first two independent components (FastICA) of the same responses." + _OF,
        (0, 1),
    ),
    "PC of specific": (
        "specific",
        "Principal components of specific responses",
        "Loadings of heads on the first two principal components of the standardised specific responses, in which what "
        "is common to all heads has been taken away." + _OF,
        (0, 1),
    ),
}
_PULLS = (
    "Rise of L in the chains of a head alone, over that by noise of the same pull: the median head and the one that "
    "the likelihood holds least, a colour a network. At 1 the chains do not feel the likelihood; the studies use the "
    "largest γ/nβ at which a pilot network's median lies below the dashed half."
)
_CONTRAST = (
    "Minus the specific response on induction tokens, plus the mean of that on the other structures' tokens. Induction "
    "heads are separated where all of them lie above all others, previous-token heads aside. On the right the same "
    "from chains without a likelihood: what both show is the network's sensitivity to noise, not its posterior."
)
_ADDITIVITY = (
    "Each point is a head and a kind of text: across, the response to data of which a tenth is such text, from chains "
    "of their own and other texts; upward, the mean of the responses of single tokens. Dashed: slope 1/δh."
)
