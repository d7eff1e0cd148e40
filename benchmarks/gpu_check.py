"""What a language model's draws cost on this device: step ratios, share of the peak, memory, and Pythia-6.9B.

    python benchmarks/gpu_check.py                      on a GPU if there is one, else a tiny size on the CPU; markdown
    python benchmarks/gpu_check.py --size tiny          the smoke test
    python benchmarks/gpu_check.py --sections pythia    of: ratios, memory, pythia

Sections, each line printed as soon as it is measured; weights are random:

ratios: a draw (SGLD, loss trace only; without L(w*) and with the paired baseline; RMSProp-SGLD with its statistics) in
    bare forward-and-backward passes of the same kind, layers as they are and compiled, and the bare pass's share of the
    published peak. Products are counted as 6 per weight of a matrix and token, and attention's by its own shapes;
memory: peak of draws beyond a bare training step's, in arrays of the weights' size (CUDA's own account);
pythia: a draw of Pythia-6.9B's shape at the published settings, 32 contexts of 2048 tokens, and its memory.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.compiling import repeated_layers
from bitsandnats.hf import loss as loss_room
from bitsandnats.paging import center_in
from bitsandnats.plan.gpus import named_gpu
from bitsandnats.precision import Precision, computing
from bitsandnats.run import sample
from bitsandnats.settings import Settings


@dataclass(frozen=True)
class Shape:
    """A GPT-NeoX and its batch."""

    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    batch: int
    context: int
    draws: int = 6


SMALL = [
    Shape("0.66M: 2 x 128, vocabulary 1024", 2, 128, 4, 1024, 16, 128, 20),
    Shape("20M: 6 x 512, vocabulary 1024", 6, 512, 8, 1024, 16, 128, 20),
    Shape("160M: 12 x 768, vocabulary 50304", 12, 768, 12, 50304, 16, 1024, 6),
]
PYTHIA = Shape("6.9B: 32 x 4096, vocabulary 50432", 32, 4096, 32, 50432, 32, 2048, 2)
LARGE = Shape("1.4B: 24 x 2048, vocabulary 50304", 24, 2048, 16, 50304, 16, 1024, 4)
TINY = Shape("tiny: 2 x 32, vocabulary 512", 2, 32, 4, 512, 4, 32, 4)


def build(shape: Shape, device: torch.device) -> nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=max(shape.context, 128),
    )
    with torch.device(device):  # drawn there: a large model takes minutes on the host
        return GPTNeoXForCausalLM(config).eval()


def flops(shape: Shape) -> float:
    """Of one forward and backward pass over a batch: 6 a weight and token, and 12 L T D a token for attention."""
    weights = 12 * shape.layers * shape.width**2 + shape.vocabulary * shape.width  # the embedding is a look-up
    causal = 0.5  # of attention's scores are needed
    attention = 12 * shape.layers * shape.context * shape.width * causal
    return (6 * weights + attention) * shape.batch * shape.context


def settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(function: Callable[[], object], device: torch.device) -> float:
    settled(device)
    began = time.perf_counter()
    function()
    settled(device)
    return time.perf_counter() - began


def bare(model: nn.Module, tokens: torch.Tensor, precision: Precision, passes: int) -> None:
    """What a training step pays for: mean loss, forward and backward, the gradient in the module."""
    kind = tokens.device.type
    for _ in range(passes):
        model.zero_grad()
        with computing(precision, tokens.device):
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
                logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
                loss = nn.functional.cross_entropy(
                    logits.reshape(-1, logits.shape[-1]).float(), tokens[:, 1:].reshape(-1)
                )
            loss.backward()


def settings(shape: Shape, draws: int, **changes: Any) -> Settings:
    return Settings(
        **{
            "step_size": 1e-9, "gamma": 100.0, "nbeta": 100.0, "chains": 1, "draws": draws, "batch_size": shape.batch,
            "baseline": "none", "statistics": "none", "mode": "loop", **changes,
        }
    )  # fmt: skip


def draw_seconds(task: bn.Task, shape: Shape, rounds: int = 3, **changes: Any) -> float:
    """Seconds of a draw, the median of rounds: of many less those of two, so that what precedes them drops out."""
    if changes.get("compile"):
        sample(task, settings(shape, 1, **changes))
    found = []
    for _ in range(rounds):
        few = timed(lambda: sample(task, settings(shape, 2, **changes)), task.device)
        many = timed(lambda: sample(task, settings(shape, 2 + shape.draws, **changes)), task.device)
        found.append((many - few) / shape.draws)
    return statistics.median(found)


def made(shape: Shape, device: torch.device) -> tuple[nn.Module, bn.Task, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(shape.vocabulary, (4 * shape.batch, shape.context), generator=generator)
    model = build(shape, device)
    return model, bn.Task.from_module(model, bn.hf.CausalLMLoss(), tokens), tokens[: shape.batch].to(device)


def step_ratios(shapes: list[Shape], device: torch.device) -> Iterator[str]:
    yield "## A draw in bare passes (aims: 1.10 without L(w*), 1.40 with the paired baseline)\n"
    yield (
        "| model | precision | layers | bare pass, s | share of the peak | draw | with the paired baseline "
        "| RMSProp-SGLD with statistics |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for shape in shapes:
        precision: Precision = "float32" if shape is SMALL[0] else "bfloat16"
        for compile in (False, True):
            passes, middle = ratios(shape, device, precision, compile)
            share = f"{100 * flops(shape) / passes / peak_rate(device):.0f} %" if precision == "bfloat16" else ""
            yield (
                f"| {shape.name}, {shape.batch} x {shape.context} tokens | {precision} "
                f"| {'compiled' if compile else 'as they are'} | {passes:.4f} | {share} "
                f"| {middle['none']:.2f} | {middle['batch']:.2f} | {middle['step']:.2f} |"
            )
            released(device)


def peak_rate(device: torch.device) -> float:
    """FLOP/s in bfloat16, as published for an H100 or H200."""
    return named_gpu("h200").bfloat16 if device.type == "cuda" else 1e12


def ratios(shape: Shape, device: torch.device, precision: Precision, compile: bool) -> tuple[float, dict[str, float]]:
    """Seconds of a bare pass, and draws in bare passes."""
    model, task, tokens = made(shape, device)
    if compile:
        for layer in repeated_layers(model):
            layer.compile()
    bare(model, tokens, precision, 2)
    each = [timed(partial(bare, model, tokens, precision, shape.draws), device) / shape.draws for _ in range(3)]
    one = statistics.median(each)
    kinds = {
        "none": {},
        "batch": {"baseline": "batch"},
        # SGLD with statistics looks at its last four steps again, which is not part of a draw: RMSProp does not
        "step": {"statistics": "step", "sampler": "rmsprop_sgld"},
    }
    return one, {
        name: draw_seconds(task, shape, precision=precision, compile=compile, **changes) / one
        for name, changes in kinds.items()
    }


def released(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(function: Callable[[], object], device: torch.device) -> float:
    """Peak bytes while a function runs, as CUDA's allocator counts them; 0 elsewhere."""
    released(device)
    function()
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0.0


