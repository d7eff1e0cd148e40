"""What the tables say, in sentences, and the answer to the question that they are about."""

from collections.abc import Sequence
from typing import Any

from bitsandnats.experiments.influence_retraining.plan import AIM, METHODS
from bitsandnats.experiments.influence_retraining.tables import Row


def verdict(aims: Sequence[Row]) -> dict[str, str]:
    """Are all aims met, on each network?"""
    if not aims:
        return {"status": "not judged", "text": "No network's attributions are measured yet."}
    met = sum(aim["met"] for aim in aims)
    networks = len({(aim["set"], aim["model"]) for aim in aims})
    ratios = [aim for aim in aims if "better exact" in aim["aim"]]
    reached = sum(aim["met"] for aim in ratios)
    text = f"BIF reaches {AIM:g} of the better exact damped influence function at fraction 0.5 on {reached} of "
    text += f"{networks} networks, and is above TRAK-like projections and GradSim in {met - reached} of "
    text += f"{len(aims) - len(ratios)} comparisons."
    return {"status": "aims met" if met == len(aims) else "aims not met", "text": text}


def findings(summary: dict[str, Any]) -> list[str]:
    """One sentence a data set and fraction, then forms, the negative control, leave-one-out, and what failed."""
    said = [_main(row) for row in summary["means"] if row["form"] == "raw" and row["what"][0].isdigit()]
    said += _small(summary["networks"])
    said += [_control(row) for row in summary["means"] if row["form"] == "raw" and row["what"][0].isdigit()]
    said += [_left_out(row) for row in summary["means"] if row["form"] == "raw" and not row["what"][0].isdigit()]
    said += [_ceiling(row) for row in summary["truths"] if row["reliability"] is not None]
    return said + [f"{f['set']}, {f['kind']}: {f['failed']}" for f in summary["failed"]]


def _main(row: Row) -> str:
    own = sorted((n for n in METHODS if n != "noise"), key=lambda n: -row["methods"][n]["mean"])
    listed = ", ".join(f"{METHODS[name]} {_mean(row['methods'][name])}" for name in own)
    return f"{row['set']}, subsets of {row['what']}, LDS raw, mean of {row['networks']} networks: {listed}."


def _small(networks: Sequence[Row]) -> list[str]:
    """BIF against the better exact damped influence function at each fraction, raw and normalised."""
    said = []
    for data in dict.fromkeys(row["set"] for row in networks):
        parts = []
        for row in networks:
            if row["set"] == data and row["what"][0].isdigit():
                found = row["difference"]
                shown = f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
                parts.append(((row["what"], row["form"]), shown))
        for key in dict.fromkeys(key for key, _ in parts):
            own = "; ".join(shown for k, shown in parts if k == key)
            said.append(
                f"{data}, subsets of {key[0]}, {key[1]}: BIF less the better exact damped one, by network: {own}."
            )
    return said


def _control(row: Row) -> str:
    own, noise = row["methods"]["bif"], row["methods"]["noise"]
    return (
        f"{row['set']}, subsets of {row['what']}, raw: BIF {_mean(own)}, the same covariances at nβ = 0 {_mean(noise)}."
    )


def _left_out(row: Row) -> str:
    names = ("bif", "gauss_newton", "hessian", "trak", "tracin", "gradsim", "noise")
    listed = ", ".join(f"{METHODS[name]} {_mean(row['methods'][name])}" for name in names)
    return f"{row['set']}, one item left out, rank correlation over items, raw: {listed}."


def _ceiling(row: Row) -> str:
    return (
        f"{row['set']}, subsets of {row['fraction']:g}: the retrained losses rank subsets with reliability "
        f"{row['reliability']:.2f}, so that no prediction can be expected to correlate with them by more than about "
        f"{max(row['reliability'], 0) ** 0.5:.2f}."
    )


def _mean(found: Row) -> str:
    return f"{found['mean']:.3f} ({found['least']:.3f} to {found['most']:.3f})"
