"""critical_point: the most severe level within the tolerance, as an exhaustive scan finds it, and the crossing."""

import itertools
import math
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.compressors.types import Levels
from bitsandnats.critical import critical_points
from bitsandnats.critical.sweep import CERTAIN, Sweep
from bitsandnats.errors import InputError, ModelError
from bitsandnats.task import Task

TOLERANCES = [0.01, 0.03, 0.1, 0.3, 0.5, 1.0]


@dataclass(frozen=True)
class Curve:
    """A compressor with a prescribed ΔL at each level: it moves a bias so that the loss rises by just that."""

    values: dict[int, float]
    seen: list[int] = field(default_factory=list)

    scheme: str = "curve"

    def prepare(self, task, seed=0):
        return PreparedCurve(task, self.values, self.seen, Levels("integer", tuple(self.values), "level"))


@dataclass(frozen=True)
class PreparedCurve:
    task: Task
    values: dict[int, float]
    seen: list[int]
    levels: Levels
    draws: int = 1

    def compress(self, level, draw=0):
        self.seen.append(level)
        return {"w": torch.full_like(self.task.center["w"], self.values[level])}

    def bits(self, level):
        return 10.0 * level

    def details(self, level):
        return {"twice": 2.0 * level}


class Level(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self):
        return self.w


@pytest.fixture
def level_task():
    """The loss of item i is i + w: ΔL is w itself."""
    data = torch.arange(5, dtype=torch.float64)
    return bn.Task.from_module(Level(), lambda model, batch: batch + model(), data)


def exhaustive(values, tolerance):
    return next((level for level in sorted(values) if values[level] <= tolerance), None)


def run(values, tolerances, task):
    compressor = Curve(values)
    found = critical_points(compressor, task, tolerances)
    assert len(compressor.seen) == len(set(compressor.seen)), "a level was compressed twice"
    return found, compressor.seen


# --- real networks against all 127 levels


@pytest.mark.parametrize(
    ("which", "scheme"),
    [
        *[(which, "largest") for which in ("digits200", "digits50", "digits10", "waves400", "waves60")],
        *[(which, "optimal") for which in ("digits100", "waves150")],
    ],
)
def test_exhaustive_scan_of_all_levels(which, scheme, digit_snapshots, digits, wave_snapshots, waves):
    """Exact where the curve crosses the tolerance once, from at most 14 levels where it falls; else not monotone."""
    step = re.sub(r"\D", "", which)
    if which.startswith("digits"):
        task = bn.Task.from_module(digit_snapshots[f"step{step}"], bn.losses.cross_entropy(), digits["held_out"])
    else:
        task = bn.Task.from_module(wave_snapshots[f"step{step}"], bn.losses.gaussian(0.3), waves)
    compressor = bn.compressors.quantize(scheme)
    prepared = compressor.prepare(task)
    assert prepared.levels.values == tuple(range(4, 257, 2))
    center = task.all_item_losses(task.center).double()
    excess = {
        level: float((task.all_item_losses(prepared.compress(level)).double() - center).mean())
        for level in prepared.levels.values
    }
    for tolerance in TOLERANCES:
        point = bn.critical_point(compressor, task, tolerance=tolerance)
        true = exhaustive(excess, tolerance)
        once = all((value <= tolerance) == (level >= true) for level, value in excess.items())
        assert point.level == true or not (once or point.monotone), tolerance
        if once and all(a >= b for a, b in itertools.pairwise(v for level, v in excess.items() if level <= true)):
            assert point.curve.sizes["level"] <= 14
        assert point.excess_loss == pytest.approx(excess[point.level], abs=1e-6)
        assert point.censored == (point.level == 4)
        assert point.bits == prepared.bits(point.level)
        assert point.bits_per_parameter == pytest.approx(math.log2(point.level))
        for level, value, items in zip(
            *(point.curve[k].values for k in ("level", "excess_loss", "items")), strict=True
        ):
            if items == len(task.data):
                assert value == pytest.approx(excess[int(level)], abs=1e-6)


# --- hand-made curves


def smooth(levels=range(4, 257, 2)):
    return {level: 40.0 / level**1.5 for level in levels}


