"""What each head does, told by taking it away: the labels that other readings are held against."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitsandnats.experiments.heads.text import LABELS, STRUCTURES, Text
from bitsandnats.experiments.heads.training import label_losses

RULE = (
    "Stated beforehand. A head is ablated by putting its mean output over the texts in place of its output. Its label "
    "is the structure whose tokens then lose most, on average; a head that costs none of them 0.02 nat is called idle. "
    "A head whose largest cost is on induction tokens is a previous-token head in the first layer, where it can only "
    "carry what induction needs, and an induction head in the last one."
)
IDLE = 0.02


class Ablation(NamedTuple):
    """Of every head.

    Attributes:
        rise: in the mean loss of each label's tokens, nats.
        previous: mean attention to the token before.
        match: mean attention, at tokens that induction predicts the next one of, to what followed them before.
        labels: as `RULE` says.
    """

    rise: Float[np.ndarray, "head label"]
    previous: Float[np.ndarray, " head"]
    match: Float[np.ndarray, " head"]
    labels: tuple[str, ...]


def ablation(network: nn.Module, text: Text) -> Ablation:
    """Ablates each head in turn.

    Args:
        network: an `AttentionOnly`.
        text: held out.
    """
    blocks: Any = network.blocks
    before, rises, previous, match = label_losses(network, text), [], [], []
    attention = _attention(network, text.tokens[:, :-1])
    followers = _followers(text)
    for block, weights in zip(blocks, attention, strict=True):
        previous += weights.diagonal(-1, 2, 3).mean((0, 2)).tolist()
        match += [float((weights[:, h] * followers).sum() / followers.any(-1).sum()) for h in range(block.heads)]
        for head in range(block.heads):
            handle = block.out.register_forward_pre_hook(_mean_of(head, block.heads))
            try:
                rises.append((label_losses(network, text) - before).numpy())
            finally:
                handle.remove()
    last = len(rises) - blocks[-1].heads
    names = tuple(_label(rise, first=i < blocks[0].heads, last=i >= last) for i, rise in enumerate(rises))
    return Ablation(np.stack(rises), np.array(previous), np.array(match), names)


def _label(rise: Float[np.ndarray, " label"], *, first: bool, last: bool) -> str:
    own = rise[: len(STRUCTURES)]
    if own.max() < IDLE:
        return "idle"
    name = STRUCTURES[int(own.argmax())]
    return name if name != "induction" or last or not first else "previous token"


def _mean_of(head: int, heads: int) -> Any:
    """A hook that puts the mean in place of one head's part of the output map's input."""

    def hook(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
        parts = list(given[0].chunk(heads, -1))
        parts[head] = parts[head].mean((0, 1), keepdim=True).expand_as(parts[head])
        return (torch.cat(parts, -1),)

    return hook


@torch.no_grad()
def _attention(network: Any, tokens: Tensor) -> list[Float[Tensor, "text head token token"]]:
    """Attention of each layer; on the CPU."""
    x, found = network.token(tokens.to(next(network.parameters()).device)), []
    for block in network.blocks:
        found.append(block.weights(x).cpu())
        x = block(x)
    return found


def _followers(text: Text) -> Float[Tensor, "text token token"]:
    """1 where the column's token is what followed an earlier occurrence of the row's, at rows induction is about."""
    tokens = text.tokens[:, :-1]
    same = (tokens[:, :, None] == tokens[:, None, :]).float().tril(-1)
    shifted = torch.zeros_like(same)
    shifted[:, :, 1:] = same[:, :, :-1]
    rows = text.labels == LABELS.index("induction")
    return shifted * rows[:, :, None]
