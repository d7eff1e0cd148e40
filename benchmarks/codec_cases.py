"""The trained networks of `codec.py`: digits, a small language model, and modular addition before and after grokking."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import bitsandnats as bn

CASES = {
    "digits": "an MLP 64-128-128-10 on 1,000 digits, AdamW, no weight decay",
    "digits-decay": "an MLP 64-128-128-10 on 1,000 digits, AdamW, weight decay 3",
    "digits-random": "an MLP 64-128-128-10 on 1,000 digits with random labels, memorised, no weight decay",
    "neox": "a GPT-NeoX of 2 layers of width 48 on bytes of Python's documentation, 300 steps",
    "memorised": "a transformer of one layer on addition modulo 31, four fifths of the pairs, weight decay 1, at the first checkpoint that has all of them right",
    "grokked": "the same network later on, at the first checkpoint that has 98 % of the other pairs right",
}
WEIGHTS = Path("runs") / "codec-weights"
_P, _WIDTH, _HEADS = 31, 64, 4


def build(case: str) -> bn.Task:
    """The task of a case; what was trained is kept and loaded again."""
    if case in ("memorised", "grokked"):
        return _addition(case)
    if case == "neox":
        return _neox()
    return _digits(
        3.0 if case == "digits-decay" else 0.0, 1500 if case == "digits-random" else 600, random=case == "digits-random"
    )


def facts(case: str) -> dict[str, Any]:
    """Step and accuracies of a checkpoint of modular addition; nothing for other cases."""
    if case not in ("memorised", "grokked"):
        return {}
    kept = torch.load(WEIGHTS / f"{case}.pt", weights_only=True)
    return {name: kept[name] for name in ("step", "train", "test")}


def _digits(decay: float, steps: int, *, random: bool) -> bn.Task:
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


def _neox() -> bn.Task:
    from pydoc_data.topics import topics  # Python's own documentation

    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from bitsandnats.hf import CausalLMLoss

    text = "".join(text for _, text in sorted(topics.items()))
    contexts = torch.tensor(list(text.encode()[: 1200 * 64])).view(-1, 64)
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
    return bn.Task.from_module(net.eval(), CausalLMLoss(), contexts[::16].clone())


class Addition(nn.Module):
    """Tokens a, b and = to the logits of a + b: one layer of attention and one of ReLU, without norms."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(_P + 1, _WIDTH), nn.Parameter(torch.randn(3, _WIDTH) / _WIDTH**0.5)
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH, bias=False), nn.Linear(_WIDTH, _WIDTH, bias=False)
        self.up, self.down = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)
        self.read = nn.Linear(_WIDTH, _P, bias=False)
        nn.init.normal_(self.embed.weight, std=_WIDTH**-0.5)

    def forward(self, pairs: Tensor) -> Tensor:
        tokens = torch.cat([pairs, torch.full_like(pairs[:, :1], _P)], 1)
        x = self.embed(tokens) + self.place
        q, k, v = (part.unflatten(-1, (_HEADS, -1)) for part in self.qkv(x).chunk(3, -1))
        score = torch.einsum("bhd,bthd->bht", q[:, 2], k) / (_WIDTH / _HEADS) ** 0.5  # of the last place only
        seen = torch.einsum("bht,bthd->bhd", score.softmax(-1), v).flatten(1)
        x = x[:, 2] + self.out(seen)
        return self.read(x + self.down(torch.relu(self.up(x))))


def _pairs() -> tuple[Tensor, Tensor, int]:
    """Pairs and their sums, and how many are for training; a, b and b, a are on the same side."""
    a, b = torch.triu_indices(_P, _P)[:, torch.randperm(_P * (_P + 1) // 2, generator=torch.Generator().manual_seed(0))]
    split = int(0.8 * len(a))
    parts = []
    for x, y in ((a[:split], b[:split]), (a[split:], b[split:])):
        other = x != y
        parts.append(torch.cat([torch.stack([x, y], 1), torch.stack([y[other], x[other]], 1)]))
    every = torch.cat(parts)
    return every, every.sum(1) % _P, len(parts[0])


def _addition(case: str) -> bn.Task:
    if not (WEIGHTS / f"{case}.pt").exists():
        _train()
    x, y, n = _pairs()
    net = Addition()
    net.load_state_dict(torch.load(WEIGHTS / f"{case}.pt", weights_only=True)["state"])
    return bn.Task.from_module(net.eval(), bn.losses.cross_entropy(), (x[:n], y[:n]))


def _train() -> None:
    """AdamW with weight decay 1 on the training pairs at once; both checkpoints are kept."""
    x, y, n = _pairs()
    torch.manual_seed(0)
    net = Addition()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1.0, betas=(0.9, 0.98))
    wanted = {"memorised": (0, 1.0), "grokked": (1, 0.98)}
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    for step in range(2001):
        if step % 20 == 0:
            with torch.no_grad():
                right = (net(x).argmax(-1) == y).float()
            accuracies = [float(right[:n].mean()), float(right[n:].mean())]
            for case in [c for c, (which, least) in wanted.items() if accuracies[which] >= least]:
                kept = {"state": net.state_dict(), "step": step, "train": accuracies[0], "test": accuracies[1]}
                torch.save(kept, WEIGHTS / f"{case}.pt")
                del wanted[case]
            if not wanted:
                return
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[:n]), y[:n]).backward()
        optimizer.step()
    raise SystemExit(f"no {' and no '.join(wanted)} checkpoint within {step} steps: {accuracies}")
