"""A language model's draw in bare forward-and-backward passes, by processor time, in one process, by turns.

    python benchmarks/lm_step.py               writes docs/results/lm_step.md
    python benchmarks/lm_step.py --print       prints only

A draw lasts from one call of the loss for a draw's batch to the next, so that everything in between counts: gradient,
update, noise, minibatch, the paired baseline and bookkeeping. Processor time of one thread: what else the machine does
does not count. Bare: the module's mean loss and `backward()`, on a batch that is always the same.
"""

import argparse
import dataclasses
import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.run import sample
from bitsandnats.settings import Settings

OUT = Path(__file__).parents[1] / "docs" / "results" / "lm_step.md"
CASES = {  # layers, width, heads, vocabulary, rounds, draws a round
    "0.66M: 2 × 128, vocabulary 1024": (2, 128, 4, 1024, 9, 6),
    "20M: 6 × 512, vocabulary 1024": (6, 512, 8, 1024, 3, 3),
}
AIMS = {"none": 1.10, "batch": 1.40}


def case(layers: int, width: int, heads: int, vocabulary: int) -> tuple[bn.Task, Callable[[], None], int]:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=128,
    )
    model = GPTNeoXForCausalLM(config).eval()
    tokens = torch.randint(vocabulary, (512, 128))

    def bare() -> None:
        model.zero_grad()
        logits = model(input_ids=tokens[:16], use_cache=False).logits[:, :-1]
        nn.functional.cross_entropy(logits.reshape(-1, vocabulary), tokens[:16, 1:].reshape(-1)).backward()

    task = bn.Task.from_module(model, bn.hf.CausalLMLoss(), tokens)
    return task, bare, task.dimension


def draws(task: bn.Task, count: int, baseline: Any) -> list[float]:
    """Seconds of each of so many draws."""
    marks: list[float] = []

    def marked(params: Any, batch: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and len(batch) == 16:  # a draw's, not the baseline's
            marks.append(time.process_time())
        return task.loss(params, batch)

    settings = Settings(
        step_size=1e-7,
        gamma=100.0,
        nbeta=100.0,
        chains=1,
        batch_size=16,
        draws=count + 1,
        baseline=baseline,
        statistics="none",
        mode="loop",
        micro_batch=16,
    )
    sample(dataclasses.replace(task, loss=marked), settings)
    return [b - a for a, b in pairwise(marks)][-count:]


def spent(function: Callable[[], None]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def measured(name: str) -> list[str]:
    layers, width, heads, vocabulary, rounds, count = CASES[name]
    task, bare, dimension = case(layers, width, heads, vocabulary)
    bare()
    ratios: dict[str, list[float]] = {"none": [], "batch": []}
    passes: list[float] = []
    for _ in range(rounds):
        for kind, found in ratios.items():
            before = [spent(bare) for _ in range(max(count // 2, 1))]
            own = draws(task, count, kind)
            after = [spent(bare) for _ in range(max(count // 2, 1))]
            passes += before + after
            found.append(statistics.median(own) / statistics.median(before + after))
    rows = []
    for kind, said in (("none", "without L(w\\*)"), ("batch", "with the paired baseline")):
        middle, low, high = statistics.median(ratios[kind]), min(ratios[kind]), max(ratios[kind])
        rows.append(
            f"| {name} ({dimension:,} parameters) | {said} | {middle:.2f} ({low:.2f}–{high:.2f}) | ≤ {AIMS[kind]:.2f} "
            f"| {statistics.median(passes):.3f} s |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--case", choices=tuple(CASES), action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "| model | draw | in bare passes: median (least–most) of rounds | aim | bare pass |",
        "|---|---|---|---|---|",
    ]
    for name in arguments.case or CASES:
        rows = measured(name)
        print("\n".join(rows), flush=True)
        lines += rows
    if not arguments.print:
        head = HEADER.format(torch=torch.__version__, machine=platform.machine())
        OUT.write_text(head + "\n".join(lines) + "\n")


HEADER = """# Price of a language model's draw

`python benchmarks/lm_step.py`: SGLD, loss trace only, GPT-NeoX with random weights, 16 × 128 tokens a batch, float32, one
thread, processor time, bare passes and draws by turns in one process, torch {torch}, {machine}.

"""


if __name__ == "__main__":
    main()
