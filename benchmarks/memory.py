"""Peak resident memory of chains on a 135M-parameter model, beside that of a bare training step.

    python benchmarks/memory.py                          writes docs/results/memory.md
    python benchmarks/memory.py --peer PYTHON            with devinterp 2.0.1 from the environment of that interpreter
    python benchmarks/memory.py --print                  prints only

Each row is a process of its own, one after another (about 3 GB each): random weights of the shape of SmolLM2-135M, a batch
of 2 × 128 random tokens, one thread. What the process has before its first pass is taken off but for the weights, so
that the numbers are those of the work. Bare: two passes forward and backward, the gradient in the module, no optimizer.
"""

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "docs" / "results" / "memory.md"
SHAPE = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True, "max_position_embeddings": 512,
}  # fmt: skip
BATCH, CONTEXT = 2, 128
ALLOCATORS = {"as it is": {}, "fixed threshold": {"MALLOC_MMAP_THRESHOLD_": "262144"}}
OURS = {
    "SGLD, loss trace only": ("sgld", "none", 1.3),
    "SGLD, with statistics": ("sgld", "step", 1.3),
    "RMSProp-SGLD, loss trace only": ("rmsprop_sgld", "none", 2.3),
    "RMSProp-SGLD, with statistics": ("rmsprop_sgld", "step", 2.3),
}
BESIDE = ("largest curvature, before and after the chains", "gradient noise, after the chains")


def model(layers: int, **changes: int) -> tuple[Any, Any]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokens = torch.randint(SHAPE["vocab_size"], (16, CONTEXT))
    return LlamaForCausalLM(LlamaConfig(**{**SHAPE, "num_hidden_layers": layers, **changes})).eval(), tokens


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def losses(logits: Any, tokens: Any) -> Any:
    from torch import nn

    flat = logits[:, :-1].reshape(-1, logits.shape[-1])
    return nn.functional.cross_entropy(flat, tokens[:, 1:].reshape(-1), reduction="none").view(len(tokens), -1)


def bare(module: Any, tokens: Any) -> None:
    for _ in range(2):
        module.zero_grad()
        losses(module(input_ids=tokens[:BATCH], use_cache=False).logits, tokens[:BATCH]).mean().backward()


def ours(module: Any, tokens: Any, sampler: str, kept: Any) -> None:
    import bitsandnats as bn
    from bitsandnats.run import sample
    from bitsandnats.settings import Settings

    task = bn.Task.from_module(module, bn.hf.CausalLMLoss(), tokens)
    settings = Settings(
        sampler=sampler,
        step_size=1e-8,
        gamma=100.0,
        nbeta=100.0,
        chains=2,
        draws=2,
        batch_size=BATCH,
        baseline="batch",
        statistics=kept,
    )
    sample(task, settings)


def beside(module: Any, tokens: Any, kind: str) -> None:
    import bitsandnats as bn
    from bitsandnats.curvature import gradient_noise, top_curvature

    task = bn.Task.from_module(module, bn.hf.CausalLMLoss(), tokens)
    if kind == BESIDE[0]:
        top_curvature(task, items=BATCH, iterations=4)
    else:
        gradient_noise(task, batch_size=BATCH, items=BATCH)


def peer(module: Any, tokens: Any, rmsprop: bool) -> None:
    from datasets import Dataset

    draw: Any = importlib.import_module("devinterp.slt.sampling").sample
    data = Dataset.from_dict({"input_ids": tokens.tolist()}).with_format("torch")
    method = {"sampling_method": "rmsprop_sgld"} if rmsprop else {}
    with tempfile.TemporaryDirectory() as folder:
        draw(
            module,
            data,
            {},
            lr=1e-8,
            n_beta=100.0,
            localization=100.0,
            num_chains=2,
            num_draws=2,
            batch_size=BATCH,
            num_init_loss_batches=1,
            init_seed=0,
            output_path=Path(folder) / "tree",
            loss_fn=lambda m, ids: losses(m(input_ids=ids, use_cache=False).logits, ids),
            **method,
        )


