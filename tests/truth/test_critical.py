"""critical_point: the smallest level within the tolerance, as an exhaustive scan finds it."""

import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import bitsandnats as bn
from bitsandnats.critical import critical_points
from bitsandnats.errors import InputError
from bitsandnats.task import Task

TOLERANCES = [0.01, 0.03, 0.1, 0.3, 0.5, 1.0]


@dataclass(frozen=True)
class Curve:
    """A compressor with a prescribed ΔL at each level: it moves a bias so that the loss rises by just that."""

    values: dict[int, float]
    seen: list[int]

    scheme: str = "curve"

    def prepare(self, task, seed=0):
        return PreparedCurve(task, self.values, self.seen, tuple(self.values))


@dataclass(frozen=True)
class PreparedCurve:
    task: Task
    values: dict[int, float]
    seen: list[int]
    levels: tuple[int, ...]
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
    seen = []
    found = critical_points(Curve(values, seen), task, tolerances)
    assert len(seen) == len(set(seen)), "a level was compressed twice"
    return found, seen


# --- real networks against all 127 levels


@pytest.mark.parametrize("scheme", ["optimal", "largest"])
@pytest.mark.parametrize("which", ["digits200", "digits50", "digits10", "waves400", "waves60"])
def test_exhaustive_scan_of_all_levels(which, scheme, digit_snapshots, digits, wave_snapshots, waves):
    step = re.sub(r"\D", "", which)
    if which.startswith("digits"):
        task = bn.Task.from_module(digit_snapshots[f"step{step}"], bn.losses.cross_entropy(), digits["held_out"])
    else:
        task = bn.Task.from_module(wave_snapshots[f"step{step}"], bn.losses.gaussian(0.3), waves)
    compressor = bn.compressors.quantize(scheme)
    found = critical_points(compressor, task, TOLERANCES)
    prepared = compressor.prepare(task)
    assert prepared.levels == tuple(range(4, 257, 2))
    center = task.all_item_losses(task.center).double()
    excess = {
        level: float((task.all_item_losses(prepared.compress(level)).double() - center).mean())
        for level in prepared.levels
    }
    for point in found:
        assert point.level == exhaustive(excess, point.tolerance), point.tolerance
        assert point.excess_loss == pytest.approx(excess[point.level], abs=1e-9)
        assert point.censored == (point.level == 4)
        assert point.bits == prepared.bits(point.level)
        assert point.bits_per_parameter == pytest.approx(math.log2(point.level))
        for level, value in zip(point.curve["level"].values, point.curve["excess_loss"].values, strict=True):
            assert value == pytest.approx(excess[int(level)], abs=1e-9)


# --- hand-made curves


def smooth(levels=range(4, 257, 2)):
    return {level: 40.0 / level**1.5 for level in levels}


@pytest.mark.parametrize("tolerance", [0.02, 0.05, 0.1, 0.5, 1.0, 2.0])
def test_monotone_curve(tolerance, level_task):
    values = smooth()
    (found,), seen = run(values, [tolerance], level_task)
    assert found.level == exhaustive(values, tolerance)
    assert found.monotone
    assert not found.censored
    assert found.excess_loss == pytest.approx(values[found.level])
    assert found.excess_loss_se == pytest.approx(0, abs=1e-12)  # ΔL is the same for every item
    assert found.bits == 10.0 * found.level
    assert len(seen) <= 40
    # the crossing, by hand: a straight line between the level found and the one below it
    low = found.level - 2
    share = (values[low] - tolerance) / (values[low] - values[found.level])
    assert found.crossing == pytest.approx(low + 2 * share)
    assert low < found.crossing <= found.level
    assert found.interval[0] <= found.crossing <= found.interval[1]
    assert np.array_equal(found.curve["twice"].values, 2.0 * found.curve["level"].values)


def test_number_of_levels_is_modest(level_task):
    _, seen = run(smooth(), [0.1, 0.3, 0.5, 1.0], level_task)
    assert len(seen) <= 60


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tolerance", [0.3, 0.5])
def test_jagged_curve(seed, tolerance, level_task):
    """Whatever the order of the levels looked at, the answer is the exhaustive scan's."""
    random = np.random.default_rng(seed)
    values = {level: max(0.0, v + 0.25 * random.standard_normal()) for level, v in smooth(range(4, 65, 2)).items()}
    (found,), _ = run(values, [tolerance], level_task)
    assert found.level == exhaustive(values, tolerance)


