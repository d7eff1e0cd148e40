"""A small GPT-NeoX trained on given text, with checkpoints that transformers can load."""

import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from bitsandnats import _rng
from bitsandnats._types import Progress, silent
from bitsandnats.errors import DataError, ModelError, StoreError, message
from bitsandnats.hf import suite
from bitsandnats.hf._quiet import quiet
from bitsandnats.hf.load import CausalLMLoss
from bitsandnats.hf.options import TrainOptions
from bitsandnats.hf.text import text_contexts
from bitsandnats.hf.tokenizer import open_tokenizer, train_tokenizer

_TOKENIZER_FILE = "tokenizer.json"
_STATE_EVERY = 128


def train_suite(
    out: str | os.PathLike[str],
    options: TrainOptions,
    documents_train: Sequence[str],
    documents_held_out: Sequence[str],
    progress: Progress = silent,
    *,
    device: str | None = None,
) -> Path:
    """The folder of a training run: checkpoints `step0`, `step1`, … in transformers' form, tokens and `suite.json`.

    A run that was interrupted goes on from its last checkpoint and ends with the weights of an uninterrupted one; a
    finished run of equal options and text is used as it is. `suite.json` holds for each checkpoint its step, the
    tokens seen and the held-out loss in nats a token.

    Args:
        out: the folder; made where it is missing.
        options: model, data and optimizer.
        documents_train: text to train tokenizer and model on.
        documents_held_out: text for the held-out loss.
        progress: told of the steps done.
        device: where to train, e.g. `cuda`; None = the CPU. Other devices round otherwise, and end at other weights.

    Raises:
        StoreError: the folder holds something else, or a run of other options or text.
        DataError: the text is too short.
        ModelError: training diverged; nothing of it was saved.
    """
    folder = Path(out)
    asked = _identity(options, documents_train, documents_held_out)
    found = _check_reusable(folder, asked)
    if found is not None and found["complete"]:
        (folder / suite.STATE_FILE).unlink(missing_ok=True)
        return folder
    if found is None:
        suite.make_folder(folder)
        progress("tokenize", 0, 1)
        try:
            _prepare_data(folder, options, documents_train, documents_held_out)
        except DataError:
            suite.clear(folder, [_TOKENIZER_FILE])
            raise
        progress("tokenize", 1, 1)
        found = {"schema": 1, "kind": "suite", **asked, "complete": False, "seconds": 0.0, "checkpoints": []}
        suite.write_suite(folder, found)
    _train(folder, options, found, torch.device(device or "cpu"), progress)
    return folder


@dataclass(frozen=True)
class _Run:
    """What one training run holds in memory."""

    folder: Path
    options: TrainOptions
    model: Any
    optimizer: torch.optim.AdamW
    tokenizer: Any
    train: Int64[Tensor, "item context"]
    held_out: Int64[Tensor, "held_out context"]


def _train(
    folder: Path, options: TrainOptions, description: dict[str, Any], device: torch.device, progress: Progress
) -> None:
    """Trains from the last saved state to the end; writes checkpoints, state and description as it goes."""
    began = time.monotonic()
    train, held_out = suite.suite_contexts(folder)
    model = build_model(options).to(device)
    run = _Run(
        folder=folder,
        options=options,
        model=model,
        optimizer=_build_optimizer(model, options),
        tokenizer=open_tokenizer(folder / _TOKENIZER_FILE, options.context),
        train=train.to(device),
        # Spread over all held-out documents, not the first few of them.
        held_out=held_out[:: -(-len(held_out) // options.evaluation_items)].to(device),
    )
    state = suite.read_state(folder)
    first, checkpoints, spent = 0, [], 0.0
    saved = set(options.saved_steps())
    if state is not None:
        model.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        first, checkpoints, spent = state["step"], state["checkpoints"], state["seconds"]
    elif 0 in saved:
        checkpoints = [_save(run, 0)]
    progress("train", first, options.steps)
    for step in range(first + 1, options.steps + 1):
        _update(run, step - 1)
        seconds = spent + time.monotonic() - began
        if step in saved:
            checkpoints = [*checkpoints, _save(run, step)]
        if step < options.steps and (step in saved or step % _STATE_EVERY == 0):
            _save_state(run, step, checkpoints, seconds)
        if step in saved:
            reached = {"complete": step == options.steps, "seconds": round(seconds, 1), "checkpoints": checkpoints}
            suite.write_suite(folder, {**description, **reached})
        progress("train", step, options.steps)
    (folder / suite.STATE_FILE).unlink(missing_ok=True)


def _update(run: _Run, step: int) -> None:
    """One optimizer step: `step` counts from 0."""
    for group in run.optimizer.param_groups:
        group["lr"] = _learning_rate(run.options, step)
    batch = run.train[_batch_indices(len(run.train), run.options, step)]
    loss = CausalLMLoss()(run.model, batch).mean()
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), run.options.clip)
    run.optimizer.step()