def memory(shape: Shape, device: torch.device) -> Iterator[str]:
    """Both sides make all logits at once in the bare step, as a training step does."""
    yield f"\n## Peak memory beyond a bare training step, {shape.name}, batch {shape.batch} x {shape.context}\n"
    yield "| what | peak, GiB | beyond bare, arrays of the weights' size | aim |"
    yield "|---|---|---|---|"
    model, task, tokens = made(shape, device)
    array = 4 * task.dimension
    for precision in ("float32", "bfloat16"):
        step = peak(partial(bare, model, tokens, precision, 1), device)
        model.zero_grad()
        yield f"| bare step, {precision} | {step / 2**30:.2f} | | |"
        for sampler, kept, aim in (
            ("sgld", "none", "1.3"),
            ("sgld", "step", "1.3"),
            ("rmsprop_sgld", "none", "2.3"),
        ):
            for chunked in (True, False):
                before = loss_room._PLAIN
                loss_room._PLAIN = before if chunked else 1 << 62
                try:
                    given = settings(shape, 6, precision=precision, sampler=sampler, statistics=kept)
                    given = given.model_copy(update={"micro_batch": shape.batch})
                    found = peak(partial(sample, task, given), device)
                finally:
                    loss_room._PLAIN = before
                said = (
                    f"{sampler}, statistics {kept}, {precision}, logits {'a few rows' if chunked else 'all'} at a time"
                )
                yield f"| {said} | {found / 2**30:.2f} | {(found - step) / array:.2f} | {aim} |"


