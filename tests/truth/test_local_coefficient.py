"""λ and m of deep linear networks at weights of any ranks, by four independent ways."""

import itertools

import numpy as np
import pytest
import torch

from bitsandnats.errors import InputError
from bitsandnats.theory.deep_linear import (
    generic_ranks,
    has_minimal_ranks,
    local_coefficient,
    local_two_layers,
    product_ranks,
)
from bitsandnats.theory.learning_coefficient import LearningCoefficient, deep_linear


def intervals_at(widths, ranks):
    """How often each interval (i, j) occurs when the weights are split into lines that run from space i to j."""
    depth = len(ranks)

    def rank(i, j):
        if i < 0 or j > depth:
            return 0
        return widths[i] if i == j else ranks[i][j - i - 1]

    pairs = itertools.combinations_with_replacement(range(depth + 1), 2)
    return {(i, j): rank(i, j) - rank(i - 1, j) - rank(i, j + 1) + rank(i - 1, j + 1) for i, j in pairs}


def ranks_of(counts, depth):
    """Widths and ranks of weights that are split so."""

    def through(v, w):
        return sum(c for (i, j), c in counts.items() if i <= v and w <= j)

    widths = [through(v, v) for v in range(depth + 1)]
    return widths, tuple(tuple(through(v, w) for w in range(v + 1, depth + 1)) for v in range(depth))


def random_ranks(random, depth, most):
    while True:
        pairs = itertools.combinations_with_replacement(range(depth + 1), 2)
        counts = {p: int(random.integers(0, most + 1)) if random.random() < 0.7 else 0 for p in pairs}
        widths, ranks = ranks_of(counts, depth)
        if min(widths) > 0:
            return widths, ranks


def layers_with(widths, ranks, *, value=2.0, seed=0):
    """Weights of these ranks with all singular values alike."""
    random = np.random.default_rng(seed)
    counts = intervals_at(widths, ranks)
    lines = [interval for interval, count in counts.items() for _ in range(count)]
    places = [[n for n, (i, j) in enumerate(lines) if i <= v <= j] for v in range(len(widths))]
    bases = [np.linalg.qr(random.standard_normal((h, h)))[0] for h in widths]
    layers = []
    for v, (before, after) in enumerate(itertools.pairwise(places)):
        w = np.array([[value * (a == b) for b in before] for a in after])
        layers.append(bases[v + 1] @ w.reshape(len(after), len(before)) @ bases[v].T)
    return layers


# --- the closed forms that it contains


def test_minimal_ranks_give_aoyagi():
    random = np.random.default_rng(5)
    for _ in range(200):
        widths = [int(h) for h in random.integers(1, 12, random.integers(2, 8))]
        rank = int(random.integers(0, min(widths) + 1))
        ranks = generic_ranks([rank] * (len(widths) - 1))
        assert has_minimal_ranks(ranks)
        assert local_coefficient(widths, ranks) == deep_linear(widths, rank), (widths, rank)


def test_two_layers_give_their_closed_form():
    seen = strictly = 0
    for widths in itertools.product(range(1, 5), repeat=3):
        for first, second in itertools.product(range(min(widths[:2]) + 1), range(min(widths[1:]) + 1)):
            for product in range(max(0, first + second - widths[1]), min(first, second) + 1):
                closed = local_two_layers(widths, first=first, second=second, product=product)
                assert local_coefficient(widths, ((first, product), (second,))) == closed
                seen += 1
                strictly += closed.llc > deep_linear(widths, product).llc
    assert seen > 500
    assert strictly > seen / 10


@pytest.mark.parametrize(
    ("widths", "ranks", "local", "least"),
    [
        ((4, 4, 7), (2, 1, 1), 10.0, 9.5),
        ((7, 4, 4), (0, 2, 0), 9.0, 8.0),
        ((5, 5, 5), (5, 2, 2), 12.5, 11.5),
        ((5, 5, 5), (2, 2, 2), 11.5, 11.5),
        ((4, 6, 5), (3, 4, 2), 10.0, 10.0),
    ],
)
def test_two_layers_that_were_sampled_before(widths, ranks, local, least):
    first, second, product = ranks
    assert local_two_layers(widths, first=first, second=second, product=product).llc == local
    assert deep_linear(widths, product).llc == least


# --- any depth


