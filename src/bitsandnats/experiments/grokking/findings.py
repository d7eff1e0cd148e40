"""What the tables say, in sentences, and the answer to the question that they are about."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.grokking.plan import MAIN, WORDS
from bitsandnats.experiments.grokking.tables import FALL, Row

NAMES = {"bytes": "complexity", "llc": "λ̂"}
_UNITS = {"bytes": "bytes", "llc": "nats"}


def name_of(row: Row) -> str:
    """An arm in words."""
    return f"{row['operation']}, {row['network']}, {WORDS[row['regime']]}"


def verdict(arms: Sequence[Row]) -> dict[str, str]:
    """Does complexity rise and fall where training is regularised, and only there?"""
    judged = [arm for arm in arms if arm["bytes"] is not None]
    regularised = [arm for arm in judged if arm["regime"] != "none"]
    plain = [arm for arm in judged if arm["regime"] == "none"]
    if not regularised:
        return {"status": "not judged", "text": "No regularised arm is wholly measured yet."}
    fell = sum(arm["bytes"]["falls"] for arm in regularised)
    still = sum(arm["bytes"]["fall_last"]["most"] < FALL for arm in plain)
    text = (
        f"With regularisation, complexity at {MAIN:g} nat falls by at least {FALL:g} from its peak in memorisation by "
        f"the time test accuracy has passed 95 %, for every seed, in {fell} of {len(regularised)} arms"
    )
    text += (
        f"; without, it falls by less than that until the end, for every seed, in {still} of {len(plain)}"
        if plain
        else ""
    )
    whole = fell == len(regularised) and still == len(plain)
    status = "rises and falls" if whole else "in part" if fell else "does not fall"
    return {"status": status, "text": text + "."}


def findings(summary: dict[str, Any]) -> list[str]:
    """One sentence an arm and quantity, then rate–distortion, bounds and coders."""
    said = []
    for arm in summary["arms"]:
        said.append(_learning(arm))
        said += [text for name in NAMES if (text := _fall(arm, name)) is not None]
    said += _curves(summary["rate_distortion"])
    said += _bounds(summary["bounds"], summary["arms"])
    said += _coders(summary)
    said += _sampled(summary["runs"])
    failed = [f"{run['arm']}, seed {run['seed']}, epoch {c['epoch']}: {why}"
              for run in summary["runs"] for c in run["checkpoints"] for why in c["failed"]]  # fmt: skip
    return said + failed


def _learning(arm: Row) -> str:
    passed = [e for e in arm["generalised"] if e is not None]
    text = f"{name_of(arm)}: test accuracy passes 95 % for {len(passed)} of {arm['seeds']} seeds"
    text += f" (epochs {', '.join(str(e) for e in passed)})" if passed else ""
    memorised = [str(e) for e in arm["memorised"] if e is not None]
    text += f"; training accuracy passes 99 % at {', '.join(memorised)}" if memorised else ""
    return f"{text}; at the end it is {mean(arm['test_accuracy'], '.1%')}."


def _fall(arm: Row, name: str) -> str | None:
    found = arm[name]
    if found is None:
        return None
    form = ",.0f" if name == "bytes" else ".1f"
    text = f"{name_of(arm)}: {NAMES[name]} peaks at {mean(found['peak'], form)} {_UNITS[name]} in memorisation"
    if found["fall"] is not None:
        text += f" and is {mean(found['fall'], '.2f')} times smaller at the first checkpoint above 95 % test accuracy"
    last = f"{mean(found['last'], form)} ({mean(found['fall_last'], '.2f')} times smaller than the peak)"
    return f"{text}; at the end it is {last}."


def _curves(rows: Sequence[Row]) -> list[str]:
    said = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        sizes, exponents = (sum(row[name] for row in own) / len(own) for name in ("size", "exponent"))
        said.append(
            f"Rate–distortion at the end, {arm}: about {sizes:,.0f} bytes at 1 nat, falling as ε to the power "
            f"−{exponents:.2f} (mean of {len(own)} seeds)."
        )
    return said


def _bounds(rows: Sequence[Row], arms: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    best = min(rows, key=lambda row: row["error_bound"])
    text = f"The smallest bound on the error rate over all pairs is {best['error_bound']:.2f} "
    text += f"({best['arm']}, seed {best['seed']})"
    largest = ", ".join(dict.fromkeys(f"{a['vacuous_above']:,} bytes at n = {a['pairs']:,}" for a in arms))
    saying = "below 1, so it says something" if best["error_bound"] < 1 else "not below 1: it says nothing"
    return [f"{text}, {saying}. Even without errors it says nothing above {largest}."]


def _coders(summary: dict[str, Any]) -> list[str]:
    said = []
    if summary["sizes"]:
        names = [name for name in summary["sizes"][0]["sizes"] if name != "bitsandnats"]
        ratios = {n: [r["sizes"]["bitsandnats"] / r["sizes"][n] for r in summary["sizes"]] for n in names}
        listed = ", ".join(f"{sum(v) / len(v):.2f} of {n}" for n, v in ratios.items())
        said.append(f"The same coarse networks, {len(summary['sizes'])} of them, take in our code on average {listed}.")
    if summary["published"]:
        shares = [row["ours"] / row["published"] for row in summary["published"]]
        listed = ", ".join(f"{share:.2f}" for share in shares)
        said.append(f"Ours over the published procedure's size, at {MAIN:g} nat: {listed}.")
    return said


def _sampled(runs: Sequence[Row]) -> list[str]:
    known = [c for run in runs for c in run["checkpoints"] if c["status"] is not None]
    wrong = sum(c["status"] == "not usable" for c in known)
    return [f"Estimates of the LLC with the verdict 'not usable': {wrong} of {len(known)}."] if known else []


def mean(found: Row | None, form: str) -> str:
    """Mean ± standard deviation over seeds."""
    if found is None:
        return "—"
    return f"{found['mean']:{form}}" + ("" if found["sd"] is None else f" ± {found['sd']:{form}}")
