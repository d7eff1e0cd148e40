"""Susceptibilities: how each component's share of the loss responds to a shift of the data towards a probe."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.errors import InputError, StoreError, message
from bitsandnats.estimators.bif import check_moved
from bitsandnats.estimators.covariance import chain_sums, moments_of
from bitsandnats.estimators.reliability import Reliability, reliability
from bitsandnats.estimators.response_components import (
    Components,
    independent_components,
    principal_components,
    standardised,
)
from bitsandnats.estimators.verdict import Verdict


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
        return standardised(self.susceptibility)

    def specific(self) -> Float[ndarray, "component column"]:
        r"""What components do not have in common, per rise of L: $(\chi/\langle\phi\rangle-shift)/\langle\phi\rangle$.

        That is $-Cov_C(L,\ell-L)/\langle\phi\rangle^2-\langle\Delta(\ell-L)\rangle_C/\langle\phi\rangle$, from the
        component's own chains alone. −k where what moves the component raises the loss k times as much beyond the
        mean loss; one and the same positive number wherever it changes nothing. Checked in
        `tests/truth/test_susceptibility.py`.
        """
        return _specific(self.susceptibility, self.dataset["phi"].values, self.dataset["shift"].values)

    def specific_reliability(self) -> Reliability:
        """How far the rows of `specific()` reproduce, as `reliability` says of χ."""
        reference = str(self.dataset.attrs["reference"])
        probes, alone = [str(p) for p in self.dataset["probe"].values], component_trees(self.tree)

        def matrix(chains: Sequence[int] | None, blocks: Sequence[int] | None) -> ndarray:
            shift = _full_shift(self.tree, probes, reference, chains, blocks)
            parts = [_by_chain(self.tree, part, probes, reference, chains, blocks) for part in alone]
            return _specific(np.stack([p[0].mean(0) for p in parts]), np.array([p[1].mean() for p in parts]), shift)

        spread = np.array([_loss_variance(part, reference) for part in alone])
        return reliability(self.tree, matrix, row_variance=spread, what="components")

    def principal(self, rank: int = 2) -> Components:
        """Principal components of the standardised responses, columns as observations.

        Raises:
            InputError: there are fewer components or columns than that.
        """
        return principal_components(self.susceptibility, rank)

    def independent(self, rank: int = 2, *, seed: int = 0) -> Components:
        """Independent components of the standardised responses, columns as observations (FastICA).

        Args:
            rank: how many.
            seed: of the rotation that it starts from.

        Raises:
            InputError: there are fewer components or columns than that, or scikit-learn is not installed.
            DataError: none are found.
        """
        return independent_components(self.susceptibility, rank, seed=seed)

    def leading(self, found: Components, place: int, count: int = 10) -> list[tuple[str, int, int, float]]:
        """The columns with the largest scores on a statistical component: (probe, item, token, score).

        Args:
            found: from `principal` or `independent`.
            place: which of them, from 0 on.
            count: columns.

        Raises:
            InputError: there is no such component.
        """
        most = found.scores.shape[1]
        if not 0 <= place < most:
            raise InputError(message(expected=f"a place from 0 to {most - 1}", got=str(place), do="ask for more"))
        return self._columns(found.scores[:, place], count)

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
        return self._columns(self.standardised()[names.index(component)], count)

    def _columns(self, values: Float[ndarray, " column"], count: int) -> list[tuple[str, int, int, float]]:
        """The columns where something is largest, in either direction."""
        data, order = self.dataset, np.argsort(-np.abs(values))[:count]
        columns = (data["column_probe"].values, data["column_item"].values, data["column_token"].values)
        return [(str(columns[0][i]), int(columns[1][i]), int(columns[2][i]), float(values[i])) for i in order]

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
            "shift": ("column", _full_shift(tree, probes, reference, None, None)),
        },
        coords={
            "component": names,
            "probe": list(probes),
            **{f"column_{k}": ("column", v) for k, v in columns.items()},
        },
        attrs={"reference": reference},
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


def _specific(
    chi: Float[ndarray, "component column"], phi: Float[ndarray, " component"], shift: Float[ndarray, " column"]
) -> Float[ndarray, "component column"]:
    """(χ/φ − shift)/φ; 0 for components that stand still."""
    moved = np.where(phi == 0, 1.0, phi)[:, None]
    return np.where(phi[:, None] == 0, 0.0, (chi / moved - shift) / moved)


def _full_shift(
    tree: xr.DataTree,
    probes: Sequence[str],
    reference: str,
    chains: Sequence[int] | None,
    blocks: Sequence[int] | None,
) -> Float[ndarray, " column"]:
    """Mean rise of each column's ℓ − L above its value at w*, over the chains of the whole network."""
    kept = moments_of(tree)
    pick = slice(None) if chains is None else list(chains)

    def rise(name: str) -> tuple[ndarray, ndarray]:
        own = tree[f"subsets/{name}"].dataset
        return _chain_mean(kept, name, blocks)[pick].mean(0) - own["center_loss"].values, own["weight"].values

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
