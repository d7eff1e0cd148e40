"""Bytes of coarse networks: ours, as published, and by general-purpose compressors; what each part adds; speeds.

    python benchmarks/codec.py                  all cases, then the page docs/results/codec.md
    python benchmarks/codec.py --case digits    one case, kept in runs/codec.jsonl
    python benchmarks/codec.py --page           the page from what is kept

Finished cases are kept and not made again.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.coarse_grain import Trials, coarse_grain, read_checkpoint
from bitsandnats.coarse_grain.grid_search import GlobalGrid, search_grid
from bitsandnats.compressors import coding

OUT = Path(__file__).parents[1] / "docs" / "results" / "codec.md"
KEPT = Path("runs") / "codec.jsonl"
TOLERANCES = (0.1, 0.5)
ABLATION = (
    ("one Δ and τ for all", ()),
    ("and spacings by sensitivity", ("spacings",)),
    ("and rounding for rate", ("spacings", "rounding")),
    ("and ranks by matrix", ("spacings", "rounding", "ranks")),
    ("and compensation: all", ("spacings", "rounding", "ranks", "compensation")),
)
CASES = {
    "digits": "an MLP 64-128-128-10 on 1,000 digits, AdamW, no weight decay",
    "digits-decay": "an MLP 64-128-128-10 on 1,000 digits, AdamW, weight decay 3",
    "digits-random": "an MLP 64-128-128-10 on 1,000 digits with random labels, memorised, no weight decay",
    "neox": "a GPT-NeoX of 2 layers of width 48 on bytes of text, 300 steps",
}


def digits(decay: float, steps: int, *, random: bool) -> bn.Task:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))[:1000]
    x, y = torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(labels[order])
    torch.manual_seed(0)
    y = torch.randint(0, 10, y.shape) if random else y
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=decay)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return bn.Task.from_module(net.eval(), bn.losses.cross_entropy(), (x, y))


def neox() -> bn.Task:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from bitsandnats.hf import CausalLMLoss

    text = "".join((Path(__file__).parents[1] / "docs" / name).read_text() for name in ("methods.md", "cli.md"))
    tokens = torch.tensor(list(text.encode()))
    contexts = tokens[: len(tokens) // 64 * 64].view(-1, 64)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=256, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192,
        max_position_embeddings=64,
    )  # fmt: skip
    net = GPTNeoXForCausalLM(config)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.1)
    for step in range(300):
        batch = contexts[torch.randint(len(contexts), (16,), generator=torch.Generator().manual_seed(step))]
        optimizer.zero_grad()
        CausalLMLoss()(net, batch).mean().backward()
        optimizer.step()
    return bn.Task.from_module(net.eval(), CausalLMLoss(), contexts[::4].clone())


def build(case: str) -> bn.Task:
    if case == "neox":
        return neox()
    return digits(
        3.0 if case == "digits-decay" else 0.0, 1500 if case == "digits-random" else 600, random=case == "digits-random"
    )


def measure(case: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    task = build(case)
    found: dict[str, Any] = {"case": case, "parameters": task.dimension, "coder": [], "search": []}
    checkpoint = read_checkpoint(task)
    grid = GlobalGrid(Trials(checkpoint, lambda *_: None))
    for tolerance in TOLERANCES:
        trial = search_grid(grid, tolerance)
        assert trial is not None
        network = coarse_grain(checkpoint, trial.settings["spacing"], trial.settings["threshold"])
        sizes = {"bitsandnats": len(coding.encode(network)), "entropy": round(coding.first_order_bits(network) / 8)}
        sizes |= {"bzip2 of float32": coding.published_bytes(network), **coding.symbol_bytes(network)}
        found["coder"].append({"tolerance": tolerance, **trial.settings, "excess": trial.excess, "sizes": sizes})
        row: dict[str, Any] = {"tolerance": tolerance}
        for method in ("published", "quantization"):
            result = bn.complexity(task, tolerance=tolerance, method=method)
            row[method] = result.bytes
            row[f"{method}, zeros without sign"] = coding.published_bytes(result.network)
        found["search"].append(row)
    for name, refinements in ABLATION:
        began = time.process_time()
        results = bn.complexities(task, tolerances=TOLERANCES, search="grid", refinements=refinements)
        seconds = time.process_time() - began
        for row, result in zip(found["search"], results, strict=True):
            row[name] = {"bytes": result.bytes, "excess": result.excess_loss, "se": result.excess_loss_se}
            row[name] |= {"trials": len(result.trials), "seconds": seconds}
    return found


def speeds() -> dict[str, Any]:
    """CPU seconds of coding and decoding four million weights."""
    weights = torch.randn(2000, 2000, generator=torch.Generator().manual_seed(0))
    rows = weights * torch.logspace(-2, 1, 2000)[:, None]
    found: dict[str, Any] = {"case": "speeds", "rows": []}
    for name, tensor, spacing in (
        ("normal, Δ = σ", weights, 1.0),
        ("normal, Δ = σ/10", weights, 0.1),
        ("rows of unequal scale", rows, 0.1),
    ):
        network = coding.Network({"w": coding.Piece(torch.float32, (coding.to_grid(tensor, spacing),))})
        data = coding.encode(network)
        began = time.process_time()
        coding.encode(network)
        middle = time.process_time()
        coding.decode(data)
        taken = middle - began, time.process_time() - middle
        mega = tensor.numel() * 4 / 1e6
        found["rows"].append({"name": name, "bytes": len(data), "encode": mega / taken[0], "decode": mega / taken[1]})
    return found


def kept() -> dict[str, dict[str, Any]]:
    if not KEPT.exists():
        return {}
    return {row["case"]: row for row in map(json.loads, KEPT.read_text(encoding="utf-8").splitlines())}


def page(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        "# Bytes of networks", "",
        "Made by `python benchmarks/codec.py`; nothing is typed by hand. "
        f"bitsandnats {bn.__version__}, torch {torch.__version__}, Python {platform.python_version()}, one thread.", "",
        "ε in nats a sample or token, on the training data. Sizes in bytes.", "",
    ]  # fmt: skip
    cases = [rows[name] for name in CASES if name in rows]
    lines += [f"* `{row['case']}`: {CASES[row['case']]}; {row['parameters']:,} parameters" for row in cases]
    lines += [
        "",
        "## The coder alone",
        "",
        "The same network, one Δ and τ for all from our grid search, by every coder. bzip2 of float32: of arrays whose zeros have no sign.",
        "",
    ]
    names = ["bitsandnats", "entropy", "bzip2 of float32", "bzip2", "xz", "zstd"]
    shown = ["ours", "first-order entropy", "bzip2 of float32", "bzip2 of symbols", "xz of symbols", "zstd of symbols"]
    lines += [f"| case | ε | {' | '.join(shown)} | ours / bzip2 of float32 |", "|---" * (len(names) + 3) + "|"]
    for row in cases:
        for coder in row["coder"]:
            sizes = coder["sizes"]
            ratio = sizes["bitsandnats"] / sizes["bzip2 of float32"]
            cells = " | ".join(f"{sizes[name]:,}" for name in names)
            lines.append(f"| {row['case']} | {coder['tolerance']:g} | {cells} | {ratio:.2f} |")
    lines += ["", "Ours includes container, names and, for a language model, its configuration; the others hold bare numbers. Where ours lies below the first-order entropy, "
              "rows or columns differ in scale and have distributions of their own.", "",
              "## The search", "", "The smallest network within ε. Published: Algorithm 1 with 62 trials and bzip2 of the float32 arrays; in brackets with −0 written as 0, which the published arithmetic does not do. "
              "Then ours, part by part.", ""]  # fmt: skip
    parts = [name for name, _ in ABLATION]
    lines += [
        f"| case | ε | published | Algorithm 2 | {' | '.join(parts)} | all / published |",
        "|---" * (len(parts) + 5) + "|",
    ]
    for row in cases:
        for search in row["search"]:
            ours = " | ".join(f"{search[name]['bytes']:,}" for name in parts)
            other = " | ".join(
                f"{search[m]:,} ({search[f'{m}, zeros without sign']:,})" for m in ("published", "quantization")
            )
            ratios = [
                search[parts[-1]]["bytes"] / search[name] for name in ("published", "published, zeros without sign")
            ]
            lines.append(
                f"| {row['case']} | {search['tolerance']:g} | {other} | {ours} | {ratios[0]:.2f} ({ratios[1]:.2f}) |"
            )
    lines += [
        "",
        "ΔL of what was found, and what the search for both ε took:",
        "",
        "| case | ε | ΔL ± se, all parts | networks tried | CPU seconds |",
        "|---|---|---|---|---|",
    ]
    for row in cases:
        for search in row["search"]:
            last = search[parts[-1]]
            lines.append(
                f"| {row['case']} | {search['tolerance']:g} | {last['excess']:.3f} ± {last['se']:.3f} | {last['trials']} | {last['seconds']:.1f} |"
            )
    if "speeds" in rows:
        lines += [
            "",
            "## Speed",
            "",
            "CPU time of four million weights, in megabytes of float32 a second.",
            "",
            "| weights | bytes | coding, MB/s | decoding, MB/s |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {r['name']} | {r['bytes']:,} | {r['encode']:.0f} | {r['decode']:.0f} |" for r in rows["speeds"]["rows"]
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*CASES, "speeds"])
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    KEPT.parent.mkdir(exist_ok=True)
    for case in () if options.page else [options.case] if options.case else [*CASES, "speeds"]:
        if case not in kept():
            row = speeds() if case == "speeds" else measure(case)
            with KEPT.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    if options.case is None or options.page:
        OUT.write_text(page(kept()), encoding="utf-8")


if __name__ == "__main__":
    main()
