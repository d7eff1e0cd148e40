"""A small study killed at random moments (SIGKILL), taken up again until it is done, and compared with one left alone.

    python benchmarks/kill.py                  200 kills, writes docs/results/robustness.md
    python benchmarks/kill.py --kills 20 --json    prints what it found

Each round begins in an empty folder: the study is started in a process of its own and killed after a random time, again
and again, until one start comes to its end. After every kill the finished units are noted. Of them none may be made again
(its files keep their times), and in the end every number and every stored array must be that of the uninterrupted study.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bitsandnats as bn
import bitsandnats.run.blocks
from bitsandnats.store import Run

OUT = Path(__file__).parents[1] / "docs" / "results" / "robustness.md"
SETTINGS = {
    "nbeta": 100.0, "gamma": 50.0, "step_size": 1e-4, "batch_size": 16, "chains": 2, "burn_in": 5, "draws": 40,
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    checkpoints: int
    schemes: tuple[str, ...]


WHOLE = Size(2, ("quantize", "noise-absolute"))
SMALL = Size(2, ("quantize",))


@dataclass
class Found:
    """What the rounds showed.

    Attributes:
        kills: processes that were killed while the study ran.
        rounds: studies that were brought to their end.
        lost: finished units that were gone or made anew later.
        different: numbers or arrays that differ from those of the uninterrupted study.
        wrong_ends: starts that ended otherwise than by the kill or in success.
        moments: what was being done at the kill: names of hidden folders, or between writes.
        units: of one study.
        seconds: of one study.
    """

    kills: int = 0
    rounds: int = 0
    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    wrong_ends: list[int] = field(default_factory=list)
    moments: Counter[str] = field(default_factory=Counter)
    units: int = 0
    seconds: float = 0.0


def series(count: int) -> dict[str, bn.Task]:
    """Snapshots of a small network."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(64, 2, generator=generator) * 4 - 2
    y = torch.sin(x[:, :1]) * x[:, 1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    tasks = {}
    for step in range(count):
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(0.9)
        weights = {name: p.detach().clone() for name, p in module.named_parameters()}
        tasks[f"step{10 * (step + 1)}"] = bn.Task.from_module(module, bn.losses.gaussian(0.5), (x, y)).at(weights)
    return tasks


def run(folder: Path, size: Size) -> None:
    """The study; every chain is a unit of its own, however short, and how it is evaluated is left to the clock."""
    bitsandnats.run.blocks._WORTH_KEEPING = 0.0
    bn.study(series(size.checkpoints), settings=SETTINGS, tolerances=(0.1, 0.5), schemes=size.schemes, out=folder)


def start(folder: Path, size: Size) -> int:
    """The study in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run(folder, size)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    os._exit(code)


def ended(pid: int, seconds: float) -> int | None:
    """The exit status, or None if the process still runs after that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def finished(folder: Path) -> dict[str, int]:
    """When each unit was finished. Chains are kept only until their estimate is there; what is hidden is not finished."""
    files = [p for p in folder.glob("units/*/*/unit.json") if not p.parent.name.startswith(".")]
    return {str(p.parent.relative_to(folder)): p.stat().st_mtime_ns for p in files if ".chains-" not in p.parent.name}


def numbers(folder: Path) -> dict[str, str]:
    """Every row of the table, and a hash of every stored array, without what tells the time."""
    found = {}
    for row in Run(folder).summary()["checkpoints"]:
        (row.get("llc") or {}).pop("seconds", None)
        found[f"row {row['label']}"] = json.dumps(row, sort_keys=True)
    for file in sorted(folder.glob("units/*/*/data.zarr/**/*")):
        if file.is_file() and not file.name.startswith(".z"):
            found[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def doing(folder: Path) -> str:
    """What a killed process was at."""
    hidden = [p.name.split(".")[1] for p in folder.glob("units/*/.*")]
    if hidden:
        return "writing a unit"
    if list(folder.glob(".*.json.*")) or list(folder.glob("units/*/.row*")):
        return "writing the table"
    units = finished(folder)
    if not units:
        return "choosing the settings or before"
    return "measuring"


def measure(kills: int, seed: int, folder: Path, size: Size) -> Found:
    """Kills until as many kills have been made, then finishes the last study."""
    found = Found()
    began = time.perf_counter()
    if ended(start(folder / "alone", size), 600) != 0:
        raise SystemExit("the study does not run")
    found.seconds = time.perf_counter() - began
    found.units = len(finished(folder / "alone"))
    # what is left to the clock is taken from the uninterrupted study, or no two studies could be compared
    chosen = json.loads(Run(folder / "alone").tree("_series", "settings").attrs["settings"])["mode"]
    SETTINGS["mode"] = chosen
    reference = numbers(folder / "alone")
    draw = random.Random(seed)
    while found.kills < kills:
        here = folder / f"round{found.rounds}"
        kept: dict[str, int] = {}
        while True:
            pid = start(here, size)
            limit = draw.uniform(0, 0.8 * found.seconds) if found.kills < kills else 600
            code = ended(pid, limit)
            if code is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                found.kills += 1
                found.moments[doing(here)] += 1
            now = finished(here)
            found.lost += [f"round {found.rounds}: {name}" for name, at in kept.items() if now.get(name) != at]
            kept = now
            if code == 0:
                break
            if code is not None:
                found.wrong_ends.append(code)
                break
        found.rounds += 1
        if code == 0:
            mine = numbers(here)
            names = [name for name in {*reference, *mine} if reference.get(name) != mine.get(name)]
            found.different += [f"round {found.rounds}: {name}" for name in sorted(names)]
    return found


def page(found: Found, seed: int) -> str:
    rows = "\n".join(f"| {name} | {count} |" for name, count in found.moments.most_common())
    wrong = len(found.lost) + len(found.different) + len(found.wrong_ends)
    verdict = "nothing was lost, made twice or different" if not wrong else f"{wrong} failures"
    return f"""# Killed at random moments

A study of {WHOLE.checkpoints} checkpoints of a small network ({found.units} units: settings, and for each checkpoint held-out loss, draws and
two schemes; each chain is a unit too until its estimate is there) is started, killed with SIGKILL after a random time, and
started again until it comes to its end. Then the next one begins. One takes {found.seconds:.1f} s if left alone.

{found.kills} kills over {found.rounds} studies: {verdict}.

| what is counted | found |
|---|---|
| kills while the study ran | {found.kills} |
| studies brought to their end | {found.rounds} |
| finished units that were lost or made again | {len(found.lost)} |
| numbers and stored arrays that differ from those of the study left alone, by even a bit | {len(found.different)} |
| starts after a kill that ended in an error | {len(found.wrong_ends)} |

| what the killed process was at | kills |
|---|---|
{rows}

A unit is lost or made again if its file is gone or has another time after a later start. Compared are every row of the
table and every array on disk; how long something took is not. vmap or loop is chosen by the clock in the first study and
given to the others, as a study keeps its own choice.

Made by `python benchmarks/kill.py --kills {found.kills} --seed {seed}` with torch {torch.__version__} on {platform.system()} {platform.machine()}, one thread.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="two checkpoints and one scheme")
    parser.add_argument("--json", action="store_true", help="print what was found and write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    assert bn.study  # imported here, where a child need not
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.kills, options.seed, Path(folder), SMALL if options.small else WHOLE)
    if options.json:
        said: dict[str, Any] = {**vars(found), "moments": dict(found.moments)}
        print(json.dumps(said))
    else:
        OUT.write_text(page(found, options.seed), encoding="utf-8")
        print(OUT.read_text(encoding="utf-8"))
    sys.exit(1 if found.lost or found.different or found.wrong_ends else 0)


if __name__ == "__main__":
    main()
