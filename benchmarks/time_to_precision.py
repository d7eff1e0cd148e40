"""Time to a 1 % standard error of λ̂, beside devinterp 2.0.1, in one process, one thread, by turns.

    pip install devinterp==2.0.1                 in an environment of its own, with this package
    python benchmarks/time_to_precision.py       writes docs/results/time_to_precision.md
    python benchmarks/time_to_precision.py --print --cases mlp --rounds 2

Seconds are processor seconds of this process, so that other work on the machine counts for neither tool; the tools take
turns, a chain of devinterp's after a whole estimate of ours. What is measured, and how, stands in the page it writes.
"""

import argparse
import math
import os
import platform
import statistics
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # a progress bar would be timed too

import numpy as np
import torch
from precision_cases import BATCH, CASES, Case
from precision_peer import BIAS, CHAINS, DRAWS, GRID, INIT_BATCHES, TARGET, Cost, Peer, choose, price, relaxed, timed

import bitsandnats as bn
from bitsandnats.estimators.diagnostics import convergence
from bitsandnats.estimators.llc import estimate
from bitsandnats.recipes.controls import with_controls
from bitsandnats.recipes.llc import Stopping, drawn
from bitsandnats.run import sample
from bitsandnats.settings import Settings
from bitsandnats.target import quadratic_variate
from bitsandnats.theory.finite_step import relaxation_steps

OUT = Path(__file__).parents[1] / "docs" / "results" / "time_to_precision.md"
SHORTEST, LONGEST = 4_000, 40_000  # steps of a chain of devinterp's
AIMS = (3.0, 10.0)


@dataclass(frozen=True)
class Result:
    """One tool on one case.

    Attributes:
        settings: in words.
        llc: λ̂, nats.
        se: its standard error, nats.
        bias: predicted share of λ̂ that the step adds.
        cost: in seconds.
        note: how far it may be trusted.
    """

    settings: str
    llc: float
    se: float
    bias: float
    cost: Cost
    note: str


@dataclass(frozen=True)
class Round:
    """One estimate of ours: seconds of the draws, of the controls and of the variates' directions.

    Attributes:
        burn_in: share of the draws.
        gain: by how much the variates lowered the variance of the mean.
    """

    llc: float
    se: float
    bias: float
    status: str
    sampling: float
    controls: float
    burn_in: float
    directions: float
    gain: float


@dataclass(frozen=True)
class Comparison:
    """Both tools on one case; `swept`: what devinterp returns at each step of its grid; `variates`: ours with them."""

    settings: Settings
    ours: Result
    theirs: Result
    swept: dict[float, float]
    variates: Result | None


def ours(case: Case, settings: Settings) -> Round:
    tree, sampling = timed(lambda: sample(case.task, settings, extend=Stopping(TARGET, None).more))
    plain = estimate(tree)
    whole, controls = timed(lambda: with_controls(tree, case.task, drawn(settings, plain)))
    found = estimate(whole)
    share = settings.burn_in / (settings.burn_in + int(tree.attrs["draws"]))
    bias = found.figures.get("step_share", 0.0)
    directions = 0.0
    if settings.variates == "quadratic":  # made once more, to tell their seconds from those of the draws
        directions = timed(lambda: quadratic_variate(case.task, settings.nbeta, settings.gamma))[1]
    gain = found.figures.get("variate_ratio", 1.0)
    status = found.verdict.status
    return Round(found.llc, found.se, bias, status, sampling - directions, controls, share, directions, gain)


def our_result(settings: Settings, calibration: float, rounds: list[Round]) -> Result:
    """Mean over rounds; seconds scaled to a standard error of exactly 1 %."""
    scaled = [r.sampling * (1 - r.burn_in) * (r.se / r.llc / TARGET) ** 2 for r in rounds]
    extra = {
        "controls": statistics.median(r.controls for r in rounds),
        "run": statistics.median(r.sampling for r in rounds),
        "reached": statistics.median(r.se / r.llc for r in rounds),
        "directions": statistics.median(r.directions for r in rounds),
        "gain": statistics.median(r.gain for r in rounds),
    }
    burn_in = statistics.median(r.sampling * r.burn_in + r.directions for r in rounds)
    return Result(
        f"{settings.sampler}, ε {settings.step_size:.3g}, batch {settings.batch_size}, {settings.chains} chains",
        statistics.mean(r.llc for r in rounds),
        math.sqrt(sum(r.se**2 for r in rounds)) / len(rounds),
        max(r.bias for r in rounds),
        Cost(calibration, burn_in, statistics.median(scaled), extra),
        "; ".join(sorted({r.status for r in rounds})),
    )


def price_of_step(case: Case, settings: Settings, step: float, batch: int) -> float:
    """Seconds of a step of one chain, of our SGLD at devinterp's settings."""
    short, long = (
        timed(
            lambda draws=draws: sample(
                case.task,
                Settings(
                    step_size=step,
                    gamma=settings.gamma,
                    nbeta=settings.nbeta,
                    batch_size=batch,
                    chains=CHAINS,
                    draws=draws,
                    statistics="none",
                ),
            )
        )[1]
        for draws in (20, 220)
    )
    return (long - short) / (200 * CHAINS)


