"""Bayesian influence of training samples on queries, from stored moments."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import DataError, InputError, message
from bitsandnats.estimators.covariance import correlation, covariance, standard_error, variance
from bitsandnats.estimators.intervals import Interval, chain_intervals
from bitsandnats.estimators.reliability import Reliability, of_correlation, of_covariance, reliability
from bitsandnats.estimators.verdict import Verdict

SIGN = "negative: more weight for a training sample lowers the query's loss (helps); positive: raises it (harms)"


class Named(NamedTuple):
    """One training sample in a ranking."""

    item: int
    token: int
    influence: float
    se: float


@dataclass(frozen=True)
class Influence:
    """Influence of training samples on queries.

    Attributes:
        dataset: `bif` (query, train), squared nats, with `bif_se`; `bif_normalised`, Pearson's correlation with the
            sign turned; `per_weight`, dφ/d(weight of the sample) = β·BIF, nats; `self_influence` (train); the
            baselines that were asked for, raw and normalised. Coordinates: item and token of each row and column.
        reliability: how far the rows reproduce.
        tree: the run.
        train: name of the subset of training samples in it.
        query: name of the subset of queries.
    """

    dataset: xr.Dataset
    reliability: Reliability
    tree: xr.DataTree
    train: str = "train"
    query: str = "query"

    @property
    def bif(self) -> Float[ndarray, "query train"]:
        """−Cov(ℓ_train, ℓ_query), squared nats."""
        return self.dataset["bif"].values

    @property
    def normalised(self) -> Float[ndarray, "query train"]:
        """−correlation of the losses."""
        return self.dataset["bif_normalised"].values

    @property
    def verdict(self) -> Verdict:
        """May the matrix be used?"""
        return self.reliability.verdict

    def top(self, query: int, count: int = 5) -> tuple[list[Named], list[Named]]:
        """The training samples that help a query most, and those that harm it most.

        Args:
            query: row.
            count: of each.

        Raises:
            InputError: there is no such row.
        """
        _check_row(query, self.bif.shape[0])
        order = np.argsort(self.bif[query]).tolist()
        return [self._named(query, i) for i in order[:count]], [self._named(query, i) for i in order[::-1][:count]]

    def interval(self, query: int, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Chain-bootstrap interval of each influence on a query, ends of shape [1, train]; squared nats.

        Args:
            query: row.
            level: of the interval.
            seed: of the choices of chains.

        Raises:
            InputError: there is no such row, or no such level.
        """
        _check_row(query, self.bif.shape[0])
        found = chain_intervals(self.tree, self.query, self.train, chosen=[query], level=level, seed=seed)
        return Interval(-found.high, -found.low)

    def suspects(self, count: int = 10) -> list[Named]:
        """Training samples whose own loss varies most: memorised, rare, or mislabelled; most suspicious first."""
        own = self.dataset["self_influence"].values
        order = np.argsort(own)[:count]
        item, token = self.dataset["train_item"].values, self.dataset["train_token"].values
        return [Named(int(item[i]), int(token[i]), float(own[i]), float("nan")) for i in order]

    def __str__(self) -> str:
        queries, train = self.bif.shape
        return f"influence of {train} training samples on {queries} queries  {self.reliability}"

    def _named(self, query: int, column: int) -> Named:
        data = self.dataset
        return Named(
            int(data["train_item"].values[column]),
            int(data["train_token"].values[column]),
            float(self.bif[query, column]),
            float(data["bif_se"].values[query, column]),
        )


def bif(tree: xr.DataTree, train: str = "train", query: str = "query") -> Influence:
    r"""Local Bayesian influence functions $BIF(z_i,\phi)=-Cov(\ell_i,\phi)$ with their reliability.

    The derivative of E[φ] in the weight of sample i is β·BIF (checked by finite differences in
    `tests/truth/test_influence.py`). Source: arXiv 2509.26544.

    Args:
        tree: a run that followed both subsets and kept their covariance.
        train: name of the subset of training samples.
        query: name of the subset of queries.

    Raises:
        StoreError: their covariance was not kept.
        DataError: no query's loss moved at all.
    """
    cov = covariance(tree, query, train)
    rows, columns = variance(tree, query), variance(tree, train)
    check_moved(rows, "query")
    beta = float(tree.attrs["nbeta"]) / float(tree.attrs["n"])
    own = {"query": tree[f"subsets/{query}"].dataset, "train": tree[f"subsets/{train}"].dataset}
    named = {f"{side}_{what}": (side, own[side][what].values) for side in own for what in ("item", "token")}
    dataset = xr.Dataset(
        {
            "bif": (("query", "train"), -cov),
            "bif_se": (("query", "train"), standard_error(tree, query, train)),
            "bif_normalised": (("query", "train"), -correlation(cov, rows, columns)),
            "per_weight": (("query", "train"), -beta * cov),
            "self_influence": ("train", -columns),
        },
        coords=named,
        attrs={"sign": SIGN, "estimand": "-Cov(l_train, l_query), squared nats"},
    )
    known = reliability(tree, of_covariance(tree, query, train), row_variance=rows, what="queries")
    halves = {"reliability_over_chains": known.over_chains, "reliability_over_draws": known.over_draws}
    whole = dataset.assign({name: ("query", rows) for name, rows in halves.items()})
    return Influence(whole, known, tree, train, query)


def normalised_reliability(found: Influence, train: str = "train", query: str = "query") -> Reliability:
    """How far the rows of the normalised influence reproduce: a covariance's are ruled by the losses that move most."""
    rows = variance(found.tree, query)
    return reliability(found.tree, of_correlation(found.tree, query, train), row_variance=rows, what="queries")


def _check_row(query: int, rows: int) -> None:
    if not -rows <= query < rows:
        raise InputError(message(expected=f"a query from 0 to {rows - 1}", got=str(query), do="name one of them"))


def check_moved(variances: Float[ndarray, " row"], what: str) -> None:
    """Refuses rows none of which moved.

    Raises:
        DataError: every variance is 0.
    """
    if not (variances > 0).any():
        raise DataError(
            message(
                expected=f"losses of {what} that vary over the draws",
                got="variance 0 in every row",
                do="check that the weights that move reach this loss, or draw with a larger step",
            )
        )
