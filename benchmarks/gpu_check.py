"""What a language model's draws cost on this device: step ratios, TFLOP/s, memory, the effect of chunked logits.

    python benchmarks/gpu_check.py                 on a GPU if there is one, else a tiny size on the CPU; prints markdown
    python benchmarks/gpu_check.py --size tiny     the smoke test
    python benchmarks/gpu_check.py --seconds 200   sections that would begin later are left out

Sections, each printed as soon as it is measured:

1. a draw (SGLD, loss trace only; without L(w*) and with the paired baseline) in bare forward-and-backward passes, for
   three GPT-NeoX models;
2. achieved TFLOP/s of draws of a ~1.4B GPT-NeoX (batch 16 x 1024 tokens) under bfloat16 autocast, TF32 and float32;
   products are counted as 6 per weight of a matrix and token, and attention's by its own shapes;
3. peak memory of draws beyond a bare training step's, in arrays of the weights' size (CUDA's own account);
4. the logits a few rows at a time against all at once: peak memory and seconds.
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
from bitsandnats.hf import loss as loss_room
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


def draw_seconds(task: bn.Task, shape: Shape, **changes: Any) -> float:
    """Seconds of a draw, the median of three: of many less those of two, so that what precedes them drops out."""
    found = []
    for _ in range(3):
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
    yield "| model | precision | bare pass, s | draw | with paired baseline | RMSProp with statistics |"
    yield "|---|---|---|---|---|---|"
    for shape in shapes:
        for precision in ("float32", "bfloat16"):
            passes, middle = ratios(shape, device, precision)
            yield (
                f"| {shape.name}, {shape.batch} x {shape.context} tokens | {precision} | {passes:.4f} "
                f"| {middle['none']:.2f} | {middle['batch']:.2f} | {middle['step']:.2f} |"
            )
            released(device)


def ratios(shape: Shape, device: torch.device, precision: Precision) -> tuple[float, dict[str, float]]:
    """Seconds of a bare pass, and draws in bare passes."""
    model, task, tokens = made(shape, device)
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
        name: draw_seconds(task, shape, precision=precision, **changes) / one for name, changes in kinds.items()
    }


def released(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def utilisation(shape: Shape, device: torch.device) -> Iterator[str]:
    work = flops(shape)
    yield f"\n## TFLOP/s of {shape.name}, batch {shape.batch} x {shape.context} tokens ({work:.3g} FLOP a pass)\n"
    yield "| precision | what | seconds | TFLOP/s |"
    yield "|---|---|---|---|"
    model, task, tokens = made(shape, device)
    for precision in ("bfloat16", "tf32", "float32") if device.type == "cuda" else ("bfloat16", "float32"):
        try:
            bare(model, tokens, precision, 2)
            seconds = timed(partial(bare, model, tokens, precision, shape.draws), device) / shape.draws
            yield f"| {precision} | bare pass | {seconds:.3f} | {work / seconds / 1e12:.1f} |"
        except torch.OutOfMemoryError:
            yield f"| {precision} | bare pass | out of memory | |"
        model.zero_grad()
        released(device)
        for name in ("none", "batch"):
            seconds = draw_seconds(task, shape, precision=precision, baseline=name)
            done = work * (1 if name == "none" else 4 / 3)
            said = "draw, SGLD" if name == "none" else "draw, SGLD, paired baseline"
            yield f"| {precision} | {said} | {seconds:.3f} | {done / seconds / 1e12:.1f} |"
            released(device)


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


def chunked(shape: Shape, device: torch.device) -> Iterator[str]:
    yield f"\n## Logits a few rows at a time, {shape.name}, batch {shape.batch} x {shape.context}\n"
    yield "| precision | logits | seconds a draw | peak, GiB |"
    yield "|---|---|---|---|"
    _, task, _ = made(shape, device)
    for precision in ("float32", "bfloat16"):
        for rows in (True, False):
            before = loss_room._PLAIN
            loss_room._PLAIN = 0 if rows else 1 << 62
            try:
                given = settings(shape, 2, precision=precision).model_copy(update={"micro_batch": shape.batch})
                found = peak(partial(sample, task, given), device)
                seconds = draw_seconds(task, shape, precision=precision)
            finally:
                loss_room._PLAIN = before
            said = "a few rows" if rows else "all at once"
            yield f"| {precision} | {said} | {seconds:.4f} | {found / 2**30:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=("auto", "tiny", "gpu"), default="auto")
    parser.add_argument("--seconds", type=float, default=300.0)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() and arguments.size != "tiny" else "cpu")
    tiny = device.type == "cpu" and arguments.size != "gpu"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"# {name}, torch {torch.__version__}\n", flush=True)
    small, large = ([TINY], TINY) if tiny else (SMALL, LARGE)
    middle = replace(small[-1], draws=4)
    began = time.perf_counter()
    for section in (
        utilisation(large, device),
        memory(middle, device),
        chunked(middle, device),
        step_ratios(small, device),
    ):
        if time.perf_counter() - began > arguments.seconds:
            break
        try:
            for line in section:
                print(line, flush=True)
        except torch.OutOfMemoryError as error:
            print(f"| out of memory: {str(error).partition('.')[0]} |", flush=True)
        released(device)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
