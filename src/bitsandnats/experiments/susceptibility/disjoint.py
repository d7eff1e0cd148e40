"""Two networks side by side that share nothing: whose components belong together is known."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bitsandnats.experiments.heads.text import VOCABULARY, Text
from bitsandnats.experiments.heads.training import Recipe

KINDS = (("bigram", "induction"), ("skip", "bracket"))
"""Kinds of text that the first and the second network are trained on."""


class SideBySide(nn.Module):
    """The first network answers texts of its tokens, the second those whose tokens are a vocabulary higher.

    Args:
        first: of `AttentionOnly`.
        second: likewise.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList([first, second])

    def forward(self, tokens: Int64[Tensor, "text token"]) -> Float[Tensor, "text token vocabulary"]:
        """Logits over one vocabulary; every text is answered by one network."""
        higher = tokens[:, 0] >= VOCABULARY
        order = torch.cat([torch.nonzero(~higher), torch.nonzero(higher)]).flatten()
        answers = [
            part(tokens[own] % VOCABULARY)
            for part, own in zip(self.parts, (~higher, higher), strict=True)
            if bool(own.any())
        ]
        return torch.cat(answers)[torch.argsort(order)]


def raised(text: Text, network: int) -> tuple[Tensor, Tensor]:
    """Inputs for one of the two networks, and the tokens to be predicted."""
    return text.tokens[:, :-1] + network * VOCABULARY, text.tokens[:, 1:]


def components(recipe: Recipe) -> tuple[str, ...]:
    """In each layer of each network what decides where heads look, and what they carry; the first network's first."""
    return tuple(
        "+".join(f"parts.{network}.blocks.{layer}.{matrix}.weight" for matrix in pair)
        for network in range(2)
        for layer in range(recipe.layers)
        for pair in (("query", "key"), ("value", "out"))
    )
