"""Networks trained on the language, and kept now and then."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitsandnats._rng import generator
from bitsandnats.experiments.heads.network import Shape, fresh
from bitsandnats.experiments.heads.text import LABELS, MIXED, PURE, VOCABULARY, Text, generated

CHECKPOINTS = 10
"""Kept of a training, so that both studies can use it."""


class Recipe(NamedTuple):
    """How a network is made.

    Attributes:
        layers: of attention.
        width: of the stream.
        heads: a layer.
        kinds: of text: `mixed`, and names of structures, each text with much of that one; named as often as it weighs.
        texts: of each kind named, to train on.
        rate: Muon's largest learning rate, for the blocks' matrices; AdamW's, for the rest, is a quarter of it.
        batch_size: texts a step.
        steps: of training; the rate rises over the first fiftieth and falls to 0 over the second half.
    """

    layers: int
    width: int
    heads: int
    kinds: tuple[str, ...]
    texts: int
    rate: float
    batch_size: int
    steps: int

    @property
    def shape(self) -> Shape:
        """Of its network."""
        return Shape(VOCABULARY, self.layers, self.width, self.heads)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of all heads."""
        return tuple(f"layer.{i}.head.{j}" for i in range(self.layers) for j in range(self.heads))

    @property
    def probes(self) -> tuple[str, ...]:
        """Every kind of text once."""
        return tuple(dict.fromkeys(self.kinds))

    def shares(self) -> list[str]:
        """Kinds of text with their weight."""
        return [f"{self.kinds.count(kind)} {kind}" for kind in self.probes]

    def words(self) -> str:
        """In a sentence."""
        return (
            f"Attention only, {self.layers} layers of {self.heads} heads, width {self.width}, {VOCABULARY} tokens; "
            f"{self.texts * len(self.kinds):,} texts ({', '.join(self.shares())}), Muon at {self.rate:g} for the "
            f"matrices of attention and AdamW at {self.rate / 4:g} for the rest, batches of {self.batch_size}, "
            f"{self.steps:,} steps."
        )


class Kept(NamedTuple):
    """What is kept of a training run.

    Attributes:
        steps: of the checkpoints.
        weights: at each, float32, parameters in order.
        losses: mean loss of held-out tokens of each label, nats.
    """

    steps: tuple[int, ...]
    weights: Float[np.ndarray, "checkpoint parameter"]
    losses: Float[np.ndarray, "checkpoint label"]


def texts(kinds: Sequence[str], count: int, *, seed: int) -> Text:
    """As many texts of each kind, one kind after the other.

    Args:
        kinds: `mixed` or names of structures.
        count: of each.
        seed: of the texts; those of two seeds differ.
    """
    parts = [
        generated(count, seed=seed * 100 + place, shares=MIXED if kind == "mixed" else PURE[kind])
        for place, kind in enumerate(kinds)
    ]
    return Text(torch.cat([p.tokens for p in parts]), torch.cat([p.labels for p in parts]))


def held_out(kinds: Sequence[str], count: int, *, seed: int) -> Text:
    """Texts that no network of this seed was trained on."""
    return texts(kinds, count, seed=1_000_000 + seed)


def growing_steps(steps: int, count: int) -> tuple[int, ...]:
    """Checkpoints ever farther apart, the first one after a hundredth of the training, the last one at its end."""
    if count == 1:
        return (steps,)
    return tuple(dict.fromkeys(round(steps * 0.01 ** (1 - i / (count - 1))) for i in range(count)))


def train(recipe: Recipe, seed: int, steps: Sequence[int], *, told: Callable[[int, int], None]) -> Kept:
    """A network trained from a seed, on texts and batches of that seed; on the CPU, which does for so small a one.

    Args:
        recipe: how.
        seed: of everything random.
        steps: after which its weights are kept.
        told: of (done, total) steps.
    """
    network = fresh(recipe.shape, seed)
    tokens = texts(recipe.kinds, recipe.texts, seed=seed).tokens
    other = held_out(recipe.probes, 64, seed=seed)
    chosen = generator(seed, 0, "batches")
    optimisers = _optimisers(network, recipe.rate)
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for step in range(recipe.steps):
        if step in steps:
            kept[step] = flat(network), label_losses(network, other).numpy()
        for optimiser, rate in optimisers:
            optimiser.param_groups[0]["lr"] = rate * _schedule(step / recipe.steps)
            optimiser.zero_grad()
        batch = tokens[torch.randint(len(tokens), (recipe.batch_size,), generator=chosen)]
        loss = nn.functional.cross_entropy(network(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        torch.autograd.backward(loss)
        for optimiser, _ in optimisers:
            optimiser.step()
        if step % 50 == 0:
            told(step, recipe.steps)
    if recipe.steps in steps:
        kept[recipe.steps] = flat(network), label_losses(network, other).numpy()
    told(recipe.steps, recipe.steps)
    return Kept(tuple(kept), np.stack([w for w, _ in kept.values()]), np.stack([x for _, x in kept.values()]))


def _optimisers(network: nn.Module, rate: float) -> list[tuple[torch.optim.Optimizer, float]]:
    """Each with its largest rate. Muon forms induction heads in a fraction of AdamW's steps."""
    own = {name: p for name, p in network.named_parameters() if name.startswith("blocks") and p.ndim == 2}
    rest = [p for name, p in network.named_parameters() if name not in own]
    muon = torch.optim.Muon(list(own.values()), lr=rate, weight_decay=0.0)
    adam = torch.optim.AdamW(rest, lr=rate / 4, betas=(0.9, 0.98), weight_decay=0.01)
    return [(muon, rate), (adam, rate / 4)]


def _schedule(done: float) -> float:
    return min(1.0, 50 * done + 0.01, 2 * (1 - done))


def flat(network: nn.Module) -> Float[np.ndarray, " parameter"]:
    """All weights in order."""
    return torch.cat([p.detach().flatten() for p in network.parameters()]).cpu().numpy()


def restored(recipe: Recipe, weights: Float[np.ndarray, " parameter"], device: str) -> nn.Module:
    """The network with weights from `flat`."""
    network, start = fresh(recipe.shape, 0), 0
    values = torch.from_numpy(weights.copy())
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(values[start : start + p.numel()].view(p.shape))
            start += p.numel()
    return network.to(device).eval()


@torch.no_grad()
def token_losses(network: nn.Module, text: Text) -> Float[Tensor, "text token"]:
    """Loss of each token that is predicted, nats; on the CPU."""
    device = next(network.parameters()).device
    parts = []
    for tokens in text.tokens.split(256):
        tokens = tokens.to(device)
        logits = network(tokens[:, :-1])
        parts.append(nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").cpu())
    return torch.cat(parts)


def label_losses(network: nn.Module, text: Text) -> Float[Tensor, " label"]:
    """Mean loss of the tokens of each label, nats."""
    losses = token_losses(network, text).double()
    return torch.stack([losses[text.labels == k].mean() for k in range(len(LABELS))])
