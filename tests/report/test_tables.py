import numpy as np
import xarray as xr

from bitsandnats.errors import StoreError
from bitsandnats.report import tables


class Stub:
    """A run of which one measurement can be read."""

    def __init__(self, summary, trees):
        self._summary, self._trees = summary, trees

    def summary(self):
        return self._summary

    def tree(self, label, measurement):
        if (label, measurement) not in self._trees:
            raise StoreError("expected a finished unit, got none; run it again")
        return self._trees[label, measurement]


def llc_tree(*, draws, burn_in, baseline=True):
    def part(count):
        data = xr.Dataset({"loss": (("chain", "draw"), np.full((2, count), 3.25))})
        return data.assign(baseline=data["loss"] - 0.25) if baseline else data

    tree = xr.DataTree(xr.Dataset(attrs={"nbeta": 3000.0, "center_loss": 3.0}))
    tree["draws"], tree["burn_in"] = xr.DataTree(part(draws)), xr.DataTree(part(burn_in))
    return tree


def test_traces_are_thinned_paired_and_count_burn_in_backwards(summary):
    row = tables.checkpoint_rows(summary)[3]
    rows = tables.trace_rows(llc_tree(draws=1000, burn_in=300), row)
    assert len(rows) <= 2 * (tables.POINTS_PER_CHAIN + 2)
    assert {r["chain"] for r in rows} == {1, 2}
    assert min(r["draw"] for r in rows) == -300
    assert all((r["draw"] < 0) == (r["part"] == "burn_in") for r in rows)
    assert {r["value"] for r in rows} == {0.25}
    assert rows[0]["noise"] == row["noise_only"] / 3000


def test_traces_without_baseline_show_the_raw_loss(summary):
    rows = tables.trace_rows(llc_tree(draws=10, burn_in=0, baseline=False), tables.checkpoint_rows(summary)[3])
    assert {r["value"] for r in rows} == {3.25}
    assert {r["center"] for r in rows} == {3.0}
    assert rows[0]["noise"] is None
    assert rows[0]["mean"] is None


def test_a_diverged_chain_ends_where_it_has_no_number(summary):
    tree = llc_tree(draws=10, burn_in=0)
    tree["draws"]["loss"].values[0, 4:] = np.nan
    rows = tables.trace_rows(tree, tables.checkpoint_rows(summary)[3])
    assert [r["value"] is None for r in rows if r["chain"] == 1] == [False] * 4 + [True] * 6
    assert all(r["value"] is not None for r in rows if r["chain"] == 2)


def test_what_cannot_be_read_is_named(summary):
    summary["checkpoints"] = summary["checkpoints"][3:5]
    found = tables.read(Stub(summary, {("step128", "llc"): llc_tree(draws=10, burn_in=5)}))
    assert found.missing == ["step128/quantize", "step192/llc", "step192/quantize"]
    assert {r["label"] for r in found.traces} == {"step128"}


def test_short_labels_stay_distinct():
    def short(*pairs):
        return tables.short_labels([{"label": label, "step": step} for label, step in pairs])

    assert short(("step64", 64), ("step90000", 90000)) == ["64", "90k"]
    assert short(("a", 90040), ("b", 90000)) == ["90040", "90000"]
    assert short(("a", None), ("b", 3)) == ["a", "b"]
    assert short(("EleutherAI/pythia-70m@step2000", None), ("x", None)) == ["Eleuth…@step2000", "x"]
    twins = (("organisation/model-1-long-variant", None), ("organisation/model-2-long-variant", None))
    assert short(*twins) == [label for label, _ in twins]


def test_the_main_tolerance():
    assert tables.main_tolerance({"tolerances": [0.1, 0.3, 0.5, 1.0]}) == 0.5
    assert tables.main_tolerance({"tolerances": [0.1, 0.2, 0.4]}) == 0.2
    assert tables.main_tolerance({"tolerances": []}) is None


def test_fits_by_the_rule_unless_too_few_points_are_left(summary):
    def fit(subset, points, r2):
        return summary["fits"][0] | {"subset": subset, "points": points, "r2": r2}

    few, many, wide = fit("rule", 3, 0.9), fit("rule", 5, 0.8), fit("all", 7, 0.7)
    assert tables.chosen_fits({"fits": [few, wide]}) == [wide]
    assert tables.chosen_fits({"fits": [wide, many]}) == [many]
    assert tables.chosen_fits({"fits": [few]}) == [few]
    assert tables.chosen_fits({}) == []
    assert len(tables.chosen_fits(summary)) == len(summary["fits"])