@pytest.mark.parametrize("tolerance", [0.0105, 0.02, 0.05, 0.1, 0.5, 1.0, 2.0])
def test_monotone_curve(tolerance, level_task):
    values = smooth()
    (found,), seen = run(values, [tolerance], level_task)
    assert found.level == exhaustive(values, tolerance)
    assert found.monotone
    assert not found.censored
    assert found.excess_loss == pytest.approx(values[found.level])
    assert found.excess_loss_se == pytest.approx(0, abs=1e-12)  # ΔL is the same for every item
    assert found.bits == 10.0 * found.level
    assert len(seen) <= 14
    # the crossing, by hand: a straight line between the level found and the one below it
    low = found.level - 2
    share = (values[low] - tolerance) / (values[low] - values[found.level])
    assert found.crossing == pytest.approx(low + 2 * share)
    assert low < found.crossing <= found.level
    assert found.interval[0] <= found.crossing <= found.interval[1]
    assert np.array_equal(found.curve["twice"].values, 2.0 * found.curve["level"].values)


@pytest.mark.parametrize("seed", range(20))
def test_any_monotone_curve(seed, level_task):
    """Steps and plateaus included, at any place, the answer is exact."""
    random = np.random.default_rng(seed)
    jumps = random.exponential(size=127) * (random.random(127) < random.choice([0.05, 0.3, 1.0]))
    values = dict(zip(range(4, 257, 2), (0.02 + jumps[::-1].cumsum()[::-1]).tolist(), strict=True))
    for tolerance in (0.05, 0.3, 1.0, 5.0):
        (found,), seen = run(values, [tolerance], level_task)
        assert found.level == exhaustive(values, tolerance)
        assert found.monotone
        assert len(seen) <= 22  # interpolation and halving in turn cannot be misled for long


def test_number_of_levels_is_modest(level_task):
    _, seen = run(smooth(), [0.1, 0.3, 0.5, 1.0], level_task)
    assert len(seen) <= 28


@pytest.mark.parametrize("tolerance", [0.3, 0.5])
def test_jagged_curve(tolerance, level_task):
    """With a scatter of half the tolerance the answer is the exhaustive scan's or nearly always not called monotone."""
    right = flagged = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        scatter = 0.5 * tolerance * random.standard_normal(127)
        values = {
            level: max(0.0, v + s) for (level, v), s in zip(smooth().items(), scatter, strict=True) if level <= 64
        }
        (found,), _ = run(values, [tolerance], level_task)
        right += found.level == exhaustive(values, tolerance)
        flagged += found.level != exhaustive(values, tolerance) and not found.monotone
    assert right >= 34
    assert right + flagged >= 39


@pytest.mark.parametrize("lucky", [6, 10, 18, 34, 54, 56])
def test_a_lucky_low_level(lucky, level_task):
    """A level among those looked at, or a probe, passes far below the others: it is the answer, and not monotone."""
    values = {level: 1.0 if level < 60 else 0.1 for level in range(4, 101, 2)}
    values = {level: v + 0.001 * (100 - level) for level, v in values.items()}
    values[lucky] = 0.2
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == lucky
    assert not found.monotone


def test_a_rise_seen_leads_to_a_scan(level_task):
    """One rise among the levels looked at: all within its reach are evaluated, and a lucky one among them is found."""
    values = {level: 1.0 + 0.001 * (100 - level) if level < 60 else 0.1 for level in range(4, 101, 2)}
    values[18] = 0.7  # looked at, and lower than what comes after it
    values[26] = 0.3
    (found,), seen = run(values, [0.5], level_task)
    assert found.level == 26
    assert set(range(4, 60, 2)) <= set(seen)
    values = {level: v + 5 if level < 20 else v for level, v in values.items()}  # far above, the rise has no reach
    values[6], values[26] = 6.0, 1.08
    (found,), seen = run(values, [0.5], level_task)
    assert found.level == 60
    assert not found.monotone
    assert len(seen) <= 16