def least_codimension(widths, ranks):
    """2λ as the smallest codimension of an orbit of the fibre whose closure holds w*.

    Under base changes of all spaces the weights with the same ranks are one orbit; its closure holds the weights whose
    ranks are nowhere larger, and its codimension is the number of pairs of lines [i, j], [k, l] with i < k ≤ j + 1 ≤ l.
    Fixing the product costs r(H₀ + H_L − r) more.
    """
    depth, rank = len(ranks), ranks[0][-1]
    pairs = [(v, w) for v in range(depth) for w in range(v + 1, depth + 1) if (v, w) != (0, depth)]
    best = None
    for values in itertools.product(*[range(ranks[v][w - v - 1], min(widths[v : w + 1]) + 1) for v, w in pairs]):
        table = {**dict(zip(pairs, values, strict=True)), (0, depth): rank}
        counts = intervals_at(widths, tuple(tuple(table[v, w] for w in range(v + 1, depth + 1)) for v in range(depth)))
        if min(counts.values()) < 0:
            continue
        lines = [(interval, count) for interval, count in counts.items() if count]
        codimension = sum(a * b for ((i, j), a), ((k, m), b) in itertools.product(lines, lines) if i < k <= j + 1 <= m)
        best = codimension if best is None else min(best, codimension)
    return best + rank * (widths[0] + widths[-1] - rank)


def test_half_the_codimension_of_the_nearest_orbit():
    random = np.random.default_rng(0)
    above = 0
    for _ in range(120):
        widths, ranks = random_ranks(random, 3, 1)
        found = local_coefficient(widths, ranks)
        assert 2 * found.llc == least_codimension(widths, ranks), (widths, ranks)
        above += found.llc > deep_linear(widths, ranks[0][-1]).llc
    assert above > 3


def test_minima_by_trying_all_strata():
    """λ and m from all sequences u that meet the constraints, longest chain included."""
    random = np.random.default_rng(1)
    several = 0
    for _ in range(200):
        depth = int(random.integers(2, 5))
        widths, ranks = random_ranks(random, depth, 2 if depth < 4 else 1)
        rank, h = ranks[0][-1], [w - ranks[0][-1] for w in widths]
        pairs = list(itertools.combinations(range(depth + 1), 2))
        costs = {}
        for inner in itertools.product(range(h[0] + 1), repeat=depth - 1):
            u = (h[0], *inner, 0)
            falling = all(a >= b for a, b in itertools.pairwise(u))
            if falling and all(u[v] - u[w] <= widths[v] - ranks[v][w - v - 1] for v, w in pairs):
                costs[u] = sum((u[j - 1] - u[j]) * (h[j] - u[j]) for j in range(1, depth + 1))
        least = min(costs.values())
        chain = {}
        for u in sorted((u for u, cost in costs.items() if cost == least), key=sum):
            below = [n for other, n in chain.items() if all(a <= b for a, b in zip(other, u, strict=True))]
            chain[u] = 1 + max(below, default=0)
        found = local_coefficient(widths, ranks)
        assert found.llc == (least + rank * (widths[0] + widths[-1] - rank)) / 2
        assert found.multiplicity in (max(chain.values()), None)
        several += max(chain.values()) > 1
        if found.multiplicity is None:
            assert depth > 3
            assert max(chain.values()) > 1
    assert several > 25


def test_reading_the_network_backwards_changes_nothing():
    random = np.random.default_rng(2)
    for _ in range(100):
        depth = int(random.integers(2, 7))
        widths, ranks = random_ranks(random, depth, 3)
        back = tuple(tuple(ranks[v][w - v - 1] for v in range(w - 1, -1, -1)) for w in range(depth, 0, -1))
        assert local_coefficient(widths[::-1], back) == local_coefficient(widths, ranks)


def test_never_below_the_least_of_the_map():
    random = np.random.default_rng(3)
    for _ in range(100):
        widths, ranks = random_ranks(random, int(random.integers(2, 7)), 2)
        assert local_coefficient(widths, ranks).llc >= deep_linear(widths, ranks[0][-1]).llc


def test_multiplicity_is_left_open_where_chains_may_not_be_nested():
    """The five strata of this network are one chain, but no five nested subspaces at w* belong to it: m is 4."""
    ranks = ((1, 0, 0, 0), (1, 1, 0), (1, 0), (1,))
    assert local_coefficient([2, 2, 2, 2, 2], ranks) == LearningCoefficient(1.5, None)


def test_ranks_are_measured():
    random = np.random.default_rng(4)
    for seed in range(30):
        widths, ranks = random_ranks(random, int(random.integers(1, 6)), 2)
        assert product_ranks(layers_with(widths, ranks, seed=seed)) == ranks
    deep = [0.01 * np.eye(3)] * 30  # 1e-60 in all, and of full rank
    assert product_ranks(deep)[0][-1] == 3