def pythia(shape: Shape, device: torch.device) -> Iterator[str]:
    yield f"\n## {shape.name}, a draw of {shape.batch} x {shape.context} tokens\n"
    yield "| what | layers | items a pass | seconds | share of the peak | peak memory, GB |"
    yield "|---|---|---|---|---|---|"
    work = flops(shape)
    model = build(shape, device)
    tokens = torch.randint(shape.vocabulary, (2 * shape.batch, shape.context), generator=torch.Generator())
    task = bn.Task.from_module(model, bn.hf.CausalLMLoss(), tokens)
    for compile in (False, True):
        for layer in repeated_layers(model) if compile else []:
            layer.compile()
        for items in (2, 4):
            part = tokens[:items].to(device)
            bare(model, part, "bfloat16", 2)
            one = timed(partial(bare, model, part, "bfloat16", 2), device) / 2 * shape.batch / items
            yield pythia_row("bare pass over as many items", compile, items, one, work / peak_rate(device), "")
        model.zero_grad()
        yield pythia_draw(task, shape, "SGLD", compile=compile)
        yield pythia_draw(task, shape, "RMSProp-SGLD", compile=compile, sampler="rmsprop_sgld")
    said = "RMSProp-SGLD, with the paired baseline"
    yield pythia_draw(task, shape, said, compile=True, sampler="rmsprop_sgld", baseline="batch")
    task, model = center_in(task, "cpu"), None
    yield pythia_draw(task, shape, "RMSProp-SGLD, w* kept by the CPU", compile=True, sampler="rmsprop_sgld")


def pythia_draw(task: bn.Task, shape: Shape, name: str, **changes: Any) -> str:
    given: dict[str, Any] = {"precision": "bfloat16", **changes}
    device, ideal = task.device, flops(shape) / peak_rate(task.device)
    released(device)
    try:
        given["micro_batch"] = int(sample(task, settings(shape, 1, **given)).attrs["micro_batch"])
        few = timed(partial(sample, task, settings(shape, 1, **given)), device)
        many = timed(partial(sample, task, settings(shape, 1 + shape.draws, **given)), device)
        most = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f}" if device.type == "cuda" else ""
    except torch.OutOfMemoryError as error:
        return f"| draw, {name} | | | out of memory: {str(error).partition('.')[0]} | | |"
    ideal *= 4 / 3 if changes.get("baseline") else 1
    return pythia_row(
        f"draw, {name}", changes["compile"], given["micro_batch"], (many - few) / shape.draws, ideal, most
    )


def pythia_row(what: str, compile: bool, items: int, seconds: float, ideal: float, most: str) -> str:
    layers = "compiled" if compile else "as they are"
    return f"| {what} | {layers} | {items} | {seconds:.2f} | {100 * ideal / seconds:.1f} % | {most} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=("auto", "tiny", "gpu"), default="auto")
    parser.add_argument("--sections", default="ratios,memory,pythia")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() and arguments.size != "tiny" else "cpu")
    tiny = device.type == "cpu" and arguments.size != "gpu"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"# {name}, torch {torch.__version__}\n", flush=True)
    middle = TINY if tiny else replace(SMALL[-1], draws=4)
    sections = {
        "ratios": lambda: step_ratios([TINY] if tiny else [*SMALL, LARGE], device),
        "memory": lambda: memory(middle, device),
        "pythia": lambda: pythia(TINY if tiny else PYTHIA, device),
    }
    began = time.perf_counter()
    for name in arguments.sections.split(","):
        try:
            for line in sections[name]():
                print(line, flush=True)
        except torch.OutOfMemoryError as error:
            print(f"| out of memory: {str(error).partition('.')[0]} |", flush=True)
        released(device)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
