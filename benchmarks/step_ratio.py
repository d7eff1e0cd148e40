"""Price of a draw against the bare forward and backward pass, in one process, one thread, pair by pair.

    python benchmarks/step_ratio.py            writes docs/results/step_ratio.md
    python benchmarks/step_ratio.py --print    prints only

Each round times the bare passes, then the same number of draws, with and without the statistics of each step, so that a
machine whose speed drifts cancels out; the median and the quartiles of the rounds' ratios are given. Bare: the user's
module, mean loss, `backward()`, on a batch that is always the same. A second table has the parts of a draw, measured in
the same way.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

import bitsandnats as bn
from bitsandnats._rng import fill, generator, langevin, streams
from bitsandnats._types import Batch
from bitsandnats.run import sample
from bitsandnats.run.reversibility import CHECKED
from bitsandnats.samplers.sgld import sgld
from bitsandnats.samplers.types import fill_noise
from bitsandnats.settings import Settings
from bitsandnats.target import LocalPosterior

Kept = Literal["none", "step"]
MINI_BATCH = ("sgld", "rmsprop_sgld", "adam_sgld", "sghmc", "sgnht")
OUT = Path(__file__).parents[1] / "docs" / "results" / "step_ratio.md"


@dataclass(frozen=True)
class Measured:
    """What the rounds found, a number each.

    Attributes:
        plain: a draw of which the loss alone is kept, bare passes.
        full: a draw with the statistics of its step, bare passes.
        checks: what looking at the last steps once more adds to a chain, bare passes.
        starts: what an estimate costs before its first draw, seconds.
        passes: a bare pass, seconds.
    """

    plain: list[float]
    full: list[float]
    checks: list[float]
    starts: list[float]
    passes: list[float]


@dataclass(frozen=True)
class Case:
    name: str
    task: bn.Task
    bare: Callable[[], None]
    settings: Settings
    target: float
    start_target: str


def settings(chains: int, batch_size: int, draws: int) -> Settings:
    return Settings(
        step_size=1e-7, gamma=100.0, nbeta=100.0, chains=chains, batch_size=batch_size, draws=draws, baseline="none"
    )


def deep_linear() -> Case:
    net = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(3)))
    x = torch.randn(4096, 64)
    y = x @ torch.randn(64, 64) / 8
    loss = bn.losses.gaussian()

    def bare() -> None:
        net.zero_grad()
        (0.5 * (net(x[:64]) - y[:64]).square().sum(1)).mean().backward()

    task = bn.Task.from_module(net, loss, (x, y))
    return Case("deep linear net 3×64, batch 64, 8 chains", task, bare, settings(8, 64, 60), 1.0, "0.1 s")


def classifier() -> Case:
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    x, y = torch.randn(4096, 784), torch.randint(10, (4096,))

    def bare() -> None:
        net.zero_grad()
        nn.functional.cross_entropy(net(x[:64]), y[:64]).backward()

    task = bn.Task.from_module(net, bn.losses.cross_entropy(), (x, y))
    return Case("MLP 784-256-10, batch 64, 4 chains", task, bare, settings(4, 64, 60), 2.5, "0.1 s")


def transformer() -> Case:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=1024,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
    )
    model = GPTNeoXForCausalLM(config).eval()
    tokens = torch.randint(1024, (512, 128))

    def bare() -> None:
        model.zero_grad()
        logits = model(input_ids=tokens[:16], use_cache=False).logits[:, :-1]
        nn.functional.cross_entropy(logits.reshape(-1, 1024), tokens[:16, 1:].reshape(-1)).backward()

    task = bn.Task.from_module(model, bn.hf.CausalLMLoss(), tokens)
    return Case("GPT-NeoX 2×128, 16×128 tokens, 1 chain", task, bare, settings(1, 16, 6), 1.15, "6 bare passes")


def timed(function: Callable[[], object], times: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(times):
        function()
    return time.perf_counter() - began


def keeping(case: Case, statistics: Kept, draws: int) -> Settings:
    return case.settings.model_copy(update={"statistics": statistics, "draws": draws})


def measure(case: Case, rounds: int) -> Measured:
    """Runs of one draw, of as many as are checked, and of many more, by turns with bare passes."""
    draws = case.settings.draws
    timed(case.bare, 3)
    found = Measured([], [], [], [], [])
    for _ in range(rounds):
        bare, one, few, many = 0.0, {}, {}, {}
        for kept in ("none", "step"):
            bare += timed(case.bare, draws) / draws / 4
            one[kept], few[kept], many[kept] = (
                timed(lambda kept=kept, k=k: sample(case.task, keeping(case, kept, k)))
                for k in (1, CHECKED, CHECKED + draws)
            )
            bare += timed(case.bare, draws) / draws / 4
        draw = {kept: (many[kept] - few[kept]) / draws for kept in many}
        check = (few["step"] - one["step"]) / (CHECKED - 1) - draw["step"]
        found.plain.append(draw["none"] / case.settings.chains / bare)
        found.full.append(draw["step"] / case.settings.chains / bare)
        found.checks.append(CHECKED * check / case.settings.chains / bare)
        found.starts.append(one["step"] - draw["step"] - check)
        found.passes.append(bare)
    return found


def parts(case: Case, rounds: int) -> dict[str, float]:
    """Medians of the parts of a draw, bare passes a chain."""
    task, given = case.task, case.settings
    mode = sample(task, keeping(case, "none", 1)).attrs["mode"]
    chains = given.chains if mode == "vmap" else 1
    target = LocalPosterior(task, given.nbeta, given.gamma, mode, statistics="none")
    sampler = sgld(target, step_size=given.step_size)
    rng = streams(0, range(chains))
    random = [generator(0, c, "batches") for c in range(chains)]
    state = sampler.init(rng, {k: w.repeat(chains, *(1,) * w.ndim) for k, w in task.center.items()})
    buffer = torch.empty(chains, task.dimension)

    def draw_batch() -> Batch:
        indices = [torch.randint(len(task.data), (given.batch_size,), generator=g) for g in random]
        return task.batch(torch.stack(indices))

    batch = draw_batch()
    timers: dict[str, Callable[[], object]] = {
        "bare": case.bare,
        "minibatch": draw_batch,
        "loss and gradient": lambda: target.evaluate(state.position, batch),
        "noise": lambda: fill_noise(rng, buffer),
        "step": lambda: sampler.step(rng, state, batch),
    }
    shares: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        seconds = {name: timed(function, given.draws) for name, function in timers.items()}
        for name in timers:
            shares[name].append(seconds[name] / seconds["bare"] / chains)
    medians = {name: statistics.median(found) for name, found in shares.items()}
    medians["update"] = medians["step"] - medians["loss and gradient"] - medians["noise"]
    return medians


def others(case: Case, rounds: int) -> dict[str, float]:
    """Median price of a draw, loss trace only, in bare passes, of every sampler that takes mini-batches."""
    draws = case.settings.draws
    found: dict[str, list[float]] = {name: [] for name in MINI_BATCH}
    for _ in range(rounds):
        for name, ratios in found.items():
            given = keeping(case, "none", draws).model_copy(update={"sampler": name})
            bare = timed(case.bare, draws) / draws
            whole = timed(lambda given=given: sample(case.task, given))
            bare = (bare + timed(case.bare, draws) / draws) / 2
            one = timed(lambda given=given: sample(case.task, given.model_copy(update={"draws": 1})))
            ratios.append((whole - one) / (draws - 1) / given.chains / bare)
    return {name: statistics.median(ratios) for name, ratios in found.items()}


FIRST = """
import time, torch
from bitsandnats._rng import fill, streams
began, busy = time.perf_counter(), time.process_time()
fill(streams(0, [0]), torch.empty(1, 1))
print(time.perf_counter() - began, time.process_time() - busy)
"""


def noise_prices(rounds: int) -> str:
    """A sentence: nanoseconds a number by torch, compiled, and with the whole step; what the first number costs."""
    count, repeats = 203_530, 50
    rng, source = streams(0, [0]), torch.Generator()
    buffer, w, g, center = torch.empty(1, count), torch.zeros(1, count), torch.zeros(1, count), torch.zeros(count)
    timers: dict[str, Callable[[], object]] = {
        "torch": lambda: buffer.normal_(generator=source),
        "compiled": lambda: fill(rng, buffer),
        "step": lambda: langevin(rng, w, center, g, 1e-3, 1e-3, 1e-3),
    }
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, function in timers.items():
            found[name].append(timed(function, repeats) / repeats / count * 1e9)
    each = {name: statistics.median(values) for name, values in found.items()}
    ratio = statistics.median(a / b for a, b in zip(found["torch"], found["compiled"], strict=True))
    firsts = [
        subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True) for _ in range(5)
    ]
    wall, busy = (statistics.median(float(done.stdout.split()[i]) for done in firsts) for i in (0, 1))
    return (
        f"On {count:,} numbers, medians of {rounds} rounds: torch {each['torch']:.2f} ns a number, compiled "
        f"{each['compiled']:.2f} ns ({ratio:.1f} times as fast), the whole step {each['step']:.2f} ns. The first number of a "
        f"process costs {wall:.2f} s ({busy:.2f} s of processor time), the import of the compiler with it; nothing is cached on disk."
    )


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def table(rounds: int) -> str:
    lines = [
        "| case | loss trace only: draw / bare pass, median (quartiles) | aim | with statistics | check of the last steps, "
        "a chain | start-up | aim |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = ("minibatch", "loss and gradient", "noise", "update")
    shares = [
        "",
        "Parts of a draw, loss trace only, in bare passes; the rest of a draw is the loop's bookkeeping.",
        "",
        f"| case | {' | '.join(columns)} |",
        "|---|---|---|---|---|",
    ]
    compared = [
        "",
        "Every sampler that takes mini-batches, loss trace only, median draw / bare pass of rounds of its own.",
        "",
        f"| case | {' | '.join(MINI_BATCH)} |",
        f"|---|{'---|' * len(MINI_BATCH)}",
    ]
    for build in (transformer, deep_linear, classifier):
        torch.manual_seed(0)
        case = build()
        measured = measure(case, rounds)
        start, bare = statistics.median(measured.starts), statistics.median(measured.passes)
        lines.append(
            f"| {case.name} | {quartiles(measured.plain)} | ≤ {case.target:g} | {quartiles(measured.full)} "
            f"| {statistics.median(measured.checks):.1f} bare passes "
            f"| {start:.3f} s = {start / bare:.1f} bare passes | ≤ {case.start_target} |"
        )
        found = parts(case, rounds)
        shares.append(f"| {case.name} | {' | '.join(f'{found[c]:.2f}' for c in columns)} |")
        prices = others(case, max(rounds // 2, 1))
        compared.append(f"| {case.name} | {' | '.join(f'{prices[name]:.2f}' for name in MINI_BATCH)} |")
    return "\n".join(lines + shares + compared)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true", help="do not write docs/results/step_ratio.md")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = table(arguments.rounds)
    print(text)
    if not arguments.print:
        OUT.write_text(
            HEADER.format(rounds=arguments.rounds, torch=torch.__version__, machine=platform.machine())
            + text
            + "\n"
            + FLOOR.format(noise=noise_prices(arguments.rounds))
        )


HEADER = """# Price of a draw

