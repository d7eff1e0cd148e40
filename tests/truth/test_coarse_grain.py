"""Coarse-graining by hand and by Eckart and Young; searches against exhaustive ones; sensitivities against a loop."""

import bz2
import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats._types import silent
from bitsandnats.coarse_grain import coarse_grain, ranks, read_checkpoint
from bitsandnats.coarse_grain.boundary import boundary
from bitsandnats.coarse_grain.compensation import compensate
from bitsandnats.coarse_grain.grain import spectral_rank
from bitsandnats.coarse_grain.grid_search import GlobalGrid
from bitsandnats.coarse_grain.model_search import Told, ask_and_tell
from bitsandnats.coarse_grain.published import published_size
from bitsandnats.coarse_grain.rounding import Part, cheapest
from bitsandnats.coarse_grain.sensitivity import smoothed, squared_gradients
from bitsandnats.coarse_grain.thresholds import Thresholds
from bitsandnats.coarse_grain.trials import Attempt, Trial, Trials
from bitsandnats.compressors import coding
from bitsandnats.errors import DataError, GridError, InputError, ModelError
from bitsandnats.recipes.complexity import check_options


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_of(*weights):
    layers = []
    for w in weights:
        layer = nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(w)
        layers.append(layer)
    x = random(8, weights[0].shape[1], seed=9)
    labels = torch.arange(8) % len(weights[-1])
    return bn.Task.from_module(nn.Sequential(*layers).eval(), bn.losses.cross_entropy(), (x, labels))


