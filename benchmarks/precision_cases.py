"""The models on which `time_to_precision.py` compares two tools, in both tools' terms."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bitsandnats as bn
from bitsandnats.data.corpus import embedded_corpus
from bitsandnats.toys import DeepLinear, size_class

BATCH = 32  # devinterp's default


@dataclass(frozen=True)
class Case:
    """A model in both tools' terms: `loss(model, input_ids)` is one loss a position, as devinterp wants it."""

    name: str
    task: bn.Task
    model: nn.Module
    loss: Callable[[nn.Module, Tensor], Tensor]
    input_ids: Tensor
    batches: tuple[int, ...]
    nbeta: float | None = None
    variates: bool = False


@torch.no_grad()
def item_losses(case: Case) -> Tensor:
    return torch.cat([case.loss(case.model, ids).mean(1) for ids in case.input_ids.split(256)]).double()


def deep_linear() -> Case:
    toy = size_class("1k", 2, dtype=torch.float32)
    inputs, targets = toy.task.batch(torch.arange(len(toy.task.data)))  # type: ignore[misc]
    model = DeepLinear([w.clone() for w in toy.task.center.values()])
    return indexed(f"{toy.summary}, n = {toy.samples:g}", toy.task, model, (inputs, targets), squared, toy.nbeta)


def classifier() -> Case:
    """A tanh MLP on the digits, at the minimum of cross-entropy with an L2 penalty of 1e-4."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 16), torch.tensor(digits.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1000, history_size=100, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        penalty = sum(w.square().sum() for w in model.parameters())
        loss = nn.functional.cross_entropy(model(inputs), labels) + 0.5e-4 * penalty
        loss.backward()
        return loss

    optimizer.step(objective)  # type: ignore[arg-type]
    model, data = model.float(), (inputs.float(), labels)
    task = bn.Task.from_module(model, bn.losses.cross_entropy(), data)
    return replace(indexed(f"MLP 64-16-10 on {len(labels)} digits", task, model, data, nats, None), variates=True)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum(1)


def nats(outputs: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, labels, reduction="none")


def indexed(
    name: str, task: bn.Task, model: nn.Module, data: Any, per_item: Callable[..., Tensor], nbeta: float | None
) -> Case:
    """A case whose `input_ids` name items twice over: devinterp takes sequences of two tokens or more."""
    inputs, targets = data

    def loss(module: nn.Module, ids: Tensor) -> Tensor:
        return per_item(module(inputs[ids[:, 0]]), targets[ids[:, 0]])[:, None]

    ids = torch.arange(len(inputs))[:, None].repeat(1, 2)
    return Case(name, task, model, loss, ids, tuple(dict.fromkeys((min(BATCH, len(ids)), min(256, len(ids))))), nbeta)


def transformer() -> Case:
    options = bn.hf.TrainOptions(width=64, context=64, vocabulary=512, steps=384, checkpoints=(384,))
    corpus = embedded_corpus(2_000_000)
    with tempfile.TemporaryDirectory() as folder:
        suite = bn.hf.train_suite(Path(folder) / "suite", options, corpus.train, corpus.held_out)
        task = bn.hf.load_task(suite / "step384")
        model, _ = bn.hf.load_model(suite / "step384")
    tokens = task.batch(torch.arange(len(task.data)))
    assert isinstance(tokens, Tensor)
    from devinterp.slt.lm_loss import compute_per_token_loss

    name = f"GPT-NeoX 2×64, {len(tokens)} items of 64 tokens"
    return Case(name, task, model, compute_per_token_loss, tokens, (BATCH, 128))


CASES = {"deep_linear": deep_linear, "mlp": classifier, "transformer": transformer}
