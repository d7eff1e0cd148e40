"""What the tables say, in sentences, and the answer to the one question that they are about."""

from collections.abc import Sequence

from bitsandnats.experiments.compressibility.tables import Row

NAMES = {"llc": "λ̂", "noise_only": "noise only", "loss": "loss", "log_step": "log₂ step"}
_ALIKE = 0.9


def of_interest(fits: Sequence[Row], scheme: str, tolerance: float, response: str = "level") -> list[Row]:
    """The fits of one scheme, tolerance and response."""
    wanted = {"scheme": scheme, "tolerance": tolerance, "response": response}
    return [fit for fit in fits if all(fit[name] == value for name, value in wanted.items())]


def groups(fits: Sequence[Row]) -> list[dict[str, Row]]:
    """The fits over the same checkpoints, by predictor."""
    found: dict[tuple[str, str, str], dict[str, Row]] = {}
    for fit in fits:
        found.setdefault((fit["suite"], fit["range"], fit["settings"]), {})[fit["predictor"]] = fit
    return list(found.values())


def beyond(group: dict[str, Row]) -> bool | None:
    """Whether λ̂ explains the critical level beyond its controls, over one set of checkpoints.

    It does where its R² is larger than that of every control, its slope positive, and its partial correlation given
    log₂ step positive, all with 95 % intervals that exclude zero. None where there is nothing to compare.
    """
    llc, controls = group.get("llc"), [fit for name, fit in group.items() if name != "llc"]
    if llc is None or not controls or llc["partial_interval"] is None:
        return None
    if any(fit["gain_interval"] is None for fit in controls):
        return None
    gains = all(fit["gain_interval"][0] > 0 for fit in controls)
    return gains and llc["slope"] > 0 and llc["partial_interval"][0] > 0


def verdict(fits: Sequence[Row], scheme: str, tolerance: float) -> dict[str, str]:
    """Does the LLC explain compressibility beyond training time, loss and plain noise sensitivity?"""
    judged = [(group, beyond(group)) for group in groups(of_interest(fits, scheme, tolerance))]
    local = [said for group, said in judged if said is not None and group["llc"]["settings"] == "local"]
    if not local:
        return {"status": "not judged", "text": "Too few checkpoints carry a critical level and an estimate."}
    held = sum(local)
    others = [said for group, said in judged if said is not None and group["llc"]["settings"] == "published"]
    status = "beyond the controls" if held == len(local) else "in part" if held else "not beyond the controls"
    text = (
        f"λ̂ at local settings explains the critical level of {scheme} at {tolerance:g} nat beyond training time, loss "
        f"and plain noise sensitivity in {held} of {len(local)} combinations of suite and range"
    )
    text += f"; at the published settings in {sum(others)} of {len(others)}." if others else "."
    return {"status": status, "text": text}


def findings(fits: Sequence[Row], scheme: str, tolerance: float, level: str) -> list[str]:
    """One sentence a suite, range and settings: R² of λ̂ and of each control, and the partial correlation."""
    said = []
    for group in groups(of_interest(fits, scheme, tolerance)):
        llc = group.get("llc")
        if llc is None:
            continue
        ranked = sorted(group.values(), key=lambda fit: -fit["r2"])
        listed = ", ".join(f"{NAMES[fit['predictor']]} {fit['r2']:.2f}{_sign(fit)}" for fit in ranked)
        text = (
            f"{llc['suite']}, {llc['range']} range ({llc['points']} checkpoints), {llc['settings']} settings: R² of "
            f"critical {level} at {tolerance:g} nat: {listed}"
        )
        if llc["partial"] is not None:
            text += f"; partial correlation of λ̂ given log₂ step {llc['partial']:+.2f}{_span(llc['partial_interval'])}"
        said.append(text + ".")
    return said


def _sign(fit: Row) -> str:
    """What R² does not show."""
    return " (falling)" if fit["slope"] < 0 else ""


def _span(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"


def comparisons(bits: Sequence[Row], ranks: Sequence[Row], tolerance: float) -> list[str]:
    """Which scheme needs the fewest bits at a tolerance, and whether the tolerance decides the checkpoints' order."""
    said = []
    for row in bits:
        if row["tolerance"] == tolerance:
            wins = ", ".join(f"{scheme} at {n}" for scheme, n in sorted(row["shortest"].items(), key=lambda x: -x[1]))
            lengths = ", ".join(f"{scheme} {value:.2f}" for scheme, value in sorted(row["median_bits"].items()))
            said.append(
                f"Fewest bits at {tolerance:g} nat, {row['suite']}, of {row['checkpoints']} checkpoints: {wins}; "
                f"median bits a parameter, everything included: {lengths}."
            )
    if ranks:
        least = min(ranks, key=lambda row: row["spearman"])
        said.append(
            f"Rank correlations of critical levels between tolerances: {sum(r['spearman'] >= _ALIKE for r in ranks)} "
            f"of {len(ranks)} are at least {_ALIKE:g}; the smallest is {least['spearman']:.2f} ({least['suite']}, "
            f"{least['scheme']}, {least['tolerance']:g} and {least['other']:g} nat, {least['points']} checkpoints)."
        )
    return said


def sampled(suites: Sequence[Row]) -> list[str]:
    """How many estimates were not sampled right, by suite and settings."""
    counts = [
        f"{suite['name']} {suite['not_usable'][name]} of {sum(c[name] is not None for c in suite['checkpoints'])} "
        f"({name})"
        for suite in suites
        for name in suite["not_usable"]
    ]
    return [f"Estimates with the verdict 'not usable': {', '.join(counts)}."] if counts else []
