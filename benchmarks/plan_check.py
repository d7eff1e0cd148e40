"""Plans against what the same commands then cost: processor seconds and peak memory, each in a process of its own.

    python benchmarks/plan_check.py            writes docs/results/plan.md
    python benchmarks/plan_check.py --print    prints only

Three GPT-NeoX models with random weights, saved with contexts of random tokens behind a function that returns the Task.
`bitsandnats plan llc …` first, then `bitsandnats llc …` with the same arguments, one thread each; the actual figures are
the finished process's own processor time and peak resident memory, start and loading included.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs" / "results" / "plan.md"
MODELS = {  # layers, width, heads, vocabulary, context, draws of each of two chains
    "0.66M": (2, 128, 4, 1024, 128, 40),
    "3.7M": (4, 256, 8, 1024, 64, 30),
    "12M": (3, 512, 8, 2048, 32, 30),
}
MODULE = """
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
import bitsandnats as bn


def task():
    torch.manual_seed(0)
    config = GPTNeoXConfig(vocab_size={vocabulary}, hidden_size={width}, num_hidden_layers={layers},
                           num_attention_heads={heads}, intermediate_size=4 * {width}, max_position_embeddings=128)
    tokens = torch.randint({vocabulary}, (512, {context}))
    return bn.Task.from_module(GPTNeoXForCausalLM(config).eval(), bn.hf.CausalLMLoss(), tokens)
"""
ARGUMENTS = ["--step-size", "1e-7", "--gamma", "100", "--nbeta", "100", "--chains", "2", "--batch-size", "16", "--json"]


def command(folder: Path, words: list[str]) -> tuple[str, float, float]:
    """Output of a command, its processor seconds and its peak resident memory."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with (folder / "out").open("w+") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "bitsandnats", "--threads", "1", *words], cwd=folder, stdout=out, env=environment
        )
        _, status, usage = os.wait4(started.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0


def row(name: str) -> str:
    layers, width, heads, vocabulary, context, draws = MODELS[name]
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        source = MODULE.format(layers=layers, width=width, heads=heads, vocabulary=vocabulary, context=context)
        (folder / "models.py").write_text(source)
        words = ["llc", "models:task", "--draws", str(draws), "--burn-in", "0", *ARGUMENTS]
        text, price, _ = command(folder, ["plan", "--json", *words])
        planned = json.loads(text)["plan"]
        _, seconds, memory = command(folder, words)
    off, over = planned["total_seconds"] / seconds - 1, planned["memory"] / memory - 1
    return (
        f"| {name}, 2 × {draws} draws of 16 × {context} tokens | {planned['total_seconds']:.0f} | {seconds:.0f} | {off:+.0%} "
        f"| {planned['memory'] / 1e9:.2f} | {memory / 1e9:.2f} | {over:+.0%} | {price:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--model", choices=tuple(MODELS), action="append")
    arguments = parser.parse_args()
    lines = [
        "| model | planned, s | actual, s | off (aim 30 %) | planned, GB | actual, GB | off (aim 15 %) | the plan took, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in arguments.model or MODELS:
        lines.append(row(name))
        print(lines[-1], flush=True)
    if not arguments.print:
        OUT.write_text(HEADER.format(machine=platform.machine()) + "\n".join(lines) + "\n")


HEADER = """# Plan against actual

`python benchmarks/plan_check.py`: `bitsandnats plan llc …`, then `bitsandnats llc …` with the same arguments, each a process of
its own on one thread, {machine}. Seconds are processor seconds of the whole process, start included; memory its peak resident.

"""


if __name__ == "__main__":
    main()