def _learning_rate(options: TrainOptions, step: int) -> float:
    """Linear warm-up, then half a cosine from the peak to a tenth of it."""
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    return options.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def _batch_indices(items: int, options: TrainOptions, step: int) -> Int64[Tensor, " batch"]:
    """Items of a step: each epoch is a permutation of its own, a function of seed and epoch alone."""
    places = range(step * options.batch_size, (step + 1) * options.batch_size)
    orders = {
        epoch: torch.randperm(items, generator=_rng.generator(options.seed, epoch, "batches"))
        for epoch in {place // items for place in places}
    }
    return torch.stack([orders[place // items][place % items] for place in places])


def build_model(options: TrainOptions) -> Any:
    """GPT-NeoX as Pythia has it: untied embeddings, parallel residual, rotary positions on a quarter of each head."""
    with quiet(), torch.random.fork_rng(devices=[]):
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        torch.default_generator.manual_seed(_rng.generator(options.seed, 0, "start").initial_seed())
        config = GPTNeoXConfig(
            vocab_size=options.vocabulary,
            hidden_size=options.width,
            num_hidden_layers=options.layers,
            num_attention_heads=options.heads,
            intermediate_size=4 * options.width,
            max_position_embeddings=options.context,
            bos_token_id=0,
            eos_token_id=0,
            tie_word_embeddings=False,
            use_parallel_residual=True,
        )
        return GPTNeoXForCausalLM(config).float()


def _build_optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.95))


def _save(run: _Run, step: int) -> dict[str, Any]:
    """Writes the checkpoint of a step whole; returns its line for the description."""
    loss, error = _held_out_loss(run)
    if not math.isfinite(loss):
        raise ModelError(
            message(expected="a finite loss in training", got=f"{loss} at step {step}", do="lower the learning rate")
        )

    def write(path: Path) -> None:
        with quiet():
            run.model.save_pretrained(path)
            run.tokenizer.save_pretrained(path)

    suite.write_folder(run.folder / f"step{step}", write)
    tokens = step * run.options.batch_size * run.options.context
    return {"step": step, "tokens": tokens, "loss": loss, "loss_se": error}


def _save_state(run: _Run, step: int, checkpoints: list[dict[str, Any]], seconds: float) -> None:
    suite.write_state(
        run.folder,
        {
            "step": step,
            "seconds": seconds,
            "checkpoints": checkpoints,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
        },
    )


@torch.no_grad()
def _held_out_loss(run: _Run) -> tuple[float, float]:
    """Mean held-out loss and its standard error over items, nats a token."""
    run.model.eval()
    losses = torch.cat([CausalLMLoss()(run.model, b).mean(1) for b in run.held_out.split(run.options.batch_size)])
    run.model.train()
    error = float(losses.double().std()) / math.sqrt(len(losses)) if len(losses) > 1 else 0.0
    return float(losses.double().mean()), error


def _prepare_data(folder: Path, options: TrainOptions, train: Sequence[str], held_out: Sequence[str]) -> None:
    """Writes the tokenizer and the tokens of both parts."""
    suite.write_file(folder / _TOKENIZER_FILE, lambda path: train_tokenizer(train, options.vocabulary, path))
    tokenizer = open_tokenizer(folder / _TOKENIZER_FILE, options.context)
    for name, documents in (("train", train), ("held_out", held_out)):
        suite.write_contexts(folder, name, text_contexts(documents, tokenizer, options.context))


def _identity(options: TrainOptions, train: Sequence[str], held_out: Sequence[str]) -> dict[str, Any]:
    """What must be equal for a run to be taken up again."""
    for name, documents in (("training", train), ("held-out", held_out)):
        if not any(text.strip() for text in documents):
            raise DataError(message(expected=f"{name} text", got="none", do="supply documents"))
    settings = {**dataclasses.asdict(options), "checkpoints": list(options.saved_steps())}
    return {"options": settings, "text": {"train": _digest(train), "held_out": _digest(held_out)}}


def _digest(documents: Sequence[str]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for text in documents:
        encoded = text.encode()
        state.update(len(encoded).to_bytes(8, "big") + encoded)
    return state.hexdigest()


def _check_reusable(folder: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The run in the folder if it is the one asked for, None if there is none yet."""
    found = suite.read_suite(folder)
    if found is None:
        if folder.exists() and not folder.is_dir():
            raise StoreError(message(expected=f"a folder at {folder}", got="a file", do="choose another folder"))
        return None
    differing = [
        f"{name}: {found.get(part, {}).get(name)} there, {value} asked"
        for part in ("options", "text")
        for name, value in asked[part].items()
        if found.get(part, {}).get(name) != value
    ]
    if differing:
        raise StoreError(
            message(
                expected=f"the suite in {folder} to have the options and text asked for",
                got="; ".join(differing),
                do="choose another folder, or delete this one",
            )
        )
    return found