@pytest.mark.parametrize("lucky", [6, 10, 14, 20, 34, 50])
def test_a_lucky_low_level(lucky, level_task):
    """A level far below the others' threshold happens to pass: it is the smallest, and the curve is not monotone."""
    values = {level: 1.0 if level < 60 else 0.1 for level in range(4, 101, 2)}
    values = {level: v + 0.001 * (100 - level) for level, v in values.items()}
    values[lucky] = 0.2
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == lucky
    assert not found.monotone


def test_an_unlucky_level_above_does_not_move_the_answer(level_task):
    values = smooth()
    values[64] = 3.0
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == exhaustive(values, 0.5)


def test_floor_is_censored(level_task):
    (found,), _ = run(dict.fromkeys(range(4, 257, 2), 0.01), [0.5], level_task)
    assert found.level == 4
    assert found.censored
    assert found.crossing == 4.0
    assert "floor" in str(found)


def test_unreachable_tolerance(level_task):
    (found,), _ = run({level: 2.0 + 1 / level for level in range(4, 257, 2)}, [0.5], level_task)
    assert found.level is None
    assert not found.censored
    assert math.isnan(found.crossing)
    assert math.isnan(found.bits)
    assert "no level meets ΔL ≤ 0.5" in str(found)
    record = found.as_record()
    assert record["level"] is None
    assert record["crossing"] is None
    assert record["interval"] == [None, None]


def test_levels_that_break_the_network(level_task):
    """A loss that is not finite is above every tolerance."""
    values = {level: float("inf") if level < 12 else 0.1 for level in range(4, 257, 2)}
    values[4] = float("nan")
    (found,), _ = run(values, [0.5], level_task)
    assert found.level == 12
    assert math.isfinite(found.crossing)


def test_levels_of_other_ranges(level_task):
    """The search is not tied to quantization's levels."""
    values = {level: 10.0 / level for level in (1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29)}
    for tolerance in (0.4, 0.6, 1.0, 5.0, 10.0):
        (found,), _ = run(values, [tolerance], level_task)
        assert found.level == exhaustive(values, tolerance)
    assert run({7: 0.2}, [0.5], level_task)[0][0].level == 7


def test_one_sweep_serves_all_tolerances(level_task, digit_snapshots, digits):
    together, _ = run(smooth(), [1.0, 0.1, 0.5], level_task)
    for point in together:
        (alone,), _ = run(smooth(), [point.tolerance], level_task)
        assert (alone.level, alone.crossing, alone.excess_loss) == (point.level, point.crossing, point.excess_loss)
    task = bn.Task.from_module(digit_snapshots["step100"], bn.losses.cross_entropy(), digits["held_out"])
    for point in critical_points(bn.compressors.quantize(), task, [0.05, 0.5]):
        alone = bn.critical_point(bn.compressors.quantize(), task, tolerance=point.tolerance)
        assert (alone.level, alone.crossing, alone.excess_loss) == (point.level, point.crossing, point.excess_loss)


def test_standard_error_is_of_paired_differences(digit_task):
    found = bn.critical_point(bn.compressors.quantize(), digit_task, tolerance=0.3)
    prepared = bn.compressors.quantize().prepare(digit_task)
    difference = digit_task.all_item_losses(prepared.compress(found.level)) - digit_task.all_item_losses(
        digit_task.center
    )
    assert found.excess_loss_se == pytest.approx(float(difference.double().std()) / math.sqrt(1200), rel=1e-6)
    assert found.excess_loss == pytest.approx(float(difference.double().mean()), rel=1e-6)


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


def test_several_draws_enter_the_error(level_task):
    """A random scheme's scatter between draws is part of the standard error."""

    @dataclass(frozen=True)
    class Noisy:
        task: Task
        levels: tuple[int, ...] = (4, 6, 8)
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