def run(kind: str, module: Any, tokens: Any) -> None:
    if kind == "bare":
        bare(module, tokens)
    elif kind in OURS:
        ours(module, tokens, *OURS[kind][:2])
    elif kind in BESIDE:
        beside(module, tokens, kind)
    else:
        peer(module, tokens, "RMSProp" in kind)


def child(kind: str, layers: int) -> None:
    """One measurement, printed as JSON."""
    run(kind, *model(2, hidden_size=36, intermediate_size=36))  # loads all code, which is no array
    module, tokens = model(layers)
    array = 4 * sum(p.numel() for p in module.parameters())
    before = resident()
    run(kind, module, tokens)
    print(json.dumps({"array": array, "peak": peak() - (before - array)}))


def measured(python: str, kind: str, layers: int, allocator: dict[str, str]) -> dict[str, float]:
    """The work's peak: weights included, what the process had before without."""
    command = [python, __file__, "--child", kind, "--layers", str(layers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **allocator})
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"failed": 1.0, "said": said}  # type: ignore[dict-item]
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(layers: int, peer_python: str | None) -> str:
    heads = ["what", *(f"{which}: peak, GiB | beyond the bare step, arrays" for which in ALLOCATORS), "aim"]
    lines = [f"| {' | '.join(heads)} |", "|---" * (2 + 2 * len(ALLOCATORS)) + "|"]
    rows = [(sys.executable, "bare", ""), *((sys.executable, name, f"≤ {aim}") for name, (_, _, aim) in OURS.items())]
    rows += [(sys.executable, name, "≤ 1.3") for name in BESIDE]
    if peer_python is not None:
        rows += [(peer_python, "devinterp 2.0.1, SGLD", ""), (peer_python, "devinterp 2.0.1, RMSProp-SGLD", "")]
    bare: dict[str, float] = {}
    array = 0.0
    for python, name, aim in rows:
        cells = []
        for which, allocator in ALLOCATORS.items():
            found = measured(python, name, layers, allocator)
            if "failed" in found:
                cells.append(f"not measured: {found['said']} | ")
                continue
            array = found["array"]
            beyond = (found["peak"] - bare.setdefault(which, found["peak"])) / array
            cells.append(f"{found['peak'] / 2**30:.2f} | {'' if name == 'bare' else f'{beyond:.2f}'}")
        lines.append(f"| {'bare training step' if name == 'bare' else name} | {' | '.join(cells)} | {aim} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + f"\n\nOne array of the weights' size is {array / 2**30:.3f} GiB.\n" + FOOTER


HEADER = """# Peak memory

`python benchmarks/memory.py --peer PYTHON`: random weights of the shape of SmolLM2-135M ({array} parameters), {batch} × {context}
tokens, two chains one after another of two draws, one thread, {machine}. Each row is a process of its own, whose peak
resident memory is taken less what it held before its first pass (code, which a tiny model has loaded), its weights not
subtracted. The bare training step makes all logits at once, as `loss.backward()` on a model's output does; what is
measured here makes them a few rows at a time, since they are more than 2²³ a pass.

*As it is*: glibc's allocator by default, which after a while takes arrays of up to 32 MB from its heap, where freed ones
leave gaps. *Fixed threshold*: the same with `MALLOC_MMAP_THRESHOLD_=262144` in the environment, for both sides: no gaps.

"""


FOOTER = """
Largest curvature and gradient noise are what calibration and the verdict measure beside the chains. For models above 20
million weights they are products with the Hessian by differences of gradients, which hold a shifted copy of the weights and
one sum of gradients, and nothing else of that size: the vector is what the copy differs by, and the sum begins with what
Lanczos' recurrence takes off. Passes are of one item, and memory that they free is given back to the system.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--layers", type=int, default=SHAPE["num_hidden_layers"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.layers)
        return
    text = table(arguments.layers, arguments.peer)
    print(text)
    if not arguments.print:
        head = HEADER.format(array="135 million", batch=BATCH, context=CONTEXT, machine=platform.machine())
        OUT.write_text(head + text)


if __name__ == "__main__":
    main()
