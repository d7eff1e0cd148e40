"""examine(): what is wrong with a model, its text or its settings before anything is measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from bitsandnats._rng import generator
from bitsandnats.errors import BitsAndNatsError
from bitsandnats.plan import task_shape
from bitsandnats.precision import Precision, in_precision
from bitsandnats.target import LocalPosterior, choose_micro_batch, faster_mode, total_memory, why_not_at_once
from bitsandnats.target.modes import VMAP_LARGEST
from bitsandnats.task import Task

_ITEMS = 8
_CHAINS = 2
_SAFE = 0.1  # of a standard error of the loss's scatter over items, per item: what rounding may add
_SMALL_SHARE = 1e-3  # of the loss
_FILLED = 0.8  # of the memory


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        check: its name.
        status: `good`, `note` (nothing is wrong, but it is worth knowing) or `bad`.
        said: what was found, in one sentence.
        figures: numbers behind it.
    """

    check: str
    status: Literal["good", "note", "bad"]
    said: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Examination:
    """All findings, and what follows from them.

    Attributes:
        findings: in order.
        precision: the lowest precision of products whose rounding does not matter here.
        batch_size: items a batch.
        micro_batch: items a pass.
    """

    findings: tuple[Finding, ...]
    precision: Precision
    batch_size: int
    micro_batch: int

    @property
    def healthy(self) -> bool:
        """No check is bad."""
        return all(finding.status != "bad" for finding in self.findings)

    def as_record(self) -> dict[str, Any]:
        """The examination as plain values."""
        findings = [vars(finding) for finding in self.findings]
        return {
            "healthy": self.healthy,
            "findings": findings,
            "precision": self.precision,
            "batch_size": self.batch_size,
            "micro_batch": self.micro_batch,
        }


def refused(error: BitsAndNatsError) -> Finding:
    """The finding of a model that cannot be made a task: random, batch-dependent or broken."""
    return Finding("loading", "bad", str(error), {})


def examine(task: Task, *, batch_size: int = 16, tokens: Tensor | None = None) -> Examination:
    """Determinism, precision, text, chains at once, and memory, each from a few passes.

    A task has been through checks already when it is made (random or batch-dependent losses are refused); here its
    gradient is asked for twice as well.

    Args:
        task: the model with its data.
        batch_size: items a batch.
        tokens: contexts `[item, context]`, where the data are text.
    """
    batch_size = min(batch_size, len(task.data))
    findings = [_repeats(task)]
    precision, found = _precision(task)
    findings.append(found)
    if tokens is not None:
        findings += [_chance(task), _order(task, tokens)]
    findings.append(_at_once(task, batch_size))
    micro_batch, found = _memory(task, batch_size)
    findings.append(found)
    return Examination(tuple(findings), precision, batch_size, micro_batch)


def _few(task: Task) -> Tensor:
    return torch.linspace(0, len(task.data) - 1, min(_ITEMS, len(task.data))).round().long()


def _repeats(task: Task) -> Finding:
    """Gradients of two passes: the same to the bit, or not."""
    target = LocalPosterior(task, 1.0, 0.0)
    batch = task.batch(_few(task)[None])
    position = {name: w[None] for name, w in task.center.items()}
    one, two = (target.evaluate(position, batch) for _ in range(2))
    pairs = [(one.gradient[k], two.gradient[k]) for k in one.gradient]
    largest = max(float(a.abs().max()) for a, _ in pairs)
    gap = max(float((a - b).abs().max()) for a, b in pairs) / max(largest, 1e-30)
    gap = max(gap, float((one.loss - two.loss).abs().max()))
    figures = {"largest_difference": gap}
    if not math.isfinite(gap):
        return Finding("determinism", "bad", "the gradient at the given weights is not finite", figures)
    if gap == 0:
        return Finding("determinism", "good", "two passes give the same losses and gradients, to the bit", figures)
    if gap < 1e-4:
        said = f"two passes differ by {gap:.1e} of the gradient: chains cannot be repeated to the bit on this device"
        return Finding("determinism", "note", said, figures)
    return Finding("determinism", "bad", f"two passes differ by {gap:.1e} of the gradient: turn dropout off", figures)


