"""Deep linear networks whose data enter through second moments only: exact full-batch gradients from H₀ items."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from bitsandnats import losses
from bitsandnats.errors import InputError, message
from bitsandnats.task import Task
from bitsandnats.theory import deep_linear as theory
from bitsandnats.toys.types import SAMPLES, Toy

Moments = Literal["sampled", "gaussian"]
Convention = Literal["gaussian", "mean_squared_error"]

_HALF_RANGE = 10.0
_BLOCK = 50_000
_STREAM = {"teacher": 0, "inputs": 1, "ranks": 2}


class DeepLinear(nn.Module):
    """x ↦ W_L ⋯ W₁ x, the layers being parameters `layers.0` … (out × in each)."""

    def __init__(self, layers: Sequence[Tensor]) -> None:
        super().__init__()
        self.layers = nn.ParameterList([nn.Parameter(w) for w in layers])

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs of a batch of inputs, one a row."""
        for w in self.layers:
            inputs = inputs @ w.T
        return inputs


def deep_linear_network(
    layers: Sequence[Float[ndarray, "_ _"]],
    *,
    ranks: theory.Ranks | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    convention: Convention = "gaussian",
    moments: Moments = "sampled",
    dtype: torch.dtype = torch.float64,
) -> Toy:
    r"""A deep linear network at a noise-free teacher, on n inputs uniform in [−10, 10].

    The loss depends on the inputs through $S=\frac1n\sum xx^\top$ alone:
    $L(W)=\frac1n\sum\tfrac12\lVert(W-W^*)x\rVert^2=\tfrac12\lVert(W-W^*)S^{1/2}\rVert_F^2$. The task's items are the H₀
    columns of $\sqrt{H_0}\,F$, $FF^\top=S$, and their mean loss is exactly that of the n samples
    (`tests/truth/test_deep_linear.py`). They serve for full-batch sampling; `samples` holds n.

    λ and m at w* come from the ranks of all partial products (`theory.deep_linear.local_coefficient`).

    Args:
        layers: the teacher's W₁ (H₁ × H₀), …, W_L; they are w*.
        ranks: of the partial products, where known; measured otherwise.
        samples: n.
        seed: of the inputs.
        convention: `gaussian` is ½‖error‖², noise of s.d. 1; `mean_squared_error` is ‖error‖² averaged over outputs.
        moments: where S comes from, see `second_moment`.
        dtype: of weights and data.

    Raises:
        InputError: layers that do not fit each other, or fewer samples than inputs.
    """
    _check_layers(layers)
    widths = [layers[0].shape[1], *(w.shape[0] for w in layers)]
    ranks = theory.product_ranks(layers) if ranks is None else ranks
    moment = second_moment(widths[0], samples=samples, seed=seed, moments=moments)
    each = ", ".join(str(row[0]) for row in ranks)
    return Toy(
        task=_task(layers, moment, convention, dtype),
        coefficient=theory.local_coefficient(widths, ranks),
        exact=None,
        samples=float(samples),
        summary=f"deep linear network {'-'.join(map(str, widths))}, layers of rank {each}, map of rank {ranks[0][-1]}",
    )


def random_deep_linear(
    widths: Sequence[int],
    rank: int,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    convention: Convention = "gaussian",
    moments: Moments = "sampled",
    dtype: torch.dtype = torch.float64,
) -> Toy:
    """A deep linear network at a random teacher of minimal ranks, where λ(w*) is Aoyagi's.

    Every layer and every product of neighbouring layers has the given rank.

    Args:
        widths: H₀ (inputs), …, H_L (outputs).
        rank: between 0 and the smallest width.
        samples: n.
        seed: of teacher and inputs.
        convention: of the loss, as in `deep_linear_network`.
        moments: of the inputs, as in `second_moment`.
        dtype: of weights and data.

    Raises:
        InputError: widths and rank that do not fit, or fewer samples than inputs.
    """
    layers = minimal_rank_teacher(widths, rank, seed=seed)
    ranks = theory.generic_ranks([rank] * len(layers))
    return deep_linear_network(
        layers, ranks=ranks, samples=samples, seed=seed, convention=convention, moments=moments, dtype=dtype
    )


def reduced_rank(inputs: int, hidden: int, outputs: int, rank: int, *, samples: int = SAMPLES, seed: int = 0) -> Toy:
    """Reduced-rank regression: a linear network of two layers at a random teacher of minimal ranks.

    Args:
        inputs: H₀.
        hidden: H₁.
        outputs: H₂.
        rank: of both layers and of the map.
        samples: n.
        seed: of teacher and inputs.

    Raises:
        InputError: widths and rank that do not fit, or fewer samples than inputs.
    """
    return random_deep_linear([inputs, hidden, outputs], rank, samples=samples, seed=seed)


def minimal_rank_teacher(widths: Sequence[int], rank: int, *, seed: int = 0) -> list[Float[ndarray, "_ _"]]:
    """Layers of a random teacher in which every layer and every product of neighbouring layers has the same rank.

    Each layer is U_j C_j U_{j−1}ᵀ with random orthonormal frames U_j of `rank` columns in R^{H_j}, and C_j square with
    random singular vectors and singular values uniform in [0.7, 1.3].

    Args:
        widths: H₀, …, H_L.
        rank: between 0 and the smallest width.
        seed: any non-negative integer.

    Raises:
        InputError: fewer than two widths, or a rank beyond them.
    """
    if len(widths) < 2 or not 0 <= rank <= min(widths):
        raise InputError(
            message(
                expected="two or more widths and a rank between 0 and the smallest",
                got=f"widths {list(widths)}, rank {rank}",
                do="change one of them",
            )
        )
    random = np.random.default_rng([seed, _STREAM["teacher"]])
    frames = [_frame(random, h, rank) for h in widths]
    return [after @ _core(random, rank, rank, rank) @ before.T for before, after in itertools.pairwise(frames)]