def test_an_unlucky_level_above_does_not_move_the_answer(level_task):
    values = smooth()
    values[64] = 3.0
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == exhaustive(values, 0.5)
    values = smooth()
    beside = exhaustive(values, 0.5) + 2
    values[beside] = 3.0
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == exhaustive(values, 0.5)
    assert not found.monotone


def test_floor_is_censored(level_task):
    (found,), seen = run(dict.fromkeys(range(4, 257, 2), 0.01), [0.5], level_task)
    assert found.level == 4
    assert found.censored
    assert found.crossing == 4.0
    assert "floor" in str(found)
    assert found.remark.startswith("already the most severe, level = 4, has ΔL = 0.01 ± ")
    assert found.remark.endswith("within 0.5: the critical level lies there or beyond")
    assert len(seen) <= 3


def test_unreachable_tolerance(level_task):
    (found,), seen = run({level: 2.0 + 1 / level for level in range(4, 257, 2)}, [0.5], level_task)
    assert found.level is None
    assert not found.censored
    assert math.isnan(found.crossing)
    assert math.isnan(found.bits)
    assert found.excess_loss == pytest.approx(2 + 1 / 256)
    assert "no level meets ΔL ≤ 0.5: even the mildest, level = 256, has ΔL = 2 ± 0, above 0.5" in str(found)
    record = found.as_record()
    assert record["level"] is None
    assert record["crossing"] is None
    assert record["interval"] == [None, None]
    assert record["remark"].startswith("even the mildest")
    assert len(seen) <= 11


def test_levels_that_break_the_network(level_task):
    """A loss that is not finite is above every tolerance."""
    values = {level: float("inf") if level < 12 else 0.1 for level in range(4, 257, 2)}
    values[4] = float("nan")
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == 12
    assert math.isfinite(found.crossing)
    assert all(math.isnan(end) for end in found.interval)


def test_levels_of_other_ranges(level_task):
    """The search is not tied to quantization's levels."""
    values = {level: 10.0 / level for level in (1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29)}
    for tolerance in (0.4, 0.6, 1.0, 5.0, 10.0):
        (found,), _ = run(values, [tolerance], level_task)
        assert found.level == exhaustive(values, tolerance)
    assert run({7: 0.2}, [0.5], level_task)[0][0].level == 7
    assert run({7: 0.8}, [0.5], level_task)[0][0].level is None


@pytest.mark.parametrize("values", [(), (4, 8, 6), (1.0, 1.0), (0.5, float("nan"))])
def test_levels_out_of_order_are_refused(values):
    with pytest.raises(InputError, match=r"expected distinct finite levels from severe to mild, got"):
        Levels("real", values, "σ")


def test_levels_outside_the_range_are_refused():
    with pytest.raises(InputError, match=r"expected σ between 0.1 and 2, got 3; choose another level"):
        Levels("real", (2.0, 1.0, 0.1), "σ").check(3.0)
    Levels("real", (2.0, 1.0, 0.1), "σ").check(0.7)
    with pytest.raises(InputError, match=r"expected k between 1 and 5, one of the scheme's 3, got 2"):
        Levels("integer", (1, 3, 5), "k").check(2)


def test_one_sweep_serves_all_tolerances(level_task, digit_snapshots, digits):
    together, _ = run(smooth(), [1.0, 0.1, 0.5], level_task)
    assert [point.tolerance for point in together] == [1.0, 0.1, 0.5]
    for point in together:
        (alone,), _ = run(smooth(), [point.tolerance], level_task)
        assert (alone.level, alone.crossing, alone.excess_loss) == (point.level, point.crossing, point.excess_loss)
    task = bn.Task.from_module(digit_snapshots["step100"], bn.losses.cross_entropy(), digits["held_out"])
    for point in critical_points(bn.compressors.quantize(), task, [0.05, 0.5]):
        alone = bn.critical_point(bn.compressors.quantize(), task, tolerance=point.tolerance)
        assert (alone.level, alone.crossing, alone.excess_loss) == (point.level, point.crossing, point.excess_loss)


# --- real levels


