"""The network under study: attention only, with rotated queries and keys."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bitsandnats._rng import generator


class Shape(NamedTuple):
    """Of a network.

    Attributes:
        vocabulary: tokens that it knows.
        layers: of attention.
        width: of the stream.
        heads: of each layer, each of an even width.
    """

    vocabulary: int
    layers: int
    width: int
    heads: int


class Config(NamedTuple):
    """What `structure` asks a model of tokens for."""

    vocab_size: int
    num_hidden_layers: int
    num_attention_heads: int


class Attention(nn.Module):
    """Causal attention of normed inputs, added to the stream.

    Args:
        shape: of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Float[Tensor, "*text token width"]) -> Float[Tensor, "*text token width"]:
        """The stream with what the heads add to it."""
        mixed = self.weights(x) @ self.parts(self.value(self.norm(x)))
        return x + self.out(mixed.transpose(-2, -3).flatten(-2))

    def weights(self, x: Float[Tensor, "*text token width"]) -> Float[Tensor, "*text head token token"]:
        """How much each token attends to each earlier one and to itself."""
        normed = self.norm(x)
        query, key = (_rotated(self.parts(part(normed))) for part in (self.query, self.key))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        later = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)
        return scores.masked_fill(later, float("-inf")).softmax(-1)

    def parts(self, values: Float[Tensor, "*text token width"]) -> Float[Tensor, "*text head token part"]:
        """Each head's share."""
        return values.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class AttentionOnly(nn.Module):
    """Logits of the next token.

    Args:
        shape: of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.config = Config(shape.vocabulary, shape.layers, shape.heads)
        self.token = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Attention(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.unembed = nn.Linear(shape.width, shape.vocabulary, bias=False)

    def forward(self, input_ids: Int64[Tensor, "text token"], use_cache: bool = False) -> Any:
        """Logits [text, token, vocabulary].

        Args:
            input_ids: the tokens.
            use_cache: nothing is ever kept.
        """
        x = self.token(input_ids)
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.norm(x))


def fresh(shape: Shape, seed: int) -> AttentionOnly:
    """A network with values to begin with: norms 1 and 0, all else normal of variance 1/width; on the CPU.

    Args:
        shape: of the network.
        seed: of the values.
    """
    with torch.random.fork_rng(devices=[]):
        network = AttentionOnly(shape)
    source = generator(seed, 0, "start")
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.ndim == 1:
                p.fill_(1.0 if name.endswith("weight") else 0.0)
            else:
                p.copy_(torch.randn(p.shape, generator=source) * p.shape[-1] ** -0.5)
    return network


_LONGEST = 32.0  # wavelength over 2π of the slowest rotation, tokens


def _rotated(x: Float[Tensor, "*text token part"]) -> Float[Tensor, "*text token part"]:
    """Pairs of coordinates turned by angles that grow with the place (Su et al. 2021, arXiv 2104.09864)."""
    half = x.shape[-1] // 2
    speed = _LONGEST ** -(torch.arange(half, device=x.device, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)[:, None] * speed
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)
