"""Bytes of coarse networks: ours, as published, by NNCodec and by general-purpose compressors; what each part adds; speeds.

    python benchmarks/codec.py                  all cases, then the page docs/results/codec.md
    python benchmarks/codec.py --case digits    one case, kept in runs/codec.jsonl
    python benchmarks/codec.py --page           the page from what is kept

Finished parts are kept and not made again. NNCodec needs an environment of its own: see `codec_nncodec.py`.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import codec_cases
import codec_nncodec
import codec_overhead
import codec_page
import numpy as np
import torch

import bitsandnats as bn
from bitsandnats.coarse_grain import Trials, coarse_grain, read_checkpoint
from bitsandnats.coarse_grain.grid_search import GlobalGrid, search_grid
from bitsandnats.compressors import coding

KEPT = Path("runs") / "codec.jsonl"
TOLERANCES = (0.1, 0.5)
PARTS = ("coder", "published", "search", "left out", "nncodec")


def coder(task: bn.Task) -> dict[str, Any]:
    """One Δ and τ for all tensors, and the same network by every coder."""
    checkpoint, rows = read_checkpoint(task), []
    grid = GlobalGrid(Trials(checkpoint, lambda stage, done, total: None))
    for tolerance in TOLERANCES:
        trial = search_grid(grid, tolerance)
        assert trial is not None
        network = coarse_grain(checkpoint, trial.settings["spacing"], trial.settings["threshold"])
        parts = coding.sections(network)
        sizes = {"bitsandnats": sum(parts), "side": parts.head + parts.names + parts.plain}
        sizes |= {"entropy": round(coding.first_order_bits(network) / 8), "float32": coding.published_bytes(network)}
        rows.append({"tolerance": tolerance, **trial.settings, "sizes": sizes | coding.symbol_bytes(network)})
    return {"rows": rows}


def published(task: bn.Task) -> dict[str, Any]:
    """Algorithms 1 and 2, in bytes; and with zeros that have no sign."""
    rows = []
    for tolerance in TOLERANCES:
        row: dict[str, Any] = {"tolerance": tolerance}
        for method in ("published", "quantization"):
            result = bn.complexity(task, tolerance=tolerance, method=method)
            row[method], row[f"{method}, unsigned"] = result.bytes, coding.published_bytes(result.network)
        rows.append(row)
    return {"rows": rows}


def search(task: bn.Task) -> dict[str, Any]:
    """Ours, part by part; and under what models its symbols are coded."""
    return _search(task, codec_page.ADDED)


def left_out(task: bn.Task) -> dict[str, Any]:
    """Ours without one part at a time."""
    return _search(task, codec_page.LEFT_OUT)


def _search(task: bn.Task, variants: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [{"tolerance": tolerance} for tolerance in TOLERANCES]
    for name, refinements in variants.items():
        began = time.process_time()
        results = bn.complexities(task, tolerances=TOLERANCES, search="grid", refinements=refinements)
        seconds = time.process_time() - began
        for row, result in zip(rows, results, strict=True):
            row[name] = {"bytes": result.bytes, "excess": result.excess_loss, "se": result.excess_loss_se}
            if name == codec_page.ALL:
                row |= {"trials": len(result.trials), "seconds": seconds, "spent": result.spent._asdict()}
                row |= {"models": _models(result.network), "ranks": result.ranks, "starts": codec_page.STARTS}
    return {"rows": rows}


def _models(network: coding.Network) -> dict[str, int]:
    """Bytes of the symbols: one distribution for all, one a tensor, and as coded, with all distributions."""
    symbols = [g.symbols.ravel() for piece in network.pieces.values() for g in piece.grids]
    counts = np.unique(np.concatenate(symbols), return_counts=True)[1]
    pooled = float(-(counts * np.log2(counts / counts.sum())).sum())
    per_tensor, parts = coding.first_order_bits(network), coding.sections(network)
    return {"pooled": round(pooled / 8), "tensor": round(per_tensor / 8), "coded": parts.coded, "file": sum(parts)}


def nncodec(task: bn.Task) -> dict[str, Any] | None:
    """The smallest stream within each tolerance over qualities and settings; None where NNCodec is not installed."""
    python = codec_nncodec.available()
    if python is None:
        print("NNCodec is left out: NNCODEC_PYTHON names no Python that can import nncodec")
        return None
    trials = Trials(read_checkpoint(task), lambda stage, done, total: None)
    rows: list[dict[str, Any]] = [{"tolerance": tolerance} for tolerance in TOLERANCES]
    for settings, size, tensors in codec_nncodec.sweep(python, {n: w.numpy() for n, w in task.center.items()}):
        decoded = {n: torch.from_numpy(t).reshape(task.center[n].shape) for n, t in tensors.items()}
        excess = trials.evaluate(decoded)[0]
        for row in rows:
            if "bytes" not in row and abs(excess) < row["tolerance"]:
                row |= {"bytes": size, "excess": excess, "settings": settings}
    return {"rows": rows}


def dear() -> dict[str, Any]:
    """CPU seconds of everything but losses and decompositions where a Gaussian process chooses the trials."""
    began = time.process_time()
    found = bn.complexity(codec_cases.build("digits"), tolerance=0.5, search="model")
    taken = time.process_time() - began
    return {"overhead": taken * found.spent.overhead, "losses": len(found.trials)}


def speeds() -> dict[str, Any]:
    """CPU seconds of coding and decoding four million weights."""
    weights = torch.randn(2000, 2000, generator=torch.Generator().manual_seed(0))
    rows = weights * torch.logspace(-2, 1, 2000)[:, None]
    found: dict[str, Any] = {"rows": []}
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


def cheap() -> dict[str, float]:
    """What a search takes beside its losses where those are cheapest."""
    return codec_overhead.overhead(codec_cases.build("digits"), 0.5)


OTHERS: dict[str, Callable[[], dict[str, Any]]] = {"cheap": cheap, "dear": dear, "speeds": speeds}


def kept() -> dict[str, dict[str, Any]]:
    if not KEPT.exists():
        return {}
    return {row["key"]: row for row in map(json.loads, KEPT.read_text(encoding="utf-8").splitlines())}


def keep(key: str, row: dict[str, Any] | None) -> None:
    if row is not None:
        with KEPT.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "torch": torch.__version__, **row}) + "\n")


def measure(case: str, parts: tuple[str, ...]) -> None:
    done = kept()
    left = [part for part in parts if f"{case}/{part}" not in done]
    if not left:
        return
    task = codec_cases.build(case)
    if case not in done:
        keep(case, {"parameters": task.dimension, **codec_cases.facts(case)})
    for part in left:
        work = {"coder": coder, "published": published, "search": search, "left out": left_out, "nncodec": nncodec}[
            part
        ]
        keep(f"{case}/{part}", work(task))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*codec_cases.CASES, *OTHERS])
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    KEPT.parent.mkdir(exist_ok=True)
    for case in () if options.page else [options.case] if options.case else [*codec_cases.CASES, *OTHERS]:
        if case in codec_cases.CASES:
            measure(case, (options.part,) if options.part else PARTS)
        elif case not in kept():
            keep(case, OTHERS[case]())
    if options.case is None or options.page:
        codec_page.write(kept(), codec_cases.CASES)


if __name__ == "__main__":
    main()
