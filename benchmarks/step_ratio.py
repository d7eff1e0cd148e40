"""Price of a draw against the bare forward and backward pass, in one process, one thread, pair by pair.

    python benchmarks/step_ratio.py            writes docs/results/step_ratio.md
    python benchmarks/step_ratio.py --print    prints only

Each round times the bare passes, then the same number of draws, so that a machine whose speed drifts cancels out; the
median and the quartiles of the rounds' ratios are given. Bare: the user's module, mean loss, `backward()`.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.run import sample
from bitsandnats.settings import Settings

OUT = Path(__file__).parents[1] / "docs" / "results" / "step_ratio.md"


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


def measure(case: Case, rounds: int) -> tuple[list[float], list[float], float]:
    """Ratios of a draw to a bare pass, start-ups in seconds, and the last bare pass in seconds."""
    short = case.settings.model_copy(update={"draws": 1})
    draws = case.settings.draws
    timed(case.bare, 3)
    sample(case.task, case.settings)
    ratios, starts, bare = [], [], 0.0
    for _ in range(rounds):
        bare = timed(case.bare, draws) / draws
        whole = timed(lambda: sample(case.task, case.settings))
        one = timed(lambda: sample(case.task, short))
        draw = (whole - one) / (draws - 1) / case.settings.chains
        ratios.append(draw / bare)
        starts.append(one - draw * case.settings.chains)
    return ratios, starts, bare


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def table(rounds: int) -> str:
    lines = [
        "| case | draw / bare pass: median (quartiles) | aim | start-up | aim |",
        "|---|---|---|---|---|",
    ]
    for build in (transformer, deep_linear, classifier):
        torch.manual_seed(0)
        case = build()
        ratios, starts, bare = measure(case, rounds)
        start = statistics.median(starts)
        lines.append(
            f"| {case.name} | {quartiles(ratios)} | ≤ {case.target:g} | {start:.3f} s = {start / bare:.1f} bare passes "
            f"| ≤ {case.start_target} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="do not write docs/results/step_ratio.md")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = table(arguments.rounds)
    print(text)
    if not arguments.print:
        OUT.write_text(
            HEADER.format(rounds=arguments.rounds, torch=torch.__version__, machine=platform.machine()) + text + "\n"
        )


HEADER = """# Price of a draw

`make bench` (`python benchmarks/step_ratio.py`): SGLD, loss trace and the step's own statistics, one thread, {rounds}
rounds in one process, torch {torch}, {machine}. A draw includes its minibatch, its noise and everything stored of it.

"""


if __name__ == "__main__":
    main()
