"""What a network is made of: layers, attention heads, matrices and embeddings, by the names of its parameters."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Role = Literal[
    "query",
    "key",
    "value",
    "query_key_value",
    "attention_output",
    "mlp",
    "linear",
    "embedding",
    "unembedding",
]
"""What a matrix does; `linear` where nothing more is known, as in a plain module."""


@dataclass(frozen=True)
class Slice:
    """Neighbouring rows or columns of one parameter.

    Attributes:
        name: of the parameter, as in `named_parameters()`.
        axis: 0 or 1.
        start: the first.
        stop: one behind the last.
    """

    name: str
    axis: int
    start: int
    stop: int

    def of(self, parameter: Tensor) -> Tensor:
        """That part of the parameter, a view of it."""
        return parameter.narrow(self.axis, self.start, self.stop - self.start)


@dataclass(frozen=True)
class Matrix:
    """The weight of a linear map, or an embedding.

    Attributes:
        name: of the parameter, as in `named_parameters()`; a tied one has the first of its names.
        rows: outputs of the map; tokens or positions of an embedding.
        columns: inputs of the map; width of an embedding.
        transposed: whether it is stored as `[columns, rows]`.
        layer: index of its layer, None outside of them.
        role: what it does.
        aliases: its other names, where it is tied.
    """

    name: str
    rows: int
    columns: int
    transposed: bool
    layer: int | None
    role: Role
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Head:
    """One attention head: its share of the four maps, without biases.

    With grouped queries, the heads of a group have the same `key` and `value`.

    Attributes:
        layer: index of its layer.
        index: its number within the layer.
        query: outputs of the query map.
        key: outputs of the key map.
        value: outputs of the value map.
        output: inputs of the map behind attention.
    """

    layer: int
    index: int
    query: Slice
    key: Slice
    value: Slice
    output: Slice


@dataclass(frozen=True)
class Layer:
    """A block of a transformer, or a linear map of a plain module.

    Attributes:
        index: from 0.
        name: of the submodule.
        parameters: names of its parameters.
    """

    index: int
    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """What a network is made of; from `read_structure`.

    Attributes:
        layers: in order.
        heads: of all layers in order; empty where there are none, or none could be told apart.
        matrices: weights of all linear maps, an untied output matrix among them; a tied weight once.
        embeddings: look-up tables of tokens and positions.
    """

    layers: tuple[Layer, ...]
    heads: tuple[Head, ...]
    matrices: tuple[Matrix, ...]
    embeddings: tuple[Matrix, ...]
