"""The networks that learn the tables: a transformer without a mask, normed after each sum, and a perceptron."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bitsandnats._rng import generator
from bitsandnats.errors import InputError, message

NETWORKS = ("transformer", "mlp")
_LENGTH = 4


class Block(nn.Module):
    """Attention and a perceptron, each added to what comes in and normed after the sum.

    Args:
        width: of the stream.
        heads: of equal width.
        hidden: units of the perceptron.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.norm_attention, self.norm_hidden = nn.LayerNorm(width), nn.LayerNorm(width)
        self.rise, self.fall = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*sample place width"], last: int) -> Float[Tensor, "*sample last width"]:
        """The stream at the last places; all places are attended to.

        Args:
            x: the stream.
            last: how many places are wanted.
        """
        wanted = x[..., -last:, :]
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (self.query(wanted), self.key(x), self.value(x)))
        mixed = _attend(q, k, v) if last == 1 else _attend_all(q, k, v)
        wanted = self.norm_attention(wanted + self.out(mixed.flatten(-2)))
        return self.norm_hidden(wanted + self.fall(nn.functional.gelu(self.rise(wanted))))


def _attend(
    q: Float[Tensor, "*sample 1 head part"], k: Float[Tensor, "*sample place head part"], v: Tensor
) -> Float[Tensor, "*sample 1 head part"]:
    """Attention of one place: sums of products, since matrix products of so few rows are slow."""
    weights = torch.softmax((q * k).sum(-1) * q.shape[-1] ** -0.5, -2)
    return (weights.unsqueeze(-1) * v).sum(-3, keepdim=True)


def _attend_all(
    q: Float[Tensor, "*sample query head part"], k: Float[Tensor, "*sample place head part"], v: Tensor
) -> Float[Tensor, "*sample query head part"]:
    """Attention of several places."""
    q, k, v = (part.transpose(-2, -3) for part in (q, k, v))
    weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
    return (weights @ v).transpose(-2, -3)


class Transformer(nn.Module):
    """Logits of the result after a ∘ b =.

    Args:
        modulus: p; the vocabulary holds p residues, ∘ and =.
        layers: of attention and perceptron.
        width: of the stream.
        heads: of each layer.
        hidden: units of each perceptron.
        places: at which the last layer is computed: 1, or 4 for all, which gives the same logits.
    """

    def __init__(self, modulus: int, layers: int, width: int, heads: int, hidden: int, places: int = 1) -> None:
        super().__init__()
        self.token = nn.Embedding(modulus + 2, width)
        self.position = nn.Parameter(torch.empty(_LENGTH, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.unembed = nn.Linear(width, modulus + 2, bias=False)
        self.places = places

    def forward(self, tokens: Int64[Tensor, "sample 4"]) -> Float[Tensor, "sample token"]:
        """Logits at =."""
        x = self.token(tokens) + self.position
        for index, block in enumerate(self.blocks):
            x = block(x, self.places if index == len(self.blocks) - 1 else _LENGTH)
        return self.unembed(x[..., -1, :])


class Perceptron(nn.Module):
    """Logits of the result from the embeddings of a and b side by side.

    Args:
        modulus: p.
        width: of an embedding.
        hidden: units of the layer between.
    """

    def __init__(self, modulus: int, width: int, hidden: int) -> None:
        super().__init__()
        self.token = nn.Embedding(modulus, width)
        self.rise, self.fall = nn.Linear(2 * width, hidden), nn.Linear(hidden, modulus)

    def forward(self, tokens: Int64[Tensor, "sample 4"]) -> Float[Tensor, "sample residue"]:
        """Logits of the residues.

        What the first layer makes of each residue, on the left and on the right, is computed once and looked up: p
        products in place of one a pair. In place, since fresh memory takes as long as the products. Checked in
        `tests/experiments/test_grokking_training.py`.
        """
        left, right = self.rise.weight.chunk(2, -1)
        table = self.token.weight
        by_first = nn.functional.linear(table, left, self.rise.bias)
        by_second = nn.functional.linear(table, right)
        a, b = tokens[..., 0], tokens[..., 2]
        hidden = nn.functional.embedding(a, by_first).add_(nn.functional.embedding(b, by_second)).relu_()
        return self.fall(hidden)


class Network(NamedTuple):
    """What is trained.

    Attributes:
        kind: one of `NETWORKS`.
        layers: of the transformer.
        width: of its stream, or of the perceptron's embeddings.
        heads: of the transformer.
        hidden: units of the perceptron, or of each of the transformer's.
    """

    kind: str
    layers: int
    width: int
    heads: int
    hidden: int

    def build(self, modulus: int, places: int = 1) -> nn.Module:
        """The module; its own values do not matter: those of `fresh` are put in their places.

        Args:
            modulus: p.
            places: at which the transformer's last layer is computed.

        Raises:
            InputError: an unknown kind.
        """
        if self.kind not in NETWORKS:
            expected = f"networks among {', '.join(NETWORKS)}"
            raise InputError(message(expected=expected, got=repr(self.kind), do="choose one"))
        # on no device, drawing values would load torch's compiler, for seconds
        with torch.random.fork_rng(devices=[]):
            if self.kind == "mlp":
                return Perceptron(modulus, self.width, self.hidden)
            return Transformer(modulus, self.layers, self.width, self.heads, self.hidden, places)

    def words(self) -> str:
        """Its shape."""
        if self.kind == "mlp":
            return f"MLP, embeddings of {self.width}, {self.hidden} hidden units"
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        return f"transformer, {layers} of width {self.width}, {self.heads} heads, {self.hidden} hidden units"


def fresh(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """Values to begin with: matrices of variance 1/inputs, embeddings of 1/width, norms 1, biases 0; on the CPU.

    Args:
        module: from `Network.build`.
        seed: of the values.
    """
    source, found = generator(seed, 0, "start"), {}
    for name, p in module.named_parameters():
        if name.endswith("bias"):
            found[name] = torch.zeros(p.shape)
        elif p.ndim == 1:
            found[name] = torch.ones(p.shape)
        else:
            found[name] = torch.randn(p.shape, generator=source) * p.shape[-1] ** -0.5
    return found
