"""Tables of the study as text."""

from bitsandnats.experiments.heads.text import LABELS, STRUCTURES
from bitsandnats.experiments.heads.units import Row
from bitsandnats.experiments.sheets import number, sheet
from bitsandnats.experiments.susceptibility.plan import RATIOS

NAMES = {"posterior": "posterior", "control": "nβ = 0", "published": "published settings"}
"""Kinds of chains in words."""


def sheets(summary: Row) -> list[Row]:
    """Tables of text.

    Args:
        summary: rows of the study.
    """
    return [
        sheet(
            "Networks by susceptibilities",
            ("network", "chains", "reliability of χ", "of specific", "ESS", "acceptance", "verdict", "L", "L at w*",
             "agree", "rank correlation", "margin", "separating"),
            [_seed(s) for s in summary["seeds"]],
            notes=(
                "Agree: heads whose structure by susceptibilities is their label by ablation. Margin: the least "
                "contrast of an induction head less the largest of another one; above 0 they are separated. "
                "Separating: principal and independent components of χ, and principal ones of the specific responses, "
                "that have all induction heads on one side.",
            ),
        ),
        sheet(
            "At which pull the likelihood matters",
            ("network", "heads", *(f"γ = {ratio:g} nβ" for ratio in RATIOS)),
            [
                (str(row["seed"]), which, *(f"{x:.2f}" for x in row[which]))
                for row in summary["pulls"]
                for which in ("median", "largest")
            ],
            notes=("Rise of L in the chains of a head alone, over that by noise of the same pull: 1 where the "
                   "likelihood does nothing. From short chains.",),
        ),
        sheet(
            "Networks",
            ("network", "parameters", *LABELS, "heads by ablation"),
            [
                (str(t["seed"]), f"{t['parameters']:,}", *(f"{x:.3f}" for x in t["loss"][-1]), ", ".join(t["roles"]))
                for t in summary["trainings"]
            ],
            notes=("Loss of held-out tokens by what predicts them, nats.",),
        ),
        sheet(
            "Two networks side by side",
            ("network", "chains", "grouped rightly", "reliability", "verdict"),
            [
                (str(m["seed"]), "nβ = 0" if m["kind"].endswith("control") else "posterior",
                 f"{m['alike']} of {m['components']}", number(m["reliability"], ".3f"), m["verdict"])
                for m in summary["modules"]
            ],
            notes=(
                "Components in the group of their own network, of all, by Ward's clustering into two groups of which "
                "tokens they change at all: those where the specific response differs from its commonest value.",
            ),
        ),
        sheet(
            "Heads",
            ("network", "chains", "head", "by ablation", *(f"rise, {s}" for s in STRUCTURES),
             *(f"χ, {s}" for s in STRUCTURES), "by χ", "contrast", "PC2", "PC3", "reliability"),
            [_head(h) for h in summary["heads"]],
            notes=("Rise of the loss under ablation, nats; specific response; both by the structure that predicts the "
                   "token. Reliability of the specific responses.",),
            wide=True,
        ),
        sheet(
            "Tokens that heads and components stand for",
            ("head or component", "by ablation", "tokens"),
            [(w["what"], w["role"], "; ".join(w["tokens"])) for w in summary["words"]],
            notes=("Of each head of the first network the most negative specific responses, of each statistical "
                   "component the largest scores: the token to be predicted, after what.",),
            wide=True,
        ),
    ]  # fmt: skip


def _seed(s: Row) -> tuple[str, ...]:
    separating = [
        f"{family} {i + 1}" for family, each in s["separating"].items() for i, found in enumerate(each) if found
    ]
    return (
        *(str(s["seed"]), NAMES[s["kind"]], number(s["reliability"], ".3f"), number(s["specific_reliability"], ".3f")),
        *(number(s["ess"], ".0f"), number(s["acceptance"]), s["verdict"]),
        *(number(s["loss"], ".3f"), number(s["center_loss"], ".3f")),
        *(f"{s['agree']} of {s['judged']}", number(s["correlation"]), number(s["margin"], "+.3f")),
        ", ".join(separating) or "—",
    )


def _head(h: Row) -> tuple[str, ...]:
    return (
        *(str(h["seed"]), NAMES[h["kind"]], h["head"], h["role"]),
        *(f"{h['rise'][s]:+.2f}" for s in STRUCTURES),
        *(f"{h['specific'][s]:+.3f}" for s in STRUCTURES),
        *(h["found"], f"{h['contrast']:+.3f}", *(f"{x:+.2f}" for x in h["loadings"]["PC"][1:])),
        number(h["reliability"], ".3f"),
    )