def _precision(task: Task) -> tuple[Precision, Finding]:
    """The lowest precision whose loss differences stay below what items scatter by anyway."""
    items = task.batch(_few(task))
    with torch.no_grad():
        exact = task.item_losses(task.center, items).double()
        noise = {
            name: w + 0.01 * w.std(correction=0) * torch.randn(w.shape, generator=generator(0, 0, "probe")).to(w)
            for name, w in task.center.items()
        }
        moved = task.item_losses(noise, items).double()
    scale = max(float(exact.abs().mean()), 1e-12)
    figures: dict[str, float] = {}
    safe: Precision = "float32"
    if any(w.dtype != torch.float32 for w in task.center.values()):
        return "float32", Finding("precision", "note", "float64 weights are not rounded", {})
    said = []
    kinds: Sequence[Precision] = ("tf32", "bfloat16") if task.device.type == "cuda" else ("bfloat16",)
    for precision in kinds:
        lowered = in_precision(task, precision)
        try:
            with torch.no_grad():
                # what an estimate is made of: the difference between a draw and w*, both rounded
                there, here = (lowered.item_losses(p, items).double() for p in (noise, task.center))
        except RuntimeError as error:
            said.append(f"{precision} cannot be computed here ({str(error).partition(chr(10))[0][:80]})")
            continue
        off = float((here - exact).abs().mean()) / scale
        paired = float(((there - here) - (moved - exact)).mean().abs())
        change = max(float((moved - exact).mean().abs()), float((moved - exact).std()) / len(exact) ** 0.5, 1e-12)
        figures |= {f"{precision}_loss_difference": off, f"{precision}_excess_difference": paired / change}
        fine = off < 0.01 and paired < max(_SAFE * change, _SMALL_SHARE * scale)
        if fine:
            safe = precision
        said.append(
            f"{precision} changes a loss by {off:.1e} of it and an excess loss by {paired / change:.1%}: "
            f"{'safe' if fine else 'not safe'}"
        )
    return safe, Finding("precision", "good" if safe != "float32" else "note", "; ".join(said), figures)


def _chance(task: Task) -> Finding:
    """The loss against that of guessing: another tokenizer's tokens are worse than chance."""
    with torch.no_grad():
        loss = float(task.mean_loss(task.item_losses(task.center, task.batch(_few(task)))))
    figures = {"loss": loss, "chance_loss": task.chance_loss or math.nan}
    if task.chance_loss is None or loss < 0.95 * task.chance_loss:
        return Finding("text", "good", f"the loss is {loss:.3f} nats a {task.unit}, better than guessing", figures)
    said = (
        f"the loss is {loss:.3f} nats a {task.unit}, and guessing costs {task.chance_loss:.3f}: "
        "the model is untrained, or the text was cut by another tokenizer"
    )
    return Finding("text", "bad", said, figures)


def _order(task: Task, tokens: Tensor) -> Finding:
    """The loss of the same tokens in random order: a language model does better on real text."""
    few = tokens[_few(task)]
    random = generator(0, 0, "probe")
    mixed = few.clone()
    for row in mixed:
        there = row >= 0  # padding stays where it is
        row[there] = row[there][torch.randperm(int(there.sum()), generator=random)]
    with torch.no_grad():
        real, shuffled = (
            task.item_losses(task.center, rows.to(task.device)).double() / task.mean_weight for rows in (few, mixed)
        )
    gaps = shuffled - real
    gap, error = float(gaps.mean()), float(gaps.std()) / max(len(gaps), 2) ** 0.5
    figures = {"shuffled_less_real": gap, "standard_error": error}
    if gap > max(2 * error, 0.0):
        said = f"shuffled text costs {gap:.3f} nats a {task.unit} more than real text"
        return Finding("order", "good", said, figures)
    said = (
        f"shuffled text costs {gap:+.3f} ± {error:.3f} nats a {task.unit} beside real text: "
        "the model does not read this text, check tokenizer and language"
    )
    return Finding("order", "bad", said, figures)


def _at_once(task: Task, batch_size: int) -> Finding:
    """Whether chains can be evaluated all at once, and whether that is faster."""
    random = generator(0, 0, "probe")
    batch = task.batch(torch.randint(len(task.data), (_CHAINS, batch_size), generator=random))
    if task.dimension <= VMAP_LARGEST:
        why = why_not_at_once(task, batch, chains=_CHAINS)
        if why is not None:
            said = f"chains run one after another: this model cannot be evaluated at several weights at once ({why})"
            return Finding("chains", "note", said, {"vmap": 0.0})
    mode = faster_mode(task, batch, chains=_CHAINS)
    said = "chains run all at once (vmap)" if mode == "vmap" else "chains run one after another"
    return Finding("chains", "good", f"{said}: the faster way here", {"vmap": float(mode == "vmap")})


def _memory(task: Task, batch_size: int) -> tuple[int, Finding]:
    """Micro-batch, and whether a chain fits."""
    shape = task_shape(task)
    size = choose_micro_batch(LocalPosterior(task, 1.0, 0.0), batch_size, arrays=1) or batch_size
    array = sum(w.numel() * w.element_size() for w in task.center.values())
    wanted = 3.0 * array + shape.pass_bytes + size * shape.item_bytes
    there = total_memory(task.device)
    figures = {"wanted": wanted, "memory": there, "item": float(shape.item_bytes), "weights": float(array)}
    said = (
        f"a chain needs about {wanted / 1e9:.2f} GB ({3 * array / 1e9:.2f} for weights, position and gradient, "
        f"{shape.item_bytes / 1e9:.3f} an item) of {there / 1e9:.0f} GB; passes of {size} of {batch_size} items"
    )
    if wanted > _FILLED * there:
        return size, Finding("memory", "bad", f"{said}: too much; use --checkpointing or a shorter context", figures)
    return size, Finding("memory", "good" if size == batch_size else "note", said, figures)