@pytest.mark.parametrize(
    ("widths", "ranks"),
    [([3, 3], ((4,),)), ([3, 3, 3], ((2, 0), (2,))), ([3, 3, 3], ((1, 2), (2,))), ([3, 3, 3], ((1, 1),)), ([3], ())],
)
def test_ranks_that_no_matrices_have_are_refused(widths, ranks):
    with pytest.raises(InputError, match="ranks of the partial products"):
        local_coefficient(widths, ranks)


# --- sampled: exact Hamiltonian Monte Carlo with white inputs


class Network:
    """Potential nβ½‖W_L⋯W₁ − P‖² + γ/2‖w − w*‖² and its gradient, a leading chain axis on all."""

    def __init__(self, layers, nbeta, gamma):
        self.center, self.nbeta, self.gamma = [torch.as_tensor(w) for w in layers], nbeta, gamma
        self.target = self.forward([w[None] for w in self.center])[-1]

    @staticmethod
    def forward(weights):
        return list(itertools.accumulate(weights, lambda product, w: w @ product))

    def __call__(self, weights):
        products = self.forward(weights)
        error = products[-1] - self.target
        loss, gradient, back = 0.5 * error.square().sum((1, 2)), [], error
        for k in reversed(range(len(weights))):
            slope = back @ products[k - 1].mT if k else back
            gradient.append(self.nbeta * slope + self.gamma * (weights[k] - self.center[k]))
            back = weights[k].mT @ back
        pull = sum((w - c).square().sum((1, 2)) for w, c in zip(weights, self.center, strict=True))
        return self.nbeta * loss + self.gamma / 2 * pull, gradient[::-1], loss


def sampled_llc(layers, *, nbeta, gamma, chains=48, burn_in=25, draws=30, leaps=110, seed=0):
    """λ̂ and its standard error, from independent chains that start at w*."""
    generator = torch.Generator().manual_seed(seed)
    potential = Network(layers, nbeta, gamma)
    at = [w.expand(chains, *w.shape).clone() for w in potential.center]
    energy, slope, loss = potential(at)
    step, kept = (nbeta * 2.0 ** (2 * len(layers) - 2)) ** -0.5, []
    for draw in range(burn_in + draws):
        speed = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in at]
        start = energy + sum(p.square().sum((1, 2)) for p in speed) / 2
        width = step * (0.8 + 0.4 * torch.rand(chains, 1, 1, generator=generator, dtype=torch.float64))
        moved, force = at, slope
        for _ in range(leaps):
            speed = [p - width / 2 * g for p, g in zip(speed, force, strict=True)]
            moved = [w + width * p for w, p in zip(moved, speed, strict=True)]
            reached, force, there = potential(moved)
            speed = [p - width / 2 * g for p, g in zip(speed, force, strict=True)]
        end = reached + sum(p.square().sum((1, 2)) for p in speed) / 2
        accept = torch.rand(chains, generator=generator, dtype=torch.float64).log() < start - end
        mask = accept[:, None, None]
        at = [torch.where(mask, new, old) for new, old in zip(moved, at, strict=True)]
        slope = [torch.where(mask, new, old) for new, old in zip(force, slope, strict=True)]
        energy, loss = torch.where(accept, reached, energy), torch.where(accept, there, loss)
        if draw < burn_in:
            step *= 1.1 if accept.double().mean() > 0.8 else 0.7
        else:
            kept.append(nbeta * loss)
    means = torch.stack(kept).mean(0)
    return float(means.mean()), float(means.std() / chains**0.5)


@pytest.mark.parametrize(
    ("widths", "ranks"),
    [
        ((4, 4, 2, 1), ((3, 1, 0), (2, 1), (1,))),
        ((2, 3, 5, 5), ((2, 1, 0), (2, 1), (3,))),
        ((4, 5, 2, 3), ((2, 0, 0), (2, 2), (2,))),
        ((1, 2, 3, 3, 3), ((1, 1, 1, 0), (2, 2, 1), (3, 2), (2,))),
    ],
)
def test_sampled_networks_have_the_local_coefficient(widths, ranks):
    found, se = sampled_llc(layers_with(widths, ranks), nbeta=1e5, gamma=20.0)
    local, least = local_coefficient(widths, ranks), deep_linear(widths, ranks[0][-1])
    assert local.multiplicity == 1
    assert abs(found - local.llc) < 4 * se, (found, se, local)
    assert se < 0.05 * local.llc
    assert abs(found - least.llc) > 4 * se
