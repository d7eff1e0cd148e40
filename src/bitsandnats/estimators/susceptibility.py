"""Susceptibilities: how each component's share of the loss responds to a shift of the data towards a probe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import InputError, StoreError, message
from bitsandnats.estimators.bif import check_moved
from bitsandnats.estimators.covariance import chain_sums, moments_of
from bitsandnats.estimators.reliability import Reliability, reliability
from bitsandnats.estimators.verdict import Verdict


class Components(NamedTuple):
    """Principal components of a response matrix.

    Attributes:
        loadings: of the network's components.
        scores: of the probe's columns.
        explained: share of the variance.
    """

    loadings: Float[ndarray, "component pc"]
    scores: Float[ndarray, "column pc"]
    explained: Float[ndarray, " pc"]


@dataclass(frozen=True)
class Susceptibility:
    """Responses of components to probes.

    Attributes:
        dataset: `susceptibility` (component, column), squared nats, of every item or token of the probes, with
            `susceptibility_se`; `response` (component, probe), of each probe as a whole, with `response_se`; `phi`, the
            mean rise of L in each component's own chains; `shift` (column), the mean rise of ℓ − L in the chains of the
            whole network, which every component's χ/φ has in common. Coordinates: probe, item, token and weight of each
            column.
        reliability: how far the rows reproduce.
        tree: the run.
    """

    dataset: xr.Dataset
    reliability: Reliability
    tree: xr.DataTree

    @property
    def susceptibility(self) -> Float[ndarray, "component column"]:
        """χ of every column, squared nats."""
        return self.dataset["susceptibility"].values

    @property
    def response(self) -> Float[ndarray, "component probe"]:
        """χ of every probe as a whole, squared nats."""
        return self.dataset["response"].values

    @property
    def verdict(self) -> Verdict:
        """May the matrix be used?"""
        return self.reliability.verdict

    def standardised(self) -> Float[ndarray, "component column"]:
        """Each component's responses less their mean, over their s.d.: χ is right up to a factor a component."""
        chi = self.susceptibility
        away = chi - chi.mean(1, keepdims=True)
        spread = away.std(1, keepdims=True)
        return np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)

    def specific(self) -> Float[ndarray, "component column"]:
        r"""What components do not have in common, per rise of L: $(\chi/\langle\phi\rangle-shift)/\langle\phi\rangle$.

        That is $-Cov_C(L,\ell-L)/\langle\phi\rangle^2-\langle\Delta(\ell-L)\rangle_C/\langle\phi\rangle$, from the
        component's own chains alone. −k where what moves the component raises the loss k times as much beyond the
        mean loss; one and the same positive number wherever it changes nothing. Checked in
        `tests/truth/test_susceptibility.py`.
        """
        phi = self.dataset["phi"].values[:, None]
        return (self.susceptibility / phi - self.dataset["shift"].values) / phi

    def principal(self, rank: int = 2) -> Components:
        """Principal components of the standardised responses, columns as observations.

        Raises:
            InputError: there are fewer components or columns than that.
        """
        matrix = self.standardised().T
        most = min(matrix.shape)
        if not 1 <= rank <= most:
            raise InputError(
                message(
                    expected=f"a rank from 1 to {most}, the smaller of components and columns",
                    got=str(rank),
                    do="name more components or longer probes",
                )
            )
        left, size, right = np.linalg.svd(matrix, full_matrices=False)
        share = size**2 / max(float((size**2).sum()), 1e-300)
        return Components(right[:rank].T, left[:, :rank] * size[:rank], share[:rank])

    def top(self, component: str, count: int = 10) -> list[tuple[str, int, int, float]]:
        """The columns to which a component responds most, in either direction: (probe, item, token, χ standardised).

        Raises:
            InputError: no such component in the run.
        """
        names = [str(name) for name in self.dataset["component"].values]
        if component not in names:
            raise InputError(
                message(expected=f"a component among {', '.join(names)}", got=repr(component), do="name one of them")
            )
        row, data = self.standardised()[names.index(component)], self.dataset
        order = np.argsort(-np.abs(row))[:count]
        columns = (data["column_probe"].values, data["column_item"].values, data["column_token"].values)
        return [(str(columns[0][i]), int(columns[1][i]), int(columns[2][i]), float(row[i])) for i in order]

    def __str__(self) -> str:
        components, columns = self.susceptibility.shape
        return f"susceptibilities of {components} components to {columns} losses  {self.reliability}"