@pytest.mark.parametrize(("threshold", "rank"), [(0.0, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (1.0, 4)])
def test_rank_by_hand(threshold, rank):
    """σ = 5, 3, 1, 1: half with one, four fifths with two, nine tenths with three."""
    assert spectral_rank(torch.tensor([5.0, 3.0, 1.0, 1.0], dtype=torch.float64), threshold) == rank


def test_factors_only_where_they_have_fewer_numbers():
    """k(m + n) < mn: of 20 × 20 up to rank 9, of 20 × 5 up to rank 3."""
    flat = torch.linalg.qr(random(20, 20)).Q
    checkpoint = read_checkpoint(task_of(flat, random(5, 20), random(3, 5)))
    assert ranks(coarse_grain(checkpoint, 1e-3, 9 / 20))["0.weight"] == 9
    assert "0.weight" not in ranks(coarse_grain(checkpoint, 1e-3, 9.5 / 20))
    assert ranks(coarse_grain(checkpoint, 1e-3, 1.0)) == {}


def test_low_rank_is_the_best_of_its_rank():
    """At a fine spacing the error is that of the singular values left out (Eckart and Young)."""
    w = random(24, 16, seed=2)
    checkpoint = read_checkpoint(task_of(w, random(3, 24)))
    values = np.linalg.svd(w.numpy(), compute_uv=False)
    for threshold in (0.2, 0.4, 0.6):
        network = coarse_grain(checkpoint, 1e-7, threshold)
        rank = ranks(network)["0.weight"]
        assert rank == 1 + int((np.cumsum(values) / values.sum() < threshold).sum())
        error = np.linalg.norm(w.numpy() - network.params()["0.weight"].numpy())
        assert error == pytest.approx(np.linalg.norm(values[rank:]), rel=1e-4)


def test_rounding_by_hand():
    w = torch.tensor([[0.26, -0.74, 1.1], [0.0, 0.24, -0.25]], dtype=torch.float64)
    network = coarse_grain(read_checkpoint(task_of(w)), 0.5)
    assert network.params()["0.weight"].tolist() == [[0.5, -0.5, 1.0], [0.0, 0.0, 0.0]]


def test_published_size_has_signed_zeros():
    w = random(20, 12, seed=4)
    task = task_of(w, random(3, 20, seed=5))
    arrays = [(p / 0.7).round() * 0.7 for p in task.center.values()]
    assert any(bool((torch.signbit(a) & (a == 0)).any()) for a in arrays)
    expected = len(bz2.compress(b"".join(a.float().numpy().tobytes() for a in arrays), 9))
    assert published_size(read_checkpoint(task), 0.7, 1.0) == expected


def test_tensors_without_factors():
    """Vectors, scalars and rows are rounded and never decomposed; nothing is decomposed twice."""
    module = nn.Sequential(nn.Linear(6, 1), nn.LayerNorm(1)).double().eval()
    x = random(5, 6)
    task = bn.Task.from_module(module, bn.losses.gaussian(), (x, x[:, :1]))
    checkpoint = read_checkpoint(task)
    assert checkpoint.spectra == {}
    assert checkpoint.spectra is checkpoint.spectra
    assert ranks(coarse_grain(checkpoint, 0.1, 0.3)) == {}


@pytest.mark.parametrize("at_once", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [1e-3, 0.2, 0.9, 50.0])
def test_boundary(start, at_once):
    """ΔL = x²: within 0.04 up to x = 0.2; few evaluations from wherever it starts, fewer rounds of several at once."""
    asked = []

    def excess(points):
        assert 0 < len(points) <= at_once
        asked.append(len(points))
        return [x * x for x in points]

    found = boundary(excess, 0.04, start, low=1e-4, high=1e2, ratio=1.01, at_once=at_once)
    assert found is not None
    assert 0.2 / 1.01 <= found <= 0.2
    assert len(asked) <= {1: 20, 2: 13, 3: 11, 8: 7}[at_once]
    limits = {"low": 1e-4, "high": 1e2, "at_once": at_once}
    assert boundary(lambda points: [1.0 for _ in points], 0.5, start, **limits) is None
    assert boundary(lambda points: [0.0 for _ in points], 0.5, start, **limits) == 1e2


def test_cheapest_rounding_beats_all_its_choices():
    """No single weight can be moved to one of its other two values and make loss plus bits smaller."""
    w, h, spacing, price = random(400), random(400, seed=1).square() + 0.1, 0.4, 0.05
    (plain,), (grid,) = (cheapest([Part(w, h, spacing)], p) for p in (0.0, price))
    assert torch.equal(torch.from_numpy(plain.symbols).double() * spacing, (w / spacing).round() * spacing)

    def entropy(symbols):
        share = np.unique(symbols, return_counts=True)[1] / len(symbols)
        return float(-(share * np.log2(share)).sum()) * len(symbols)

    def loss(symbols):
        return float((h * (w - torch.from_numpy(symbols).double() * spacing).square()).sum()) / 2

    assert (np.abs(grid.symbols) <= np.abs(plain.symbols)).all()
    assert loss(grid.symbols) + price * entropy(grid.symbols) < loss(plain.symbols) + price * entropy(plain.symbols)


def test_thresholds_round_as_cheapest_does():
    """Two arrays at once under the distributions of an earlier rounding: the same whole numbers."""
    parts = [Part(random(300), random(300, seed=1).square() + 0.1, 0.4), Part(random(90, seed=2), random(90) ** 2, 0.2)]
    before = cheapest(parts, 0.0)
    expected = cheapest(parts, 0.03, before)
    owner = torch.repeat_interleave(torch.arange(2), torch.tensor([300, 90]))
    steps = torch.cat([p.sensitivity * p.spacing**2 / 2 for p in parts]).float()
    values = torch.cat([p.values / p.spacing for p in parts]).float()
    symbols = torch.cat([torch.from_numpy(grid.symbols) for grid in before]).float()
    found = Thresholds(steps, owner, 0.03, values, symbols).rounded(values)
    assert found.tolist() == np.concatenate([grid.symbols for grid in expected]).tolist()


def test_squared_gradients_against_a_loop():
    """Random signs estimate Σ (∂ℓ_i/∂w)² without bias: here averaged over many batches, within four standard errors."""
    task = task_of(random(4, 3), random(3, 4, seed=1))
    exact = {name: torch.zeros_like(w) for name, w in task.center.items()}
    for i in range(8):
        moving = {name: w.clone().requires_grad_() for name, w in task.center.items()}
        loss = task.item_losses(moving, task.batch(torch.tensor([i]))).sum()
        for name, g in zip(moving, torch.autograd.grad(loss, list(moving.values())), strict=True):
            exact[name] += g.square() / 8
    source = torch.Generator().manual_seed(0)
    draws = [squared_gradients(task, [task.center], items=8, generator=source) for _ in range(1500)]
    for name, truth in exact.items():
        values = torch.stack([d[name] for d in draws])
        error = values.std(0) / math.sqrt(len(values))
        assert bool(((values.mean(0) - truth).abs() < 4.5 * error + 1e-12).all())
        assert float((error / truth).median()) < 0.05


def test_compensation_lowers_the_loss_and_stays_on_the_grid(digit_task):
    """At a spacing that costs half a nat, thirty steps take most of it away; every weight is still a multiple of Δ."""
    checkpoint = read_checkpoint(digit_task)
    trials = Trials(checkpoint, silent)
    evaluator = trials.evaluators[0]
    spacing = bn.complexity(digit_task, tolerance=0.5, method="quantization").settings["spacing"]
    network = coarse_grain(checkpoint, spacing)
    flat = {name: torch.ones_like(w) for name, w in checkpoint.weights.items()}
    after = compensate(evaluator, checkpoint, network, flat, price=0.0, steps=30)
    assert trials.evaluate(after.params())[0] < 0.5 * trials.evaluate(network.params())[0]
    assert all(g.spacing == spacing for piece in after.pieces.values() for g in piece.grids)
    product = coarse_grain(checkpoint, spacing / 4, 0.6)
    assert ranks(product)
    better = compensate(evaluator, checkpoint, product, flat, price=0.0, steps=30)
    assert ranks(better) == ranks(product)
    for name, piece in after.pieces.items():  # next to the unrounded value, none further
        (grid,) = piece.grids
        assert np.abs(grid.symbols - checkpoint.weights[name].numpy() / spacing).max() <= 1 + 1e-5
    assert trials.evaluate(better.params())[0] < 0.5 * trials.evaluate(product.params())[0]


def test_smoothing_keeps_separable_sensitivities():
    a, b = random(5).square() + 0.1, random(7, seed=1).square() + 0.1
    h = {"w": a[:, None] * b, "v": a}
    out = smoothed(h)
    assert torch.allclose(out["w"], h["w"])
    assert torch.equal(out["v"], a)


@pytest.mark.parametrize("tolerance", [0.05, 0.5])
def test_quantization_alone_finds_the_widest_spacing(digit_task, tolerance):
    """The published bisection against a scan: no spacing much wider is within the tolerance at once."""
    found = bn.complexity(digit_task, tolerance=tolerance, method="quantization")
    assert abs(found.excess_loss) < tolerance
    assert found.threshold == 1.0
    trials = Trials(read_checkpoint(digit_task), silent)
    wider = found.settings["spacing"] * 1.03
    network = coarse_grain(trials.checkpoint, wider)
    assert abs(trials.evaluate(network.params())[0]) > 0.8 * tolerance
    assert found.bytes == published_size(trials.checkpoint, found.settings["spacing"], 1.0)


def test_the_search(digit_task, tmp_path, digits):
    """Bytes are the file's, the loss is the decoded network's, and each refinement's pool is at least as good."""
    test = digits["held_out"]
    small, large = bn.complexities(digit_task, tolerances=[0.1, 0.5], test=test)
    assert large.bytes < small.bytes
    for found in (small, large):
        path = tmp_path / f"{found.tolerance}.bnz"
        assert found.save(path) == found.bytes == path.stat().st_size
        decoded = coding.load(path).params()
        before = digit_task.all_item_losses(digit_task.center, 1024).double()
        difference = digit_task.all_item_losses(decoded, 1024).double() - before
        assert float(difference.mean()) == pytest.approx(found.excess_loss, abs=1e-12)
        assert float(difference.std() / math.sqrt(len(difference))) == pytest.approx(found.excess_loss_se, rel=1e-6)
        assert abs(found.excess_loss) < found.tolerance
        assert found.loss == pytest.approx(float(before.mean()) + found.excess_loss)
        held = digit_task.on(test)
        assert found.test_loss == pytest.approx(float(held.all_item_losses(decoded, 1024).double().mean()), rel=1e-6)
        assert found.bits_per_parameter == 8 * found.bytes / digit_task.dimension
        sizes = found.sizes()
        assert sizes.pop("bitsandnats") == found.bytes < sizes["bzip2 of float32"]
        assert coding.sections(found.network).coded < min(sizes.values())  # the others hold no names and no shapes
    plain = bn.complexity(digit_task, tolerance=0.5, refinements=())
    published = bn.complexity(digit_task, tolerance=0.5, method="quantization")
    assert large.bytes < 0.8 * plain.bytes
    assert plain.bytes < 0.9 * published.bytes
    assert large.trials == small.trials
    again = bn.complexity(digit_task, tolerance=0.1, test=test)
    assert (again.bytes, again.settings) == (small.bytes, small.settings)


def test_a_gaussian_process_searches_too(digit_task):
    pytest.importorskip("optuna")
    found = bn.complexity(digit_task, tolerance=0.5, search="model", refinements=())
    grid = bn.complexity(digit_task, tolerance=0.5, search="grid", refinements=())
    assert abs(found.excess_loss) < 0.5
    assert len(found.trials) == 30
    assert found.bytes < 1.5 * grid.bytes


def test_what_no_whole_numbers_stand_for_is_infeasible(digit_task):
    """Factors whose product float64 would round, and weights of too many steps, are trials that failed, not errors."""
    checkpoint = read_checkpoint(digit_task)
    trials = Trials(checkpoint, silent)
    fine = 1e-8  # products of about (1/Δ)² ≈ 10¹⁶ steps
    with pytest.raises(GridError, match="wider spacing"):
        coarse_grain(checkpoint, fine, 0.5).params()
    attempts = [
        Attempt("grid", {"spacing": spacing}, lambda _, s=spacing: coarse_grain(checkpoint, s, 0.5), lambda _: 7.0)
        for spacing in (fine, 1e-12, 0.01)
    ]
    (product, nothing), (weight, none), (fair, network) = trials.add(attempts)
    assert nothing is none is None
    assert network is not None
    for failed in (product, weight):
        assert (failed.size, failed.excess) == (math.inf, math.inf)
        assert not failed.within(1e9)
    assert fair.size == 7.0
    assert trials.best(1e9) == fair


@pytest.mark.parametrize("method", ["searched", "published"])
def test_a_search_goes_on_after_infeasible_trials(monkeypatch, method):
    """Weights so large that fine spacings cannot be counted: Δ of 10⁻³ is one of the published probes."""
    pytest.importorskip("optuna")
    monkeypatch.setattr("bitsandnats.coarse_grain.published._STEPS", 2)
    monkeypatch.setattr("bitsandnats.coarse_grain.search._MODEL_TRIALS", 12)
    scale = 1e7

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8, bias=False, dtype=torch.float64)
            with torch.no_grad():
                self.linear.weight.copy_(random(8, 8) * scale)

        def forward(self, x):
            return self.linear(x) / scale

    task = bn.Task.from_module(Scaled().eval(), bn.losses.cross_entropy(), (random(32, 8), torch.arange(32) % 8))
    search: dict[str, Any] = {"method": method} if method == "published" else {"search": "model", "refinements": ()}
    try:
        found = bn.complexity(task, tolerance=0.1, **search)
    except InputError as error:  # the published range of spacings ends at 1, far below such weights
        assert "closest of 14" in str(error)  # noqa: PT017
        assert method == "published"
        return
    assert abs(found.excess_loss) < 0.1


