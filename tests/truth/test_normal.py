"""The compiled source of normal numbers against its definition, the normal law, and itself in other portions.

The criterion: |estimate − truth| < 4 standard errors, standard error < 5 % of the truth.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import kstest, norm
from torch import nn

import bitsandnats as bn
from bitsandnats import _normal, _rng
from bitsandnats._rng import STREAMS, fill, langevin, streams
from bitsandnats.run import sample
from bitsandnats.samplers.types import Block, fill_noise
from bitsandnats.samplers.types import langevin as move
from bitsandnats.settings import Settings
from bitsandnats.theory.finite_step import stationary_variance

BLOCK, BLOCKS = 1 << 20, 20
PINNED = [
    [-0.4686836004257202, 0.4234420955181122, 0.20106974244117737, -0.7956132888793945],
    [-0.680033802986145, 0.1894037425518036, 0.20940080285072327, -1.126253366470337],
]


def normals(seed, chains, count):
    return fill(streams(seed, chains), torch.empty(len(chains), count))


def xoshiro(state):
    """xoshiro256++ 1.0 by its published definition; advances `state`, four whole numbers."""
    mask = (1 << 64) - 1

    def rotated(x, by):
        return ((x << by) | (x >> (64 - by))) & mask

    word = (rotated((state[0] + state[3]) & mask, 23) + state[0]) & mask
    shifted = (state[1] << 17) & mask
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = rotated(state[3], 45)
    return word


def test_bits_by_their_definition():
    """From the state 1, 2, 3, 4: the first words of the reference implementation (prng.di.unimi.it)."""
    state = [1, 2, 3, 4]
    assert [xoshiro(state) for _ in range(4)] == [41943041, 58720359, 3588806011781223, 3591011842654386]


def test_numbers_by_their_definition():
    """Box and Muller in float64 of the same bits."""
    rng = streams(3, [5])
    lanes = [[int(word) for word in lane.view(np.uint64)] for lane in rng.lanes[0].T.contiguous().numpy()]
    found = fill(rng, torch.empty(1, 32 * 200))[0].double().numpy()
    expected = []
    for _ in range(200):
        radius, angle = (np.array([xoshiro(lane) for lane in lanes], dtype=np.uint64).view(np.int32) for _ in range(2))
        u = ((radius & 0x7FFFFFFF).astype(np.float64) + 0.5) * 2.0**-31
        long, x = np.sqrt(-2 * np.log(u)), angle * (np.pi / 2**32)
        expected += [long * np.where(radius < 0, -1, 1) * np.cos(x), long * np.sin(x)]
    assert np.allclose(found, np.concatenate(expected), rtol=1e-6, atol=5e-7)


def test_the_stream_is_what_it_was():
    """Exact on every processor. Other numbers are another stream: then `STREAMS` must count on."""
    first = normals(0, [0, 1], 33)[:, [0, 1, 16, 32]]
    assert STREAMS == 2
    assert first.tolist() == PINNED


def test_the_same_on_a_processor_of_which_nothing_is_known(monkeypatch):
    """Code for vectors as long as any processor of the kind has them gives the same numbers."""
    found = normals(0, [0, 1], 100_000)

    def unknown():
        raise RuntimeError

    monkeypatch.setattr(_normal.llvm, "get_host_cpu_features", unknown)
    monkeypatch.setattr(_normal.llvm, "get_host_cpu_name", str)
    monkeypatch.setattr(_rng, "_kernels", functools.cache(_normal.kernels))
    assert torch.equal(normals(0, [0, 1], 100_000), found)


def test_moments_and_tails():
    rng, buffer = streams(0, [0]), torch.empty(1, BLOCK)
    truths = {1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15, 8: 105, 12: 10395}
    sums, tails, bins = dict.fromkeys((1, 2, 3, 4, 5, 6), 0.0), dict.fromkeys((3.0, 4.0, 4.5), 0), np.zeros(512)
    edges = ndtri(np.linspace(0, 1, 513))[1:-1]
    for _ in range(BLOCKS):
        z = fill(rng, buffer)[0]
        power = wide = z.double()
        for k in sums:
            sums[k] += float(power.sum())
            power = power * wide
        size = z.abs()
        for level in tails:
            tails[level] += int((size > level).sum())
        bins += np.bincount(np.searchsorted(edges, z.numpy()[: BLOCK // 4]), minlength=512)
    count = BLOCK * BLOCKS
    variances = {1: 1, 2: 2, 3: 15, 4: 105 - 9, 5: 945, 6: 10395 - 225}
    for k, total in sums.items():
        se = math.sqrt(variances[k] / count)
        assert abs(total / count - truths[k]) < 4 * se, (k, total / count, se)
        assert se < 0.01 * max(truths[k], 1)
    for level, seen in tails.items():
        share = 2 * float(norm.sf(level))
        se = math.sqrt(share / count)
        assert abs(seen / count - share) < 4 * se, (level, seen, share * count)
        assert level > 4 or se < 0.05 * share
    expected = bins.sum() / len(bins)
    assert abs(((bins - expected) ** 2 / expected).sum() - 511) < 4 * math.sqrt(2 * 511)


def test_law_of_one_million():
    z = normals(1, [2], 1 << 20)[0].numpy()
    assert kstest(z, "norm").pvalue > 1e-4
    assert kstest(z[::32], "norm").pvalue > 1e-4  # one place in the chunk
    assert kstest(np.abs(z[:16]), "halfnorm").pvalue > 1e-4


def independent(left, right, *, same):
    """Whether columns are uncorrelated, by χ² of all correlations; of one set with itself those above the diagonal."""
    count = len(left)
    left, right = ((x - x.mean(0)) / x.std(0) for x in (left, right))
    r = (left.T @ right / count).numpy()
    r = r[np.triu_indices(len(r), 1)] if same else r.ravel()
    return abs(count * float((r**2).sum()) - r.size) < 4 * math.sqrt(2 * r.size)


@pytest.mark.parametrize("function", [torch.Tensor.double, lambda z: z.double().square(), lambda z: (z > 1).double()])
def test_places_in_a_chunk_and_neighbouring_chunks(function):
    z = function(normals(2, [0], 1 << 21)[0]).view(-1, 32)
    assert independent(z, z, same=True)
    for lag in (1, 2):
        assert independent(z[:-lag], z[lag:], same=False)


def test_chains_and_seeds():
    for z in (normals(7, range(32), 1 << 15), torch.cat([normals(seed, [0], 1 << 15) for seed in range(32)])):
        assert independent(z.T.double(), z.T.double(), same=True)
        assert independent(z.T.double().square(), z.T.double().square(), same=True)


def test_a_chain_alone_or_in_a_group():
    together = normals(4, [0, 3, 8], 1000)
    for row, chain in zip(together, (0, 3, 8), strict=True):
        assert torch.equal(row, normals(4, [chain], 1000)[0])
    assert not torch.equal(normals(5, [3], 1000), normals(4, [3], 1000))


def test_portions_of_any_size_are_one_stream():
    whole = normals(6, [0, 1], 5000)
    for seed in range(20):
        cuts = np.random.default_rng(seed).integers(0, 5000, 12 if seed else 2000)
        rng, edges = streams(6, [0, 1]), [0, *sorted(cuts.tolist()), 5000]
        got = torch.full((2, 5000), torch.nan)
        for a, b in itertools.pairwise(edges):
            fill(rng, got[:, a:b])  # rows far apart
        assert torch.equal(got, whole)


def test_order_of_memory_does_not_matter():
    whole = normals(6, [0, 1], 12)
    turned = torch.empty(4, 3, 2).permute(2, 1, 0)
    assert fill(streams(6, [0, 1]), turned) is turned
    assert torch.equal(turned.flatten(1), whole)


def test_torchs_default_type_does_not_matter():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        rng = streams(6, [0, 1])
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(fill(rng, torch.empty(2, 50)), normals(6, [0, 1], 50))


def test_a_copy_of_a_state_goes_on_alike():
    rng = streams(9, [0])
    fill(rng, torch.empty(1, 45))
    copy = rng._replace(lanes=rng.lanes.clone(), held=rng.held.clone(), used=rng.used.clone())
    assert torch.equal(fill(rng, torch.empty(1, 100)), fill(copy, torch.empty(1, 100)))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 5000])
def test_step_in_one_pass(count):
    """Bit for bit the arithmetic written out, whatever came before."""
    center, (w, g) = normals(0, [9], count)[0], normals(1, [0, 1, 2, 3], count).view(2, 2, count)
    pull, push, scale = 0.3, 0.07, 1.5
    rng, same = streams(8, [0, 1]), streams(8, [0, 1])
    noise = torch.empty(2, count)
    for _ in range(3):
        expected = w + (center - w) * pull - g * push + fill(same, noise) * scale
        langevin(rng, w, center, g, pull, push, scale)
        assert torch.equal(w, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_leaf_by_leaf(dtype):
    center, w, g = (torch.linspace(-1, 1, 2 * 50, dtype=dtype).roll(k).view(2, 50) for k in range(3))
    noise = fill_noise(streams(8, [0, 1]), torch.empty_like(w))
    expected = w + (center[0] - w) * 0.3 - g * 0.07 + noise * 1.5
    leaves = [part.view(2, -1, 5) for part in w.split([20, 30], 1)]
    gradients = [part.reshape(2, -1, 5).mT.contiguous().mT for part in g.split([20, 30], 1)]
    move(streams(8, [0, 1]), [Block(w, center[0], leaves, gradients)], pull=0.3, push=0.07, scale=1.5)
    assert torch.allclose(w, expected, rtol=1e-6)


class Point(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(dimension))

    def forward(self):
        return self.w


# εκ of the stiffest direction is 0.6 and 2.4
@pytest.mark.parametrize(
    ("sampler", "step_size", "draws"), [("sgld", 0.01, 300), ("sgld", 0.04, 200), ("sghmc(friction=1.0)", 0.04, 200)]
)
def test_finite_step_law_in_float32(sampler, step_size, draws):
    """The exact law, s.e. < 1 %; the continuous one is refused. SGHMC without momentum is SGLD."""
    curvature, chains, options = torch.tensor([0.1, 1.0]).repeat_interleave(150), 32, {"nbeta": 50.0, "gamma": 10.0}
    task = bn.Task.from_module(
        Point(300),
        lambda model, batch: (0.5 * (curvature * model().square()).sum()).expand(len(batch)),
        torch.zeros(2, 1),
    )
    settings = Settings(
        sampler=sampler, step_size=step_size, chains=chains, draws=draws, burn_in=200, mode="vmap", seed=1, **options
    )
    seen = sample(task, settings, observables={"weights": "moments"})["observables"].dataset
    squares = seen["weights_variance"].values * (draws - 1) / draws + seen["weights_mean"].values ** 2
    for h, own in zip((0.1, 1.0), squares.reshape(chains, 2, 150).mean(2).T, strict=True):
        truth = float(stationary_variance(np.array([h]), step_size=step_size, **options)[0])
        continuous = 1 / (options["nbeta"] * h + options["gamma"])
        value, se = own.mean(), own.std(ddof=1) / chains**0.5
        assert abs(value - truth) < 4 * se < 0.04 * truth, (value, truth, se)
        if truth > 1.15 * continuous:
            assert abs(value - continuous) > 4 * se
