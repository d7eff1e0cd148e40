"""The study's tables: LDS of every method on every network, settings chosen elsewhere; aims; small subsets."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from bitsandnats.estimators.retraining import Interval, over_queries, rank_agreement, repeat_reliability
from bitsandnats.experiments.chains import Chain
from bitsandnats.experiments.influence_retraining.plan import AIM, EXACT, FORMS, METHODS, Plan

Row = dict[str, Any]
"""One line of a table: plain strings, numbers, booleans or None."""

_LEFT_OUT = "leave one out"


class Scored(NamedTuple):
    """One method on one network: rank correlation of each query, by fraction (or leave-one-out) and form.

    Attributes:
        setting: chosen.
        queries: correlations.
        seconds: the setting took.
    """

    setting: str
    queries: Float[ndarray, " query"]
    seconds: float


class Truth(NamedTuple):
    """Retrained losses of one data set: those for choosing and those that are scored, [subset, query], by fraction."""

    choosing: dict[float, Float[ndarray, "subset query"]]
    scored: dict[float, Float[ndarray, "subset query"]]


def truth_of(plan: Plan, rows: Sequence[Row], data: str) -> Truth | None:
    """What retraining gave, mean over repeats; None until it is known at all fractions.

    Args:
        plan: of the run.
        rows: of finished units.
        data: which images.
    """
    own = {r["fraction"]: r["data"] for r in rows if r["set"] == data and r["kind"] == "retraining" and not r["failed"]}
    if len(own) < len(plan.fractions):
        return None
    means = {fraction: own[fraction]["losses"].values.mean(0) for fraction in plan.fractions}
    cut = plan.sizes.choosing
    return Truth({f: m[:cut] for f, m in means.items()}, {f: m[cut:] for f, m in means.items()})


class Candidates(NamedTuple):
    """Every method at every setting on one network.

    Attributes:
        listed: method, setting and seconds of each.
        predicted: [candidate, form, subset, query] by fraction, the subsets for choosing first.
        left_out: [candidate, form, item, query].
    """

    listed: list[Row]
    predicted: dict[float, Float[ndarray, "candidate form subset query"]]
    left_out: Float[ndarray, "candidate form item query"]


def candidates_of(plan: Plan, rows: Sequence[Row], data: str, model: int, chains: Sequence[Chain]) -> Candidates | None:
    """What is known of one network; None until chains and all else are there.

    Args:
        plan: of the run.
        rows: of finished units.
        data: which images.
        model: which network.
        chains: settings that count.
    """
    wanted = [chain._asdict() for chain in chains]
    own = [r for r in rows if r["set"] == data and r["model"] == model and not r["failed"]]
    parts = [r["data"] for r in own if r["kind"] == "attribution"]
    parts += [r["data"] for r in own if r["kind"] == "chains" and r["chain"] in wanted]
    if len(parts) < 1 + len(wanted) or not wanted:
        return None
    listed = [one for part in parts for one in json.loads(part.attrs["candidates"])]
    predicted = {
        fraction: np.concatenate([part[f"predicted{k}"].values for part in parts]).astype(np.float64)
        for k, fraction in enumerate(plan.fractions)
    }
    return Candidates(listed, predicted, np.concatenate([part["left_out"].values for part in parts]).astype(np.float64))


def chain_rows(plan: Plan, rows: Sequence[Row], data: str) -> list[Row]:
    """Every setting of the chains on the first network, by the subsets for choosing; whether it was chosen.

    Args:
        plan: of the run.
        rows: of finished units.
        data: which images.
    """
    truth = truth_of(plan, rows, data)
    own = [r for r in rows if r["set"] == data and r["kind"] == "chains" and r["model"] == 0 and not r["failed"]]
    if truth is None:
        return []
    listed: list[Row] = []
    for row in own:
        means = {}
        for k, fraction in enumerate(plan.fractions):
            values = row["data"][f"predicted{k}"].values[0, :, : plan.sizes.choosing].astype(np.float64)
            for j, form in enumerate(FORMS):
                means[f"{form} {fraction:g}"] = float(rank_agreement(values[j], truth.choosing[fraction]).mean())
        listed.append({"set": data, **row["chain"], **means, **json.loads(row["data"].attrs["facts"])})
    best = [max(listed, key=lambda row, f=f: row[f"raw {f:g}"]) for f in plan.fractions] if listed else []
    return [{**row, "chosen": any(row is one for one in best)} for row in listed]


def chosen_chains(plan: Plan, rows: Sequence[Row], data: str) -> list[Chain]:
    """The settings that are best on the first network, one a fraction; each once."""
    return [Chain(row["nbeta"], row["ratio"], row["decay"]) for row in chain_rows(plan, rows, data) if row["chosen"]]


def scored_network(
    plan: Plan, own: Candidates, truth: Truth, left_out: xr.Dataset | None
) -> dict[tuple[str, str, str], Scored]:
    """Rank correlations by (method, fraction or leave-one-out, form), each at the setting chosen for it.

    Args:
        plan: of the run.
        own: what is known of the network.
        truth: of its data.
        left_out: changes where one item is left out; None = not known.
    """
    cut, found = plan.sizes.choosing, {}
    for method in METHODS:
        places = [i for i, one in enumerate(own.listed) if one["method"] == method]
        for j, form in enumerate(FORMS):
            best: dict[float, int] = {}
            for fraction in plan.fractions:
                before = [rank_agreement(own.predicted[fraction][i, j, :cut], truth.choosing[fraction]) for i in places]
                best[fraction] = places[int(np.argmax([each.mean() for each in before]))]
                each = rank_agreement(own.predicted[fraction][best[fraction], j, cut:], truth.scored[fraction])
                found[method, f"{fraction:g}", form] = _scored(own.listed[best[fraction]], each)
            if left_out is not None:  # at the setting of the largest fraction
                at = best[max(plan.fractions)]
                each = rank_agreement(own.left_out[at, j], left_out["changes"].values)
                found[method, _LEFT_OUT, form] = _scored(own.listed[at], each)
    return found


def _scored(candidate: Row, queries: Float[ndarray, " query"]) -> Scored:
    return Scored(candidate["setting"], queries, candidate["seconds"])


def network_rows(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    """One row a network, truth and form: every method's LDS with its interval, and BIF against the baselines.

    Args:
        plan: of the run.
        rows: of finished units.
    """
    listed = []
    for data in plan.data:
        truth = truth_of(plan, rows, data)
        alone = {
            r["model"]: r["data"] for r in rows if r["set"] == data and r["kind"] == "left_out" and not r["failed"]
        }
        chains = chosen_chains(plan, rows, data)
        for model in range(plan.models) if truth is not None else ():
            assert truth is not None
            own = candidates_of(plan, rows, data, model, chains)
            if own is None:
                continue
            scored = scored_network(plan, own, truth, alone.get(model))
            kinds = (*(f"{f:g}" for f in plan.fractions), _LEFT_OUT)
            known = [(what, form) for what in kinds for form in FORMS if ("bif", what, form) in scored]
            listed += [_network_row(data, model, what, form, scored) for what, form in known]
    return listed


def _network_row(data: str, model: int, what: str, form: str, scored: dict[tuple[str, str, str], Scored]) -> Row:
    cells = {}
    for method in METHODS:
        one = scored[method, what, form]
        cells[method] = {**_interval(one.queries), "setting": one.setting, "seconds": one.seconds}
    best = max(EXACT, key=lambda name: cells[name]["value"])
    own = scored["bif", what, form].queries
    against = {name: scored[name, what, form].queries for name in ("trak", "gradsim", "noise")}
    row: Row = {"set": data, "model": model, "what": what, "form": form, "methods": cells, "best_exact": best}
    exact = scored[best, what, form].queries
    row["ratio"] = _ratio(own, exact)
    row["difference"] = _interval(own - exact)
    row["above"] = {name: _interval(own - other) for name, other in against.items()}
    return row


def _interval(queries: Float[ndarray, " query"]) -> dict[str, float]:
    return over_queries(lambda chosen: float(queries[chosen].mean()), len(queries))._asdict()


def _ratio(own: Float[ndarray, " query"], other: Float[ndarray, " query"]) -> dict[str, float] | None:
    if other.mean() <= 0:
        return None
    found: Interval = over_queries(lambda chosen: float(own[chosen].mean() / max(other[chosen].mean(), 1e-9)), len(own))
    return found._asdict()


def data_rows(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    """One row a data set and fraction: how far the retrained losses themselves reproduce.

    Args:
        plan: of the run.
        rows: of finished units.
    """
    listed = []
    for row in rows:
        if row["kind"] == "retraining" and not row["failed"]:
            losses = row["data"]["losses"].values[:, plan.sizes.choosing :]
            listed.append(
                {
                    "set": row["set"],
                    "fraction": row["fraction"],
                    "items": round(row["fraction"] * plan.train_items(row["set"])),
                    "networks": losses.shape[0] * plan.sizes.subsets,
                    "reliability": repeat_reliability(losses),
                    "query_loss": float(losses.mean()),
                    "train_loss": float(row["data"].attrs["train_loss"]),
                    "seconds": float(row["data"].attrs["seconds"]),
                }
            )
    return sorted(listed, key=lambda r: (plan.data.index(r["set"]), -r["fraction"]))


def model_rows(rows: Sequence[Row]) -> list[Row]:
    """One row a network that attributions were made at: losses and accuracy."""
    found = [r for r in rows if r["kind"] == "attribution" and not r["failed"]]
    return [{"set": r["set"], "model": r["model"], **json.loads(r["data"].attrs["facts"])} for r in found]


def run_rows(rows: Sequence[Row]) -> list[Row]:
    """One row a network and setting of the chains: how they were run, and how well their matrix reproduces."""
    found = [r for r in rows if r["kind"] == "chains" and not r["failed"]]
    return [
        {
            "set": r["set"],
            "model": r["model"],
            **r["chain"],
            **json.loads(r["data"].attrs["facts"]),
            "seconds": json.loads(r["data"].attrs["candidates"])[0]["seconds"],
        }
        for r in found
    ]


def aim_rows(networks: Sequence[Row]) -> list[Row]:
    """What was to be reached, network by network; raw."""
    listed = []
    for row in networks:
        if row["form"] != "raw" or row["what"] == _LEFT_OUT:
            continue
        place = {"set": row["set"], "model": row["model"], "what": row["what"]}
        if row["what"] == "0.5":
            value = None if row["ratio"] is None else row["ratio"]["value"]
            aim = {"aim": f"BIF / better exact damped ≥ {AIM:g}", "value": value, "interval": row["ratio"]}
            listed.append({**place, **aim, "met": value is not None and value >= AIM})
        for name in ("trak", "gradsim"):
            found = row["above"][name]
            aim = {"aim": f"BIF − {METHODS[name]} > 0", "value": found["value"], "interval": found}
            listed.append({**place, **aim, "met": found["value"] > 0})
    return listed


def mean_rows(networks: Sequence[Row]) -> list[Row]:
    """One row a data set, truth and form: each method's mean over networks, with the least and the largest."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in networks:
        groups.setdefault((row["set"], row["what"], row["form"]), []).append(row)
    listed = []
    for (data, what, form), own in groups.items():
        cells = {}
        for method in METHODS:
            values = [row["methods"][method]["value"] for row in own]
            cells[method] = {"mean": float(np.mean(values)), "least": min(values), "most": max(values)}
        listed.append({"set": data, "what": what, "form": form, "networks": len(own), "methods": cells})
    return listed