`make bench` (`python benchmarks/step_ratio.py`): SGLD, one thread, {rounds} rounds in one process, torch {torch},
{machine}. A draw includes its minibatch, its noise and everything stored of it. Loss trace only: `statistics="none"`;
with statistics: `statistics="step"`, the default, which the verdict judges by; the last steps of a chain are then looked
at once more, for the acceptance that a Metropolis test would give them. Start-up is what precedes the first draw.

"""

FLOOR = """
What bounded the small classifier was one normal number a weight: torch makes them from a Mersenne Twister, and 203,530 of
them took as long as a bare pass at batch 64. Here float32 numbers on the CPU come from code that `bitsandnats._normal` makes
for the processor when it is first needed: xoshiro256++ in eight lanes, then Box and Muller's transform with polynomials, 32
numbers at a time. For SGLD the same code pulls, adds the gradient and the noise, so that each weight is read and written
once. {noise}

Other dtypes and devices keep torch's generators. Measured before and not adopted, as times of torch's `normal_` in paired
rounds: Box and Muller's transform of numpy's SFC64 bits in blocks of 2¹⁷, 0.71–0.81; in blocks of 2¹⁵, 0.75–0.98; on
12,288 numbers, 1.5; numpy's own ziggurat in float32, 2.1; the inverse error function of the same bits takes 4–5 ns by
itself. The same loops through numba ran at 0.9–1.3 ns a number, but took seconds to compile for the first time and about
one second to load, from its cache, in every process.

What the others cost beyond SGLD is passes over arrays of the weights' size: RMSProp-SGLD packs the gradient, updates the
running squares and makes the preconditioner and its root; Adam-SGLD does all that and averages the gradient; SGHMC and
SGNHT read and write the velocities, and SGNHT sums their squares.
"""


if __name__ == "__main__":
    main()