def compare(case: Case, rounds: int) -> Comparison:
    """Both tools on one case: ours as calibrated, then devinterp at the same nβ and γ."""
    given = {} if case.nbeta is None else {"nbeta": case.nbeta}
    settings, calibration = timed(lambda: bn.calibrate(case.task, given=given, target_se=TARGET))
    log(f"{case.name}: calibrated in {calibration:.1f} s, {settings}")
    peer = Peer(case, settings.nbeta, settings.gamma)
    step, batch, bias, note = choose(peer, settings)
    pull = relaxation_steps(step * settings.gamma) if settings.gamma > 0 else math.inf
    length = int(min(max(6 * pull, SHORTEST), LONGEST))
    log(f"devinterp: ε {step:.3g}, batch {batch}, predicted bias {bias:.1%}, {note}; {length} steps a chain")
    found, adjusted, chains, steps = [], [], [], []
    swept: dict[float, tuple[float, float]] = {}
    for seed in range(rounds):
        found.append(ours(case, settings.model_copy(update={"seed": seed})))
        log(f"round {seed}: {found[-1]}")
        if case.variates:
            adjusted.append(ours(case, settings.model_copy(update={"seed": seed, "variates": "quadratic"})))
            log(f"round {seed}, with variates: {adjusted[-1]}")
        chains.append(peer.chain(step, batch, length, 100 + seed))
        swept |= {point: peer.by_default(point, 200 + CHAINS * seed) for point in GRID[seed::rounds]}
        steps.append(price_of_step(case, settings, step, batch))
        log(f"round {seed}: a chain of devinterp's in {chains[-1][1]:.1f} s; its grid so far {swept}")
    mine = our_result(settings, calibration, found)
    excess = np.stack([trace for trace, _ in chains])
    seconds = statistics.median(s for _, s in chains) / length
    burn = relaxed(excess, mine.llc / settings.nbeta)
    start = length // 2 if burn is None else burn
    known = convergence(excess[:, start:])
    relaxation = CHAINS * seconds * (length if burn is None else start)
    cost = price(case, known, excess[:, start:].size, relaxation=relaxation, seconds=seconds, batch=batch)
    extra = {
        **cost.extra,
        "relaxed": float(burn is not None),
        "sweep": sum(s for _, s in swept.values()),
        "step": seconds,
        "our_step": statistics.median(steps),
    }
    theirs = Result(
        f"SGLD, ε {step:.3g}, batch {batch}, {CHAINS} chains ({note})",
        settings.nbeta * known.mean,
        settings.nbeta * known.se,
        bias,
        Cost(len(GRID) * extra["sweep"], cost.relaxation, cost.precision, extra),
        f"relaxed after {start} steps"
        if burn is not None
        else f"not relaxed after {length} steps: seconds are a bound",
    )
    with_variates = our_result(settings, calibration, adjusted) if adjusted else None
    return Comparison(
        settings, mine, theirs, {point: value for point, (value, _) in sorted(swept.items())}, with_variates
    )


def page(results: dict[str, Comparison]) -> str:
    """The tables."""
    values = ["| model | tool | settings | predicted bias | λ̂ | remarks |", "|---" * 6 + "|"]
    columns = ("model", "tool", "search", "relaxation", "1 % after it", "without search", "in all")
    times = [f"| {' | '.join(columns)} |", "|---" * 7 + "|"]
    heads = ("model", "without search", f"aim ≥ {AIMS[0]:g}", "in all", f"aim ≥ {AIMS[1]:g}", "its steps alone swept")
    ratios = [f"| {' | '.join((*heads, 'default L(w*): without search', 'in all'))} |", "|---" * 8 + "|"]
    remarks = []
    for name, found in results.items():
        option = [] if found.variates is None else [("bitsandnats, variates", found.variates)]
        for tool, r in (("bitsandnats", found.ours), *option, ("devinterp", found.theirs)):
            first = r is found.ours
            label = f"{name}; nβ {found.settings.nbeta:.4g}, γ {found.settings.gamma:g}" if first else ""
            values.append(f"| {label} | {tool} | {r.settings} | {r.bias:.1%} | {r.llc:.2f} ± {r.se:.2f} | {r.note} |")
            c = r.cost
            parts = (c.search, c.relaxation, c.precision, c.sampling, c.whole)
            times.append(f"| {name if first else ''} | {tool} | {' | '.join(f'{s:.3g} s' for s in parts)} |")
        ratios.append(ratio_line(name, found.ours.cost, found.theirs.cost))
        if found.variates is not None:
            ratios.append(ratio_line(f"{name}, ours with variates", found.variates.cost, found.theirs.cost))
        remarks.append(remark(name, found))
    titles = ("## What was measured", "## Seconds", "## devinterp's seconds over ours")
    tables = [
        part for title, table in zip(titles, (values, times, ratios), strict=True) for part in (title, "", *table, "")
    ]
    return "\n".join([*tables, *remarks])