def mixed_ranks(widths: Sequence[int], *, seed: int = 0) -> list[int]:
    """Ranks of the layers of a random teacher of the published benchmarks' kind.

    Each is full or, with probability ½, uniform between 0 and full. Aoyagi's λ is then only a lower bound of λ(w*).

    Args:
        widths: H₀, …, H_L.
        seed: any non-negative integer.
    """
    random = np.random.default_rng([seed, _STREAM["ranks"]])
    full = [min(pair) for pair in itertools.pairwise(widths)]
    return [int(random.integers(0, f + 1)) if random.random() < 0.5 else f for f in full]


def mixed_rank_teacher(
    widths: Sequence[int], layer_ranks: Sequence[int], *, seed: int = 0
) -> list[Float[ndarray, "_ _"]]:
    """Random layers of given ranks in general position; their products have `theory.deep_linear.generic_ranks`.

    Singular vectors are random, singular values uniform in [0.7, 1.3].

    Args:
        widths: H₀, …, H_L.
        layer_ranks: of W₁, …, W_L.
        seed: any non-negative integer.

    Raises:
        InputError: not one rank a layer, or one beyond its layer's widths.
    """
    full = [min(pair) for pair in itertools.pairwise(widths)]
    if len(full) != len(layer_ranks) or not all(0 <= rank <= f for rank, f in zip(layer_ranks, full, strict=True)):
        raise InputError(
            message(
                expected=f"a rank for each layer, at most {', '.join(map(str, full))}",
                got=f"ranks {list(layer_ranks)}",
                do="change them or the widths",
            )
        )
    random = np.random.default_rng([seed, _STREAM["teacher"]])
    pairs = itertools.pairwise(widths)
    return [_core(random, after, before, rank) for (before, after), rank in zip(pairs, layer_ranks, strict=True)]


def second_moment(
    width: int, *, samples: int, seed: int = 0, moments: Moments = "sampled"
) -> Float[ndarray, "input input"]:
    r"""$S=\frac1n\sum xx^\top$ of n inputs, independent and uniform in [−10, 10]; never holding all inputs.

    Args:
        width: H₀.
        samples: n.
        seed: any non-negative integer.
        moments: `sampled` draws the inputs, at a cost of nH₀²; `gaussian` draws S from its limit for many samples, a
            normal law with the same means (100/3 on the diagonal) and variances ((100/3)²/n off it, 8000/9n on it).

    Raises:
        InputError: fewer samples than inputs.
    """
    if samples < width:
        raise InputError(
            message(expected=f"at least {width} samples", got=str(samples), do="take as many as there are inputs")
        )
    random = np.random.default_rng([seed, _STREAM["inputs"]])
    if moments == "gaussian":
        mean = _HALF_RANGE**2 / 3
        noise = np.triu(random.standard_normal((width, width)), 1) * mean
        diagonal = random.standard_normal(width) * math.sqrt(_HALF_RANGE**4 / 5 - mean**2)
        return mean * np.eye(width) + (noise + noise.T + np.diag(diagonal)) / math.sqrt(samples)
    total = np.zeros((width, width))
    for start in range(0, samples, _BLOCK):
        x = random.uniform(-_HALF_RANGE, _HALF_RANGE, (min(_BLOCK, samples - start), width))
        total += x.T @ x
    return total / samples


def _task(
    layers: Sequence[Float[ndarray, "_ _"]],
    moment: Float[ndarray, "input input"],
    convention: Convention,
    dtype: torch.dtype,
) -> Task:
    inputs = moment.shape[0]
    items = torch.as_tensor(math.sqrt(inputs) * np.linalg.cholesky(moment).T, dtype=dtype)
    network = DeepLinear([torch.as_tensor(w, dtype=dtype).clone() for w in layers])
    with torch.no_grad():
        outputs = network(items)
    sigma = 1.0 if convention == "gaussian" else math.sqrt(outputs.shape[1] / 2)
    return Task.from_module(network, losses.gaussian(sigma), (items, outputs))


def _check_layers(layers: Sequence[Float[ndarray, "_ _"]]) -> None:
    for at, (left, right) in enumerate(itertools.pairwise(layers), start=2):
        if right.shape[1] != left.shape[0]:
            raise InputError(
                message(
                    expected=f"layer {at} to take {left.shape[0]} inputs",
                    got=f"a matrix of shape {right.shape}",
                    do="give the layers from the input on, out × in each",
                )
            )


def _core(random: np.random.Generator, rows: int, columns: int, rank: int) -> Float[ndarray, "_ _"]:
    """A random matrix of the given rank with singular values uniform in [0.7, 1.3]."""
    values = random.uniform(0.7, 1.3, rank)
    return (_frame(random, rows, rank) * values) @ _frame(random, columns, rank).T


def _frame(random: np.random.Generator, dimension: int, count: int) -> Float[ndarray, "_ _"]:
    """`count` random orthonormal vectors of the given dimension, as columns."""
    return np.linalg.qr(random.standard_normal((dimension, count)))[0]