@dataclass(frozen=True)
class Power:
    """ΔL = scale · level**power exactly, or with a scatter over items; severe where the level is large."""

    scale: float
    power: float
    values: tuple[float, ...]
    seen: list[float] = field(default_factory=list)

    scheme: str = "power"

    def prepare(self, task, seed=0):
        return PreparedPower(task, self, Levels("real", self.values, "σ"))


@dataclass(frozen=True)
class PreparedPower:
    task: Task
    of: Power
    levels: Levels
    draws: int = 1

    def compress(self, level, draw=0):
        self.of.seen.append(level)
        return {"w": torch.full_like(self.task.center["w"], self.of.scale * level**self.of.power)}

    def bits(self, level):
        return None

    def details(self, level):
        return {"capacity": -math.log2(level)}


@pytest.mark.parametrize("tolerance", [0.001, 0.02, 0.3, 0.5])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_crossing_of_a_power_law(power, tolerance, level_task):
    """A straight line in logarithms is interpolated exactly: few levels beyond the grid's are asked for."""
    compressor = Power(3.0, power, tuple(4.0 * 0.5**k for k in range(17)))
    (found,) = critical_points(compressor, level_task, [tolerance])
    truth = (tolerance / 3.0) ** (1 / power)
    assert found.crossing == pytest.approx(truth, rel=2e-3)
    assert found.level == pytest.approx(truth, rel=0.05)
    assert found.excess_loss <= tolerance
    assert len(compressor.seen) <= 14
    assert found.interval[0] <= found.crossing <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.01 * truth
    assert math.isnan(found.bits)
    assert str(found).startswith(f"σ* = {found.crossing:.4g}, ΔL = ")


@pytest.mark.parametrize("rising", [True, False])
def test_crossing_of_a_staircase(rising, level_task):
    """A step of the curve is found, whichever way the levels run; levels of one length are one network."""
    seen = []
    values = tuple(k / 8 for k in range(1, 9))

    @dataclass(frozen=True)
    class Steps:
        task: Task
        levels: Levels
        draws: int = 1

        def compress(self, level, draw=0):
            seen.append(level)
            return {"w": torch.full((1,), 1.0 - self.bits(level) / 10, dtype=torch.float64)}

        def bits(self, level):
            return float(math.floor(10 * (level if rising else 1.125 - level)))

        def details(self, level):
            return {}

    @dataclass(frozen=True)
    class Scheme:
        scheme: str = "steps"

        def prepare(self, task, seed=0):
            return Steps(task, Levels("real", values if rising else values[::-1], "share"))

    (found,) = critical_points(Scheme(), level_task, [0.35])
    assert found.crossing == pytest.approx(0.7 if rising else 1.125 - 0.7, abs=0.003)
    assert found.excess_loss == pytest.approx(0.3)
    assert len(seen) <= 8
    assert str(found).startswith("critical share 0.")


def test_the_ends_of_a_real_scheme(level_task):
    grid = tuple(4.0 * 0.5**k for k in range(10))
    assert critical_points(Power(0.01, 1.0, grid), level_task, [0.5])[0].censored
    found = critical_points(Power(1e4, 1.0, grid), level_task, [0.5])[0]
    assert found.level is None
    assert "even the mildest, σ = 0.0078125, has ΔL = 78.1" in found.remark


def test_the_interval_covers_the_truth():
    """Items whose losses respond with scatter: in 95 % of data sets the interval holds the crossing of the law."""
    random = torch.Generator().manual_seed(0)
    response = 1 + 0.8 * torch.randn(200, 60, generator=random, dtype=torch.float64)
    task = bn.Task.from_module(Level(), lambda model, batch: batch * model(), response[0])
    covered = 0
    for row in response:
        (found,) = critical_points(Power(3.0, 2.0, (1.0, 0.5, 0.25, 0.1)), task.on(row), [0.3])
        covered += found.interval[0] <= math.sqrt(0.1) <= found.interval[1]
    assert 0.95 - 4 * 0.0155 < covered / 200 <= 1.0


# --- errors, items, draws


