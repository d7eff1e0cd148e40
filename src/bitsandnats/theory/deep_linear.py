r"""The learning coefficient of a deep linear network at any weights, from the ranks of its partial products.

Near w* the set of weights with the same product consists of strata: those where the product of the first j layers has
rank $r+u_j$ for all j, with r the rank of the whole and $u_0=H_0-r\ge u_1\ge\ldots\ge u_L=0$. With $h_j=H_j-r$ and
$\delta_j=u_{j-1}-u_j$ a stratum has codimension

$$r(H_0+H_L-r)+\sum_{j=1}^L\delta_j(h_j-u_j)=r(H_0+H_L-r)-\tfrac12h_0^2+\sum_{j=1}^L(\tfrac12\delta_j^2+h_j\delta_j)$$

and w* lies in its closure where each partial product leaves room for it: $\sum_{v<j\le w}\delta_j\le H_v-r_{vw}$, the
dimension of the kernel of $W_w⋯ W_{v+1}$ at w*. λ(w*) is half the smallest such codimension. It cannot be more,
since the learning coefficient of an ideal is at most half the codimension of its zeros; it cannot be less, since the
codimension of the arcs on which the product agrees to order e is a sum of e such terms, one for each order, each under
the same constraints.

The multiplicity is the length of the longest chain of minimising u, ordered entry by entry, whose strata meet w* along
nested subspaces. Every chain has such subspaces at minimal ranks, for up to three layers, and where no kernel of a
partial product separates the weights that pass through a hidden space (`_nests`). Elsewhere an exhaustive search finds
rare networks of four and more layers where the longest chain has none, so m is left open there unless it is 1.

By Frobenius' rank inequality the constraints are those of a polymatroid, so raising the cheapest δ_j one by one finds
the minimum. At weights of minimal ranks this is Aoyagi's λ and m, and for two layers the closed form below; the tests
compare all of them, and sampled networks (`tests/truth/test_local_coefficient.py`).
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from bitsandnats.errors import InputError, message
from bitsandnats.theory.learning_coefficient import LearningCoefficient, independent, reduced_rank, regular

Ranks = tuple[tuple[int, ...], ...]
"""Ranks of products of neighbouring layers: `ranks[v][k]` is that of W_{v+1+k} ⋯ W_{v+1}, which leave from space v."""


def product_ranks(layers: Sequence[Float[ndarray, "_ _"]], tolerance: float = 1e-8) -> Ranks:
    """Numerical ranks of all products W_w ⋯ W_{v+1} of neighbouring layers.

    An orthonormal basis of the image is carried from layer to layer, so that long products do not underflow.

    Args:
        layers: W₁ (H₁ × H₀), …, W_L.
        tolerance: directions that a layer scales by less than this share of its largest singular value are lost.

    Returns:
        `ranks[v][k]`, rank of W_{v+1+k} ⋯ W_{v+1}; `ranks[0][-1]` is that of the whole network.
    """
    norms = [float(np.linalg.norm(w, 2)) if w.size else 0.0 for w in layers]
    rows = []
    for first in range(len(layers)):
        basis = np.eye(layers[first].shape[1])
        row = []
        for w, norm in zip(layers[first:], norms[first:], strict=True):
            left, values, _ = np.linalg.svd(w @ basis, full_matrices=False)
            basis = left[:, values > tolerance * norm]
            row.append(basis.shape[1])
        rows.append(tuple(row))
    return tuple(rows)


def generic_ranks(layer_ranks: Sequence[int]) -> Ranks:
    """Ranks of the partial products of layers in general position: the smallest of the layers' ranks.

    Args:
        layer_ranks: of W₁, …, W_L.
    """
    return tuple(tuple(itertools.accumulate(layer_ranks[first:], min)) for first in range(len(layer_ranks)))


def has_minimal_ranks(ranks: Ranks) -> bool:
    """Whether every layer and every partial product has the rank of the whole: there λ(w*) is Aoyagi's."""
    return {rank for row in ranks for rank in row} == {ranks[0][-1]}


def local_coefficient(widths: Sequence[int], ranks: Ranks) -> LearningCoefficient:
    """λ and m of a deep linear network at weights whose partial products have the given ranks.

    Args:
        widths: H₀ (inputs), …, H_L (outputs).
        ranks: of `product_ranks` or `generic_ranks`.

    Raises:
        InputError: ranks that do not belong to matrices of these widths.
    """
    _check_ranks(widths, ranks)
    room = _room(widths, ranks)
    delta = _cheapest(room)
    rank = ranks[0][-1]
    height = room.height
    codimension = (
        rank * (widths[0] + widths[-1] - rank)
        + (int((delta * (delta + 2 * height)).sum()) - (widths[0] - rank) ** 2) // 2
    )
    chain = _longest_chain(room, delta)
    return LearningCoefficient(codimension / 2, chain if chain == 1 or _nests(widths, ranks) else None)


def local_two_layers(widths: Sequence[int], *, first: int, second: int, product: int) -> LearningCoefficient:
    r"""λ and m of y = W₂W₁x at weights whose factors and product have the given ranks r₁, r₂, r.

    $$\lambda(w^*)=\tfrac12[H_2r_1+H_0r_2-r_1r_2]+\lambda_0(H_0-r_1,\,H_1-r_1-r_2+r,\,H_2-r_2),$$
    λ₀ that of a two-layer network of these widths at 0. What the perturbations carry to the product at first order is
    regular; the rest starts at second order. The closed form that `local_coefficient` is compared with.

    Args:
        widths: H₀, H₁, H₂.
        first: r₁.
        second: r₂.
        product: r.

    Raises:
        InputError: not three widths, or ranks that no two matrices have.
    """
    _check_ranks(widths, ((first, product), (second,)))
    h0, h1, h2 = widths
    linear = regular(h2 * first + h0 * second - first * second)
    rest = (h0 - first, h1 - first - second + product, h2 - second)
    return linear if min(rest) == 0 else independent(linear, reduced_rank(*rest, 0))


