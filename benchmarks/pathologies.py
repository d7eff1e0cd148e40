"""Which wrong numbers the verdicts catch, and which right ones they suspect.

    python benchmarks/pathologies.py                                writes docs/results/pathologies.md
    python benchmarks/pathologies.py --only "step size" --seeds 1   prints those families

The list of what is done to which model is in `pathology_cases.py`. A number is *off* where it lies more than 20 % from
the closed-form λ; the aim is that none of them is called `usable`. Of the numbers that come out within 6 % of λ with
nothing set at most 5 % may be called anything else. Finished runs are kept in `runs/pathologies.jsonl` and not made
again; their verdicts are given anew from their figures, so that a changed threshold shows at once.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pathology_cases import Case, families

import bitsandnats as bn
from bitsandnats.errors import BitsAndNatsError
from bitsandnats.estimators.verdict import CAUTION, NOT_USABLE, USABLE, judge

ROOT = Path(__file__).parents[1]
OUT, KEPT = ROOT / "docs" / "results" / "pathologies.md", ROOT / "runs" / "pathologies.jsonl"
OFF, NEAR = 0.20, 0.06
REFUSED = "refused"
UNSET = ("nothing set", "nothing set, multiplicity above 1")
SHOWN = ("regression", "deep linear network 15-28-7", "20 × w₁²w₂²")  # models whose rows are all printed
LONGEST = 110  # letters of a reason


class Outcome(NamedTuple):
    """What came of a case: λ̂ with its verdict, or a refusal in one sentence."""

    family: str
    what: str
    model: str
    truth: float
    seed: int
    llc: float
    se: float
    status: str
    reasons: tuple[str, ...]
    figures: dict[str, float]
    seconds: float

    @property
    def off(self) -> bool:
        """More than 20 % from λ, or no number."""
        return not abs(self.llc / self.truth - 1) <= OFF

    @property
    def near(self) -> bool:
        """Within 6 % of λ."""
        return abs(self.llc / self.truth - 1) <= NEAR


def outcome(case: Case, seed: int) -> Outcome:
    """One case, run."""
    began, model = time.perf_counter(), case.model
    named = (case.family, case.what, model.name, model.llc, seed)
    try:
        found = case.run(seed)
    except BitsAndNatsError as error:
        return Outcome(*named, math.nan, math.nan, REFUSED, (str(error),), {}, time.perf_counter() - began)
    verdict, spent = found.verdict, time.perf_counter() - began
    return Outcome(*named, found.llc, found.se, verdict.status, verdict.reasons, found.figures, spent)


def keep(o: Outcome) -> None:
    """Adds a finished run to those that are kept."""
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**o._asdict(), "version": bn.__version__}, ensure_ascii=False) + "\n")


def kept_outcomes() -> dict[tuple[str, str, str, int], Outcome]:
    """The runs of this version that are kept, judged anew."""
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else []
    found = {}
    for record in map(json.loads, lines):
        if record.pop("version") == bn.__version__:
            o = Outcome(**{**record, "reasons": tuple(record["reasons"])})
            if math.isfinite(o.llc):
                verdict = judge({"llc": o.llc, "se": o.se, **o.figures})
                o = o._replace(status=verdict.status, reasons=verdict.reasons)
            found[o.family, o.what, o.model, o.seed] = o
    return found


# --- tables


def page(outcomes: Sequence[Outcome], seeds: int) -> str:
    """The results as a page of the documentation."""
    spoiled = [o for o in outcomes if o.family != UNSET[0]]
    off = [o for o in spoiled if o.off]
    slipped = [o for o in off if o.status == USABLE]
    good = [o for o in outcomes if o.family == UNSET[0] and o.near]
    alarms = [o for o in good if o.status != USABLE]
    strict = [o for o in alarms if o.status != CAUTION]
    text = f"""# Wrong numbers, and what the verdicts say of them