def test_standard_error_is_of_paired_differences(digit_task):
    found = bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=0.3)
    prepared = bn.compressors.quantize().prepare(digit_task)
    difference = digit_task.all_item_losses(prepared.compress(found.level)) - digit_task.all_item_losses(
        digit_task.center
    )
    assert found.excess_loss_se == pytest.approx(float(difference.double().std()) / math.sqrt(1200), rel=1e-5)
    assert found.excess_loss == pytest.approx(float(difference.double().mean()), rel=1e-5)


def test_levels_that_are_certain_are_left_early():
    """Items scatter by 1: at 1,024 of them a level far away is left at an eighth, one near to a tolerance never."""
    data = torch.randn(1024, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data -= data.mean()
    task = bn.Task.from_module(Level(), lambda model, batch: (1 + batch) * model(), data)
    values = {4: 3.0, 6: 1.0, 8: 0.52, 10: 0.48, 12: 0.47, 14: 0.001}
    compressor = Curve(values)
    sweep = Sweep(task, compressor.prepare(task), [0.5], lambda *_: None)
    items = {}
    for level, excess in values.items():
        assert sweep.excess(level) == pytest.approx(excess, rel=0.2)
        items[level] = int(sweep.curve()["items"].sel(level=level))
    assert items[4] == items[6] == items[14] == 128
    assert items[8] == items[10] == items[12] == 1024
    for level, excess in values.items():
        assert sweep.settle(level).mean == pytest.approx(excess, abs=1e-12)
    assert compressor.seen == list(values), "weights were kept, so none was compressed twice"
    assert sweep.curve().attrs["passes"] == pytest.approx(7.0)
    assert CERTAIN == 5


def test_what_decides_gets_all_items(digit_task):
    """The level found, the one below it and the mildest are evaluated on every item; others need not be."""
    found = bn.critical_point(bn.compressors.quantize("largest"), digit_task, tolerance=0.1)
    items = found.curve["items"].to_series()
    assert items[found.level] == items[found.level - 2] == items[256] == 1200
    assert items.min() < 1200


def test_held_out_data(digit_task, digits):
    own = bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=0.3)
    other = bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=0.3, data=digits["held_out"])
    assert own.excess_loss != other.excess_loss
    again = bn.critical_point(bn.compressors.quantize(), digit_task.on(digits["held_out"]), tolerance=0.3)
    assert (again.level, again.excess_loss) == (other.level, other.excess_loss)


@pytest.mark.parametrize("tolerance", [0.0, -0.5, float("nan"), float("inf")])
def test_tolerance_must_be_positive(tolerance, digit_task):
    with pytest.raises(InputError, match=r"expected tolerances > 0, in nats a unit, got .*; give for instance 0.5"):
        bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=tolerance)


def test_no_tolerance_is_refused(digit_task):
    with pytest.raises(InputError, match=r"got none"):
        critical_points(bn.compressors.quantize(), digit_task, [])


def test_a_loss_that_is_broken_before_is_refused(level_task):
    broken = level_task.at({"w": torch.full((1,), float("inf"), dtype=torch.float64)})
    with pytest.raises(ModelError, match=r"a finite loss before compression, got NaN or infinity on 5 of 5 items"):
        critical_points(Curve({4: 0.0}), broken, [0.5])


def test_several_draws_enter_the_error(level_task):
    """A random scheme's scatter between draws is part of the standard error."""

    @dataclass(frozen=True)
    class Noisy:
        task: Task
        levels: Levels = Levels("integer", (4, 6, 8), "level")  # noqa: RUF009
        draws: int = 4

        def compress(self, level, draw=0):
            return {"w": torch.full((1,), {4: 1.0, 6: 0.4, 8: 0.1}[level] + 0.1 * draw, dtype=torch.float64)}

        def bits(self, level):
            return None

        def details(self, level):
            return {}

    @dataclass(frozen=True)
    class Scheme:
        scheme: str = "noisy"

        def prepare(self, task, seed=0):
            return Noisy(task)

    (found,) = critical_points(Scheme(), level_task, [0.6])
    assert found.level == 6
    assert found.excess_loss == pytest.approx(0.55)
    assert found.excess_loss_se == pytest.approx(np.std([0, 0.1, 0.2, 0.3], ddof=1) / 2)
    assert math.isnan(found.bits)