class _Room(NamedTuple):
    """The polymatroid of δ: `inside[k] @ δ ≤ limit[k]` for each interval k of layers, and Σ δ = total."""

    height: Int[ndarray, " layer"]
    inside: Bool[ndarray, "interval layer"]
    limit: Int[ndarray, " interval"]
    total: int


def _room(widths: Sequence[int], ranks: Ranks) -> _Room:
    depth = len(ranks)
    intervals = [(v, w) for v in range(depth) for w in range(v + 1, depth + 1)]
    layers = np.arange(1, depth + 1)
    return _Room(
        height=np.array(widths[1:]) - ranks[0][-1],
        inside=np.array([(v < layers) & (layers <= w) for v, w in intervals]),
        limit=np.array([widths[v] - ranks[v][w - v - 1] for v, w in intervals]),
        total=widths[0] - ranks[0][-1],
    )


def _cheapest(room: _Room) -> Int[ndarray, " layer"]:
    """The δ of least Σ(½δ² + hδ): the cheapest layer that has room takes one more, until all are placed."""
    delta = np.zeros_like(room.height)
    slack = room.limit.copy()
    for _ in range(room.total):
        free = ~room.inside[slack == 0].any(0)
        chosen = int(np.argmin(np.where(free, delta + room.height, np.iinfo(np.int64).max)))
        delta[chosen] += 1
        slack -= room.inside[:, chosen]
    return delta


def _longest_chain(room: _Room, delta: Int[ndarray, " layer"]) -> int:
    """Length of the longest chain of minimising u, from the ranges of its entries over all minima.

    The minima are a distributive lattice in which entries whose difference is the same at all minima move together, and
    each such group one by one: the length is 1 plus the sum of the groups' ranges.
    """
    depth = len(delta)
    layers = np.arange(1, depth + 1)
    length, groups = 1, []
    for w in range(1, depth):
        if any(_range(room, delta, (v < layers) & (layers <= w)) == 0 for v in groups):
            continue
        groups.append(w)
        length += _range(room, delta, layers <= w)
    return length


def _range(room: _Room, delta: Int[ndarray, " layer"], layers: Bool[ndarray, " layer"]) -> int:
    """Largest minus smallest Σ δ over the given layers, over all minima."""
    return int(_most(room, delta, layers)[layers].sum() - _most(room, delta, ~layers)[layers].sum())


def _most(room: _Room, delta: Int[ndarray, " layer"], layers: Bool[ndarray, " layer"]) -> Int[ndarray, " layer"]:
    """A minimum with the largest Σ δ over the given layers, by exchanges that cost nothing."""
    delta = delta.copy()
    while True:
        tight = room.inside[room.inside @ delta == room.limit].astype(int)
        blocked = tight.T @ (1 - tight)  # (up, down): intervals that are full and would gain one
        level = delta + room.height
        free = (blocked == 0) & (level[:, None] + 1 == level[None, :]) & (delta > 0)[None, :]
        up, down = np.nonzero(free & layers[:, None] & ~layers[None, :])
        if len(up) == 0:
            return delta
        delta[up[0]] += 1
        delta[down[0]] -= 1


def _nests(widths: Sequence[int], ranks: Ranks) -> bool:
    """Whether subspaces of any dimensions that fit one by one can also be nested.

    What counts is the part of a hidden space that the input does not reach and the output does not see, of dimension
    `hidden(v)`, and the maps between these parts, of rank `through(z, w)`. Nesting can fail only at a space v between z
    and w where some but not all of it lies on the way from z to w.
    """
    depth, rank = len(ranks), ranks[0][-1]

    def hidden(v: int) -> int:
        return widths[v] - ranks[0][v - 1] - ranks[v][-1] + rank

    def through(z: int, w: int) -> int:
        return ranks[z][w - z - 1] - ranks[0][w - 1] - ranks[z][-1] + rank

    triples = itertools.combinations(range(1, depth), 3)
    return all(through(z, w) in (0, hidden(v)) for z, v, w in triples)


def _check_ranks(widths: Sequence[int], ranks: Ranks) -> None:
    """Each rank within its widths, and Frobenius' inequality among neighbours."""
    depth = len(widths) - 1
    shaped = [len(row) for row in ranks] == list(range(depth, 0, -1)) and depth > 0

    def rank(v: int, w: int) -> int:
        return widths[v] if v == w else ranks[v][w - v - 1]

    if (
        not shaped
        or not all(
            0 <= rank(v, w) <= min(rank(v + 1, w), rank(v, w - 1))
            and rank(v, w - 1) + rank(v + 1, w) <= rank(v, w) + rank(v + 1, w - 1)
            for v, w in itertools.combinations(range(depth + 1), 2)
            if w - v > 1
        )
        or not all(0 <= rank(v, v + 1) <= min(widths[v], widths[v + 1]) for v in range(depth))
    ):
        raise InputError(
            message(
                expected="ranks of the partial products of matrices of these widths",
                got=f"widths {list(widths)}, ranks {ranks}",
                do="measure them with product_ranks",
            )
        )