def ratio_line(name: str, mine: Cost, theirs: Cost) -> str:
    bound = "" if theirs.extra["relaxed"] else "≥ "
    cells = [name]
    for ratio, aim in zip((theirs.sampling / mine.sampling, theirs.whole / mine.whole), AIMS, strict=True):
        cells += [f"{bound}{ratio:.3g}", "met" if ratio >= aim else "missed"]
    default = theirs.extra["default"]
    further = (
        (theirs.extra["sweep"] + theirs.sampling) / mine.whole,
        default / mine.sampling,
        (theirs.search + default) / mine.whole,
    )
    return f"| {' | '.join([*cells, *(f'{bound}{ratio:.3g}' for ratio in further)])} |"


def remark(name: str, found: Comparison) -> str:
    mine, theirs = found.ours, found.theirs
    gap, error = theirs.llc - mine.llc, math.hypot(mine.se, theirs.se)
    agree = abs(gap) <= 3 * error + theirs.bias * theirs.llc + mine.bias * mine.llc
    extra = theirs.cost.extra
    gained = ""
    if found.variates is not None:
        own = found.variates.cost.extra
        gained = (
            f" With variates the variance of our mean falls {own['gain']:.1f} times on the same draws (λ̂ = "
            f"{found.variates.llc:.2f} ± {found.variates.se:.2f}); their directions take {own['directions']:.2g} s."
        )
    swept = ", ".join(f"{value:.3g}" for value in found.swept.values())
    return (
        f"- {name}: the tools {'agree' if agree else 'disagree'} ({gap:+.2f} nats, {gap / mine.llc:+.1%}, "
        f"{abs(gap) / error:.1f} standard errors). Over the steps of its grid, at its defaults, `llc()` of devinterp "
        f"returns {swept}. Its default L(w*) has an error of {extra['floor']:.1%} of λ̂. Our estimate as run: "
        f"{mine.cost.extra['run']:.3g} s to {mine.cost.extra['reached']:.1%}, and {mine.cost.extra['controls']:.3g} s "
        f"for the controls of the verdict. A step of SGLD at devinterp's settings takes us "
        f"{1e3 * extra['our_step']:.3g} ms a chain, devinterp {1e3 * extra['step']:.3g} ms "
        f"({extra['step'] / extra['our_step']:.1f} times).{gained}"
    )


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true", help="do not write docs/results/time_to_precision.md")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="devinterp")
    results = {}
    for name in arguments.cases:
        case = CASES[name]()
        results[case.name] = compare(case, arguments.rounds)
        if not arguments.print:
            OUT.write_text(header(arguments.rounds) + page(results) + "\n")
    print(page(results))


def header(rounds: int) -> str:
    return f"""# Time to a 1 % standard error

`python benchmarks/time_to_precision.py`, in an environment with devinterp {version("devinterp")} beside this package;
{rounds} rounds in one process, one thread, torch {torch.__version__}, {platform.machine()}. Seconds are processor
seconds; the tools took turns.

The estimand is the same for both: loss, data, nβ and γ, the last two as our calibration chose them (devinterp has no
rule for γ and got it as a gift).

- *Ours*: `calibrate` and then draws until the standard error is 1 % of λ̂, nothing set by hand but nβ of the deep linear
  net; seconds scaled to exactly 1 %. Search = calibration.
- *Ours with variates*, where a row says so: the same settings with `variates="quadratic"`, an option that is not the
  default and that calibration does not choose. The seconds of its directions are counted in relaxation.
- *devinterp*: plain SGLD, its default. The step is the largest of its grid, {len(GRID)} steps from {GRID[0]:g} to
  {GRID[-1]:g} (that of `EpsilonBetaAnalyzer`, its sweep in version 1; 2.0.1 ships none), whose predicted bias is at
  most {BIAS:.0%}: 2 % for the finite step and 2 % for gradient noise, the same bound as ours, from the same statistics
  of short chains. If none passes, the step that just would. A user without that prediction has to judge by eye.
  Search = that sweep, {len(GRID)} steps times {len(GRID)} values of nβ at its defaults ({CHAINS} chains of {DRAWS}
  draws, batch {BATCH}): the steps were run and timed, times {len(GRID)}. One column has the steps alone.
- *Relaxation* of devinterp: steps until λ̂, averaged over chains and growing bins, stays within {BIAS:.0%} and two
  standard errors of ours, for each of its {CHAINS} chains. Ours: burn-in.
- *1 % after it*: from the effective sample size of the draws after relaxation. devinterp subtracts L(w*) of
  {INIT_BATCHES} batches by default; the table gives it L(w*) of all the chain's batches instead, at the price of a
  forward pass each, so that the luck of batches cancels. The last two columns have the default: the error it leaves
  is the same for all chains of a run, so runs are repeated at the least price.

"""


if __name__ == "__main__":
    main()
