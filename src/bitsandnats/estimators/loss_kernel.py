"""The loss kernel: covariance of the losses of inputs over the local posterior, and what it says about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from numpy import ndarray

from bitsandnats.errors import DataError, InputError, message
from bitsandnats.estimators.bif import check_moved
from bitsandnats.estimators.covariance import correlation, covariance, moments_of, standard_error, variance
from bitsandnats.estimators.embedding import Embedding, umap_embedding
from bitsandnats.estimators.intervals import Interval, chain_intervals
from bitsandnats.estimators.kernel_map import kernel_map
from bitsandnats.estimators.reliability import Reliability, of_covariance, reliability
from bitsandnats.estimators.verdict import Verdict


class Ratio(NamedTuple):
    """A statistic with its chain-bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LossKernel:
    """K and R of some inputs.

    Attributes:
        dataset: `kernel` (input, other), squared nats, with `kernel_se`; `correlation`, R, 0 where a variance is 0;
            `variance` (input). Coordinates: item, token, and the label where one was given.
        reliability: how far the rows reproduce, without the diagonal.
        tree: the run.
        subset: name of the inputs in it.
        controls: where they were asked for, the kernels of the same inputs at nβ = 0 (`noise`), and under one copy of
            the network for each group (`disjoint`), so that groups share no weights.
    """

    dataset: xr.Dataset
    reliability: Reliability
    tree: xr.DataTree
    subset: str
    controls: Mapping[str, "LossKernel"] = field(default_factory=dict)

    @property
    def kernel(self) -> Float[ndarray, "input other"]:
        """K = Cov(ℓ(x), ℓ(x')), squared nats."""
        return self.dataset["kernel"].values

    @property
    def correlation(self) -> Float[ndarray, "input other"]:
        """R, its Pearson correlation."""
        return self.dataset["correlation"].values

    @property
    def verdict(self) -> Verdict:
        """May the matrix be used?"""
        return self.reliability.verdict

    def neighbours(self, input: int, count: int = 10) -> list[tuple[int, float]]:
        """The inputs whose losses move most alike: (row, R), the nearest first.

        Raises:
            InputError: there is no such row.
        """
        _check_row(input, rows := len(self.kernel))
        order = [int(i) for i in np.argsort(-self.correlation[input]) if i != input % rows]
        return [(i, float(self.correlation[input, i])) for i in order[:count]]

    def interval(self, input: int, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Chain-bootstrap interval of each entry of a row of K, ends of shape [1, other]; squared nats.

        Args:
            input: row.
            level: of the interval.
            seed: of the choices of chains.

        Raises:
            InputError: there is no such row, or no such level.
        """
        _check_row(input, len(self.kernel))
        return chain_intervals(self.tree, self.subset, self.subset, chosen=[input], level=level, seed=seed)

    def embedding(self, *, seed: int = 0) -> Embedding:
        """A map of the inputs by UMAP, see `estimators.embedding`.

        Raises:
            InputError: umap-learn is not installed, or fewer than 5 inputs.
        """
        return umap_embedding(kernel_map(self.tree, self.subset), seed=seed)

    def clusters(self, count: int) -> Int[ndarray, " input"]:
        """The cluster of each input, from 0 on in the order in which they appear: average linkage of 1 − R.

        Raises:
            InputError: more clusters than inputs.
        """
        inputs = len(self.kernel)
        if not 1 <= count <= inputs:
            raise InputError(
                message(expected=f"from 1 to {inputs} clusters, the inputs", got=str(count), do="ask for fewer")
            )
        from scipy.cluster.hierarchy import fcluster, linkage

        above = np.triu_indices(inputs, 1)
        found = fcluster(linkage(1 - self.correlation[above], "average"), count, "maxclust")
        seen = {label: place for place, label in enumerate(dict.fromkeys(found.tolist()))}
        return np.array([seen[label] for label in found.tolist()], dtype=np.int64)

    def spectrum(self) -> Float[ndarray, " input"]:
        """Eigenvalues of K, the largest first; none is negative but for rounding."""
        return np.linalg.eigvalsh((self.kernel + self.kernel.T) / 2)[::-1]

    def features(self, rank: int) -> Float[ndarray, "input feature"]:
        """Coordinates whose inner products give the best approximation of K of a rank.

        Raises:
            InputError: the draws are too few for that rank.
        """
        count = moments_of(self.tree)["count"].values.sum(1)
        most = min(int((count - 1).sum()), len(self.kernel))
        if not 1 <= rank <= most:
            raise InputError(
                message(
                    expected=f"a rank from 1 to {most}, which draws less chains allow",
                    got=str(rank),
                    do="draw longer or ask for a lower rank",
                )
            )
        values, vectors = np.linalg.eigh((self.kernel + self.kernel.T) / 2)
        return vectors[:, ::-1][:, :rank] * np.sqrt(np.maximum(values[::-1][:rank], 0))

    def __str__(self) -> str:
        return f"loss kernel of {len(self.kernel)} inputs  {self.reliability}"


def loss_kernel(tree: xr.DataTree, inputs: str = "inputs") -> LossKernel:
    r"""$K(x,x')=Cov[\ell(x),\ell(x')]$ and its correlation R over the local posterior.

    Source: arXiv 2509.26537. Checked in `tests/truth/test_loss_kernel.py`.

    Args:
        tree: a run that followed the inputs and kept their covariance with themselves.
        inputs: name of the subset.

    Raises:
        StoreError: their covariance was not kept.
        DataError: no input's loss moved at all.
    """
    own = variance(tree, inputs)
    check_moved(own, "inputs")
    kernel = covariance(tree, inputs, inputs)
    kernel = (kernel + kernel.T) / 2
    columns = tree[f"subsets/{inputs}"].dataset
    coordinates = {name: ("input", columns[name].values) for name in ("item", "token", "label") if name in columns}
    dataset = xr.Dataset(
        {
            "kernel": (("input", "other"), kernel),
            "kernel_se": (("input", "other"), standard_error(tree, inputs, inputs)),
            "correlation": (("input", "other"), correlation(kernel, np.diag(kernel), np.diag(kernel))),
            "variance": ("input", own),
        },
        coords=coordinates,
        attrs={"estimand": "Cov(l(x), l(x')), squared nats"},
    )
    known = reliability(tree, of_covariance(tree, inputs, inputs), row_variance=own, what="inputs", skip_diagonal=True)
    halves = {"reliability_over_chains": known.over_chains, "reliability_over_draws": known.over_draws}
    return LossKernel(dataset.assign({n: ("input", rows) for n, rows in halves.items()}), known, tree, inputs)


class Mantel(NamedTuple):
    """A rank correlation of two matrices over the same objects, with its permutation p."""

    spearman: float
    p: float


def mantel(
    kernel: Float[ndarray, "one other"],
    distance: Float[ndarray, "one other"],
    *,
    permutations: int = 999,
    seed: int = 0,
) -> Mantel:
    """Spearman correlation of a kernel with minus a distance, over pairs; p by permuting the objects.

    Args:
        kernel: similarity of classes or inputs.
        distance: of the same, for instance path length in a hierarchy.
        permutations: of the objects; p is (1 + those at least as large)/(1 + permutations).
        seed: of the permutations.

    Raises:
        DataError: the matrices are of different sizes, or of fewer than 4 objects.
    """
    from scipy.stats import rankdata  # a second to import, for one function

    size = len(kernel)
    if kernel.shape != distance.shape or size < 4:
        raise DataError(
            message(
                expected="a kernel and a distance over the same objects, 4 at least",
                got=f"{kernel.shape} and {distance.shape}",
                do="give the distance of each pair of classes",
            )
        )
    above = np.triu_indices(size, 1)
    x = rankdata(kernel[above])
    y = np.zeros((size, size))
    y[above] = rankdata(-np.asarray(distance)[above])
    y += y.T
    x -= x.mean()
    centre = y[above].mean()
    norm = np.sqrt((x**2).sum() * ((y[above] - centre) ** 2).sum())
    if norm == 0:
        return Mantel(0.0, 1.0)
    random = np.random.default_rng(seed)
    found = float((x * (y[above] - centre)).sum() / norm)
    beaten = 0
    for _ in range(permutations):
        order = random.permutation(size)
        beaten += float((x * (y[np.ix_(order, order)][above] - centre)).sum() / norm) >= found - 1e-12
    return Mantel(found, (1 + beaten) / (1 + permutations))


def class_kernel(
    kernel: LossKernel, labels: Sequence[int] | ndarray
) -> tuple[Int[ndarray, " group"], Float[ndarray, "group other"]]:
    """Mean R between the inputs of each two classes, an input with itself left out; and the classes in order.

    Raises:
        DataError: labels do not fit the inputs, or there is only one.
    """
    own = as_labels(labels, len(kernel.kernel))
    classes = np.unique(own)
    member = (own[:, None] == classes[None, :]).astype(float)
    r = kernel.correlation.copy()
    np.fill_diagonal(r, 0)
    size = member.sum(0)
    pairs = np.outer(size, size) - np.diag(size)
    total = member.T @ r @ member
    return classes.astype(np.int64), np.divide(total, pairs, out=np.zeros_like(total), where=pairs > 0)


def purity(kernel: LossKernel, labels: Sequence[int] | ndarray) -> float:
    """Share of inputs whose nearest neighbour by R has their label. The control at nβ = 0 can reach the same."""
    own = as_labels(labels, len(kernel.kernel))
    r = kernel.correlation.copy()
    np.fill_diagonal(r, -np.inf)
    return float((own[r.argmax(1)] == own).mean())


def _check_row(input: int, rows: int) -> None:
    if not -rows <= input < rows:
        raise InputError(message(expected=f"an input from 0 to {rows - 1}", got=str(input), do="name one of them"))


def as_labels(labels: Sequence[int] | ndarray, inputs: int) -> ndarray:
    """Labels as an array.

    Raises:
        DataError: they do not fit the inputs, or are all the same.
    """
    own = np.asarray(labels)
    if own.shape != (inputs,) or len(np.unique(own)) < 2:
        raise DataError(
            message(
                expected=f"a label for each of the {inputs} inputs, two different ones at least",
                got=f"{own.size} labels, {len(np.unique(own))} different",
                do="give one label an input",
            )
        )
    return own
