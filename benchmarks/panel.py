"""A panel of closed forms, measured with nothing set by hand: does the interval cover, how large is the error?

    python benchmarks/panel.py               20 seeds a model; writes docs/results/panel.md
    python benchmarks/panel.py --seeds 2 --print

Each run calibrates itself with its own seed; only nβ = n/ln n comes from the model. The truth is the exact λ̂ at the very
nβ and γ of the run, by closed form or quadrature; λ stands beside it. Finished runs are kept in `runs/panel.jsonl` and not
made again.
"""

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bitsandnats as bn
from bitsandnats import toys
from bitsandnats._version import __version__

OUT = Path(__file__).parents[1] / "docs" / "results" / "panel.md"
KEPT = Path("runs") / "panel.jsonl"


def measure(name: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    toy = toys.panel()[name]
    began = time.perf_counter()
    settings = bn.calibrate(toy.task, given={"nbeta": toy.nbeta, "seed": seed})
    found = bn.estimate_llc(toy.task, settings=settings)
    assert toy.exact is not None
    assert toy.coefficient is not None
    low, high = found.interval
    truth = float(toy.exact(settings.nbeta, settings.gamma))
    return {
        "model": name,
        "seed": seed,
        "version": __version__,
        "llc": found.llc,
        "se": found.se,
        "covers": bool(low <= truth <= high),
        "truth": truth,
        "lambda": float(toy.coefficient.llc),
        "gamma": settings.gamma,
        "nbeta": settings.nbeta,
        "status": found.verdict.status,
        "reasons": list(found.verdict.reasons),
        "seconds": time.perf_counter() - began,
    }


def gather(seeds: int, workers: int) -> list[dict[str, Any]]:
    """All runs, those that are kept and those that were missing."""
    KEPT.parent.mkdir(exist_ok=True)
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    rows = [row for row in map(json.loads, lines) if row["seed"] < seeds and row["version"] == __version__]
    there = {(row["model"], row["seed"]) for row in rows}
    missing = [(n, s) for s in range(seeds) for n in toys.panel() if (n, s) not in there]
    with ProcessPoolExecutor(workers) as pool, KEPT.open("a") as file:
        for done, future in enumerate(as_completed([pool.submit(measure, *job) for job in missing])):
            row = future.result()
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(
                f"{done + 1}/{len(missing)} {row['model']} {row['llc']:.3f} ± {row['se']:.3f} truth {row['truth']:.3f}"
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| model | runs | covered | median error to λ̂(nβ, γ) | s.e. | λ | median λ̂ | off λ | usable / caution / not | s a run |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    everything: dict[str, list[float]] = {"error": [], "covers": []}
    for name in toys.panel():
        own = [row for row in rows if row["model"] == name]
        if not own:
            continue
        errors = [abs(row["llc"] / row["truth"] - 1) for row in own]
        covers = [float(row["covers"]) for row in own]
        everything["error"] += errors
        everything["covers"] += covers
        median = statistics.median(row["llc"] for row in own)
        counts = [
            sum(row["status"] == status for row in own) for status in ("usable", "usable with caution", "not usable")
        ]
        lines.append(
            f"| {name} | {len(own)} | {np.mean(covers):.0%} | {statistics.median(errors):.2%} "
            f"| {statistics.median(row['se'] / row['truth'] for row in own):.2%} | {own[0]['lambda']:g} | {median:.3f} "
            f"| {median / own[0]['lambda'] - 1:+.1%} | {' / '.join(map(str, counts))} "
            f"| {statistics.median(row['seconds'] for row in own):.0f} |"
        )
    covered, runs = int(sum(everything["covers"])), len(everything["covers"])
    summary = (
        f"All {runs} runs: the 95 % interval covers the exact value in {covered} of them, {covered / runs:.1%} (aim ≥ 90 %); "
        f"median |relative error| {statistics.median(everything['error']):.2%} (aim ≤ 3 %)."
    )
    wrong = [r for r in rows if abs(r["llc"] / r["lambda"] - 1) > 0.2 and r["status"] == "usable"]
    near = [r for r in rows if abs(r["llc"] / r["lambda"] - 1) <= 0.2]
    alarms = [r for r in near if r["status"] != "usable"]
    verdicts = (
        f"Numbers more than 20 % from λ that are called `usable`: {len(wrong)}. Of the {len(near)} within 20 %, "
        f"{len(alarms)} ({len(alarms) / max(len(near), 1):.1%}) are not called `usable`."
    )
    return "\n".join([summary, "", verdicts, "", *lines])


HEADER = """# Panel of closed forms

`python benchmarks/panel.py`: every model of `toys.panel()`, {seeds} seeds each, each run calibrated by itself with nothing set
but nβ = n/ln n at n = 20,000. "Error" is to the exact λ̂ at the run's own nβ and γ, which is what an interval is for;
"off λ" is the distance that is left at this finite temperature and pull, even without any error.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="do not write docs/results/panel.md")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    text = table(gather(arguments.seeds, arguments.workers))
    print(text)
    if not arguments.print:
        OUT.write_text(HEADER.format(seeds=arguments.seeds) + text + "\n")


if __name__ == "__main__":
    main()
