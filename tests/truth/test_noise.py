"""Weight noise: its variance, the loss that it costs on a quadratic, and the σ at which that meets a tolerance."""

import math

import pytest
import torch

import bitsandnats as bn
from bitsandnats.compressors import noise
from bitsandnats.compressors.noise import noise_absolute, noise_relative
from bitsandnats.errors import InputError, ModelError
from bitsandnats.toys import quadratic

CURVATURES = [0.5, 1.0, 2.0, 8.0] * 150
H = torch.tensor(CURVATURES, dtype=torch.float64)
WEIGHTS = torch.linspace(-2, 3, len(CURVATURES), dtype=torch.float64)


class Bowl(torch.nn.Module):
    """½ Σ h_i (w_i − c_i)², at its minimum."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(WEIGHTS.clone())
        self.register_buffer("h", H)
        self.register_buffer("c", WEIGHTS.clone())

    def forward(self):
        return 0.5 * (self.h * (self.w - self.c).square()).sum()


@pytest.fixture
def bowl():
    """A quadratic at its minimum, which lies at weights of different sizes."""
    return bn.Task.from_module(Bowl(), lambda model, batch: model() + 0 * batch, torch.zeros(2, dtype=torch.float64))


@pytest.fixture
def slope():
    """L = ½ Σ h_i w_i² away from its minimum."""
    return quadratic(CURVATURES).at({"w": WEIGHTS})


def perturbations(prepared, level, count):
    return torch.stack([prepared.compress(level, draw)["w"] for draw in range(count)]) - WEIGHTS


def test_absolute_noise_has_one_variance(slope):
    moved = perturbations(noise("absolute", draws=64).prepare(slope), 0.01, 64)
    squares = (moved / 0.01).square()
    se = math.sqrt(2 / squares.numel())
    assert se < 0.01
    assert abs(float(squares.mean()) - 1) < 4 * se
    assert abs(float((moved / 0.01).mean())) < 4 / math.sqrt(squares.numel())
    large = WEIGHTS.abs() > 1.5
    assert float(squares[:, large].mean() / squares[:, ~large].mean()) == pytest.approx(1, abs=0.05)


def test_relative_noise_is_in_proportion(slope):
    moved = perturbations(noise("relative", draws=64).prepare(slope), 0.01, 64)
    squares = (moved / (0.01 * WEIGHTS)).square()
    se = math.sqrt(2 / squares.numel())
    assert abs(float(squares.mean()) - 1) < 4 * se
    zero = noise("relative").prepare(slope.at({"w": torch.tensor([0.0, 1.0] * 300, dtype=torch.float64)}))
    assert not zero.compress(1.0)["w"][::2].any()


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_draws_share_their_direction_at_every_level(kind, slope):
    prepared = noise(kind).prepare(slope, seed=3)
    small, large = (prepared.compress(level, 2)["w"] - WEIGHTS for level in (0.01, 0.5))
    assert torch.allclose(50 * small, large, rtol=1e-9)
    assert not torch.equal(prepared.compress(0.5, 2)["w"], prepared.compress(0.5, 3)["w"])
    assert not torch.equal(prepared.compress(0.5, 2)["w"], noise(kind).prepare(slope, seed=4).compress(0.5, 2)["w"])


@pytest.mark.parametrize(("kind", "sizes"), [("absolute", torch.ones_like(WEIGHTS)), ("relative", WEIGHTS)])
def test_critical_level_on_a_quadratic(kind, sizes, bowl):
    """E ΔL = σ²/2 Σ h_i s_i², s_i = 1 or w_i; so σ* = √(2ε / Σ h_i s_i²)."""
    strength = float((H * sizes.square()).sum())
    for tolerance in (0.05, 2.0):
        found = bn.critical_point(noise(kind, draws=50), bowl, tolerance=tolerance)
        truth = math.sqrt(2 * tolerance / strength)
        se = (found.interval[1] - found.interval[0]) / 2 / 1.96
        assert se < 0.01 * truth
        assert abs(found.crossing - truth) < 4 * se
        assert found.curve.sizes["level"] <= 14


def test_the_error_is_that_of_the_draws(bowl):
    """At the minimum ΔL of a draw is ½σ² Σ h ξ²: its variance over draws is ½σ⁴ Σ h²."""
    found = bn.critical_point(noise("absolute", draws=400), bowl, tolerance=1.0)
    expected = found.level**2 * math.sqrt(float(H.square().sum()) / 2 / 400)
    assert found.excess_loss_se == pytest.approx(expected, rel=0.15)  # the s.d. of 400 draws is known to 4 %


def test_capacity_and_no_code(slope):
    prepared = noise().prepare(slope)
    assert prepared.bits(0.5) is None
    assert prepared.details(0.125) == {"capacity": 3.0}
    assert prepared.levels.unit == "σ"
    found = bn.critical_point(noise(), slope, tolerance=0.5)
    assert math.isnan(found.bits)
    assert "bits" not in str(found)


def test_levels_follow_the_weights(slope):
    rms = float(WEIGHTS.square().mean().sqrt())
    assert noise("absolute").prepare(slope).levels.values[0] == pytest.approx(4 * rms, rel=0.01)
    assert noise("relative").prepare(slope).levels.values[0] == 4


def test_names():
    assert noise_absolute().scheme == "noise-absolute"
    assert noise_relative(draws=3).scheme == "noise-relative(draws=3)"


def test_what_is_refused(slope):
    with pytest.raises(InputError, match=r"expected kind 'absolute' or 'relative', got 'both'"):
        noise("both")
    with pytest.raises(InputError, match=r"expected at least 2 draws, for an error, got 1"):
        noise(draws=1)
    prepared = noise("relative").prepare(slope)
    for level in (5.0, 0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=r"expected σ between 6.10352e-05 and 4, got"):
            prepared.compress(level)
    with pytest.raises(ModelError, match=r"weights that are not all zero"):
        noise().prepare(slope.at({"w": torch.zeros_like(WEIGHTS)}))
    with pytest.raises(ModelError, match=r"finite weights"):
        noise().prepare(slope.at({"w": torch.full_like(WEIGHTS, float("nan"))}))