```console
python benchmarks/pathologies.py
```

Things that go wrong, done on purpose to models whose λ is known in closed form, {seeds} seeds each, and runs with
nothing set. *Off* is a number more than 20 % from λ, or none; *near* one within 6 %. bitsandnats {bn.__version__},
torch {torch.__version__}, {platform.machine()}, one thread.

**{_share(len(slipped), len(off))} of the numbers that are off are called `usable`** (aim: none).
**{_share(len(alarms), len(good))} of the near numbers of runs with nothing set are called anything else** (aim: at most
5 %): {len(alarms) - len(strict)} `usable with caution`, {len(strict)} `not usable`.

| what is done | runs | off | of these usable | with caution | not usable | refused | near | of these usable |
|---|---|---|---|---|---|---|---|---|
"""
    for family in dict.fromkeys(o.family for o in outcomes):
        rows = [o for o in outcomes if o.family == family]
        wrong, right = [o for o in rows if o.off], [o for o in rows if o.near]
        by = [sum(o.status == status for o in wrong) for status in (USABLE, CAUTION, NOT_USABLE, REFUSED)]
        counts = [len(rows), len(wrong), *by, len(right), sum(o.status == USABLE for o in right)]
        text += f"| {family} | {' | '.join(map(str, counts))} |\n"
    text += _section("Off and called usable", slipped, "None.")
    text += _section("Near, with nothing set, and not called usable", alarms, "None.")
    text += "\n## Case by case\n\nThe first seed, on three of the models; a number of more digits is cut to three.\n"
    for family in dict.fromkeys(o.family for o in spoiled):
        rows = [o for o in spoiled if o.family == family and o.seed == 0 and (o.model in SHOWN or family in UNSET)]
        text += _section(family[0].upper() + family[1:], rows, "", level=3)
    return text


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({part / whole:.1%})" if part else "")


def _section(title: str, rows: Sequence[Outcome], nothing: str, *, level: int = 2) -> str:
    head = f"\n{'#' * level} {title}\n\n"
    if not rows:
        return head + (f"{nothing}\n" if nothing else "None of these models.\n")
    table = "| model | what | λ̂ | λ | off by | verdict | first reason |\n|---|---|---|---|---|---|---|\n"
    return head + table + "".join(_row(o) for o in rows)


def _row(o: Outcome) -> str:
    number = "—" if math.isnan(o.llc) else f"{o.llc:.3g} ± {o.se:.2g}"
    error = o.llc / o.truth - 1
    apart = "—" if math.isnan(error) else f"{error:+.0%}" if abs(error) < 10 else f"×{o.llc / o.truth:.2g}"
    reason = (o.reasons[0] if o.reasons else "").replace("|", "\\|").replace("w*", "w\\*")
    reason = reason if len(reason) <= LONGEST else reason[:LONGEST].rsplit(" ", 1)[0] + " …"
    return f"| {o.model} | {o.what} | {number} | {o.truth:g} | {apart} | {o.status} | {reason} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(families()), help="these families, printed")
    parser.add_argument("--seeds", type=int, default=2, help="of every case")
    parser.add_argument("--print", action="store_true", help="print the page instead of writing it")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept, outcomes = kept_outcomes(), list[Outcome]()
    for family, cases in families().items():
        if asked.only and family not in asked.only:
            continue
        for case in cases:
            for seed in range(asked.seeds):
                key = (case.family, case.what, case.model.name, seed)
                if key not in kept:
                    kept[key] = outcome(case, seed)
                    keep(kept[key])
                outcomes.append(kept[key])
        print(f"{family}: {sum(o.seconds for o in outcomes if o.family == family):.0f} s", flush=True)
    text = page(outcomes, asked.seeds)
    if asked.print or asked.only:
        print(text)
    else:
        OUT.write_text(text, encoding="utf-8")
        print(f"written: {OUT}")


if __name__ == "__main__":
    main()