def test_workers(digit_task):
    """Two threads: the same answer each time, as good as alone, and losses at once do not disturb one another."""
    checkpoint = read_checkpoint(digit_task)
    alone, both = Trials(checkpoint, silent), Trials(checkpoint, silent, workers=2)
    points = [(spacing, 0.9) for spacing in np.linspace(0.02, 0.4, 24)]
    assert GlobalGrid(both).at(points) == GlobalGrid(alone).at(points)
    options: dict[str, Any] = {"tolerance": 0.5, "search": "grid", "refinements": ("spacings", "rounding")}
    one, two, again = (bn.complexity(digit_task, workers=n, **options) for n in (1, 2, 2))
    assert (two.bytes, two.trials) == (again.bytes, again.trials)
    assert two.bytes < 1.25 * one.bytes
    with pytest.raises(InputError, match="one worker or more"):
        bn.complexity(digit_task, tolerance=0.5, workers=0)


def test_asking_for_several_at_once():
    """Minimum of ln²Δ + τ² where Δτ ≥ 10⁻³: pairs are asked together, and the same seed asks for the same pairs."""
    pytest.importorskip("optuna")

    def run():
        asked = []

        def evaluate(points):
            asked.append(tuple(points))
            sizes = [math.log(spacing / 0.1) ** 2 + threshold**2 for spacing, threshold in points]
            return [
                Trial("model", {"spacing": s, "threshold": t}, size, s * t, 0.0)
                for (s, t), size in zip(points, sizes, strict=True)
            ]

        def told(trial):
            return Told(trial.size, math.log(1e-3 / max(trial.excess, 1e-12)))

        ask_and_tell(evaluate, told, (1e-3, 1.0), trials=15, seed=3, at_once=2)
        return asked

    asked = run()
    assert [len(points) for points in asked] == [2] * 7 + [1]
    assert asked == run()
    assert min(math.log(s / 0.1) ** 2 + t**2 for pair in asked for s, t in pair if s * t >= 1e-3) < 0.2


def test_bad_input(digit_task, monkeypatch):
    wrong: list[tuple[Any, str]] = [
        (([0.0], "searched"), "tolerances above 0"),
        (([], "searched"), "tolerances above 0"),
        (([0.1], "best"), "method among searched"),
        (([0.1], "searched", "all"), "search among auto"),
        (([0.1], "searched", "grid", ["speed"]), "refinements among spacings"),
    ]
    for options, said in wrong:
        with pytest.raises(InputError, match=said):
            check_options(*options)
    with pytest.raises(InputError, match="a tolerance that a coarse network meets, got 1e-12"):
        bn.complexity(digit_task, tolerance=1e-12)
    with pytest.raises(DataError, match="test data with items"):
        bn.complexity(digit_task, tolerance=0.1, test=(torch.zeros(0, 64), torch.zeros(0, dtype=torch.long)))
    name = next(iter(digit_task.center))
    broken = digit_task.at({**digit_task.center, name: digit_task.center[name] * float("nan")})
    with pytest.raises(ModelError, match="finite weights"):
        bn.complexity(broken, tolerance=0.1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"bitsandnats\[tune\]"):
        bn.complexity(digit_task, tolerance=0.1, method="published")