def susceptibility(tree: xr.DataTree, probes: Sequence[str], reference: str = "train") -> Susceptibility:
    r"""Two-chain estimate of $\chi^C_{xy}=-Cov[\phi_C,\ \ell_{xy}-L]$, φ_C the rise of L where only C moves.

    $\hat\chi=-\{Cov_C(L,\ell_{xy}-L)+\langle\phi\rangle_C[\langle\ell_{xy}-L\rangle_C-\langle\ell_{xy}-L\rangle_{full}]\}$
    from chains in which only the component moves and chains of the whole network. Source: arXiv 2504.18274. Checked in
    `tests/truth/test_susceptibility.py`.

    Args:
        tree: a run with components.
        probes: subsets that the data are shifted to.
        reference: subset whose mean loss stands for L.

    Raises:
        StoreError: the run has no components, or follows no such subset.
        DataError: no component's chains moved the loss.
    """
    alone = component_trees(tree)
    kept = moments_of(tree)
    for name in (reference, *probes):
        if f"mean_{name}" not in kept:
            raise StoreError(
                message(expected=f"a run that follows {name}", got="one that does not", do="name it as a subset")
            )
    columns = _columns(tree, probes)
    parts = [_by_chain(tree, part, probes, reference, None, None) for part in alone]
    per_chain, phi = np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])  # component, chain, column
    spread = np.array([float(np.mean([_loss_variance(part, reference)])) for part in alone])
    check_moved(spread, "components")

    def matrix(chains: Sequence[int] | None, blocks: Sequence[int] | None) -> ndarray:
        return np.stack([_by_chain(tree, p, probes, reference, chains, blocks)[0].mean(0) for p in alone])

    weights = np.stack([_share(columns, name) for name in probes])  # probe, column
    response = np.einsum("kcj,pj->kcp", per_chain, weights)
    names = [str(part.attrs["component"]) for part in alone]
    dataset = xr.Dataset(
        {
            "susceptibility": (("component", "column"), per_chain.mean(1)),
            "susceptibility_se": (("component", "column"), _se(per_chain)),
            "response": (("component", "probe"), response.mean(1)),
            "response_se": (("component", "probe"), _se(response)),
            "phi": ("component", phi.mean(1)),
            "shift": ("column", _full_shift(tree, probes, reference)),
        },
        coords={
            "component": names,
            "probe": list(probes),
            **{f"column_{k}": ("column", v) for k, v in columns.items()},
        },
    )
    known = reliability(tree, matrix, row_variance=spread, what="components")
    halves = {"reliability_over_chains": known.over_chains, "reliability_over_draws": known.over_draws}
    return Susceptibility(dataset.assign({n: ("component", rows) for n, rows in halves.items()}), known, tree)


def component_trees(tree: xr.DataTree) -> list[xr.DataTree]:
    """The runs in which one component moved, in order.

    Raises:
        StoreError: there are none.
    """
    found = [tree.children[f"component{i}"] for i in range(len(tree.children)) if f"component{i}" in tree.children]
    if not found:
        raise StoreError(
            message(expected="a run with components", got="none", do="name components when the run is made")
        )
    return found


def _by_chain(
    tree: xr.DataTree,
    alone: xr.DataTree,
    probes: Sequence[str],
    reference: str,
    chains: Sequence[int] | None,
    blocks: Sequence[int] | None,
) -> tuple[Float[ndarray, "chain column"], Float[ndarray, " chain"]]:
    """χ from each chain of the component with the chain of the same number of the whole, and ⟨φ⟩."""
    kept, full = moments_of(alone), moments_of(tree)
    place = [str(s) for s in kept["subset"].values].index(reference)
    center = tree[f"subsets/{reference}"].dataset
    rest = float(center["center_loss"].sum() / center["weight"].sum())
    pick = slice(None) if chains is None else list(chains)
    share = kept[f"share_{reference}"].values
    own, whole = (_chain_mean(m, reference, blocks)[pick] @ share for m in (kept, full))
    phi = own - rest
    found = []
    for name in probes:
        sums, count = chain_sums(alone, "loss", name, blocks=blocks)
        units = tree[f"subsets/{name}"].dataset["weight"].values
        joint = (sums[:, place] / np.maximum(count - 1, 1)[:, None])[pick] / units
        base = chain_sums(alone, "loss", reference, blocks=blocks)[0][:, place] @ share / np.maximum(count - 1, 1)
        there, here = (_chain_mean(m, name, blocks)[pick] / units for m in (kept, full))
        shift = (there - own[:, None]) - (here - whole[:, None]).mean(0)
        found.append(-(joint - base[pick][:, None] + phi[:, None] * shift))
    return np.concatenate(found, 1), phi


def _full_shift(tree: xr.DataTree, probes: Sequence[str], reference: str) -> Float[ndarray, " column"]:
    """Mean rise of each column's ℓ − L above its value at w*, over the chains of the whole network."""
    kept = moments_of(tree)

    def rise(name: str) -> tuple[ndarray, ndarray]:
        own = tree[f"subsets/{name}"].dataset
        return _chain_mean(kept, name, None).mean(0) - own["center_loss"].values, own["weight"].values

    total, units = rise(reference)
    each = [change / weight for change, weight in map(rise, probes)]
    return np.concatenate(each) - total.sum() / units.sum()


def _chain_mean(kept: xr.Dataset, name: str, blocks: Sequence[int] | None) -> Float[ndarray, "chain column"]:
    chosen = slice(None) if blocks is None else list(blocks)
    count, mean = kept["count"].values[:, chosen], kept[f"mean_{name}"].values[:, chosen]
    return (count[..., None] * mean).sum(1) / count.sum(1)[:, None]


def _loss_variance(alone: xr.DataTree, reference: str) -> float:
    kept = moments_of(alone)
    place = [str(s) for s in kept["subset"].values].index(reference)
    sums, count = chain_sums(alone, "loss", reference)
    return float((sums[:, place] @ kept[f"share_{reference}"].values).sum() / max((count - 1).sum(), 1))


def _columns(tree: xr.DataTree, probes: Sequence[str]) -> dict[str, ndarray]:
    own = [tree[f"subsets/{name}"].dataset for name in probes]
    found = {key: np.concatenate([d[key].values for d in own]) for key in ("item", "token", "weight")}
    named = [np.full(d.sizes["column"], name, dtype=object) for name, d in zip(probes, own, strict=True)]
    return {"probe": np.concatenate(named).astype(str), **found}


def _share(columns: dict[str, ndarray], probe: str) -> Float[ndarray, " column"]:
    own = np.where(columns["probe"] == probe, columns["weight"], 0.0)
    return own / own.sum()


def _se(per_chain: Float[ndarray, "component chain column"]) -> Float[ndarray, "component column"]:
    chains = per_chain.shape[1]
    return per_chain.std(1, ddof=1) / chains**0.5 if chains > 1 else np.full(per_chain[:, 0].shape, np.nan)
