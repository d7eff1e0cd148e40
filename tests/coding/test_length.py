"""How long the code is: near the entropy, and shorter than anything of general purpose."""

import numpy as np
import pytest
import torch

from bitsandnats.compressors import coding
from bitsandnats.compressors.coding import Grid, Network, Piece, to_grid


def network(tensors, spacing):
    return Network({name: Piece(torch.float32, (to_grid(w, spacing),)) for name, w in tensors.items()})


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def laplace(*shape):
    return torch.from_numpy(np.random.default_rng(0).laplace(size=shape)).float()


@pytest.mark.parametrize("spacing", [2.0, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("draw", [normal, laplace])
def test_within_two_percent_of_first_order_entropy(draw, spacing):
    coarse = network({"a": draw(256, 256), "b": draw(100, 300)}, spacing)
    parts = coding.sections(coarse)
    side = parts.head + parts.names + parts.plain + 64  # and the distributions, of which an entropy knows nothing
    assert sum(parts) == len(coding.encode(coarse))
    assert sum(parts) <= 1.02 * coding.first_order_bits(coarse) / 8 + side


@pytest.mark.parametrize("spacing", [1.5, 0.3, 0.05])
@pytest.mark.parametrize("scale", ["even", "rows", "sparse"])
def test_below_every_general_purpose_compressor(scale, spacing):
    w = normal(200, 160)
    if scale == "rows":
        w = w * torch.logspace(-2, 1, 200)[:, None]
    if scale == "sparse":
        w = w * (normal(200, 1, seed=1) > 1)
    coarse = network({"w": w}, spacing)
    ours = len(coding.encode(coarse))
    assert ours <= 0.9 * coding.published_bytes(coarse)
    assert ours < min(coding.symbol_bytes(coarse).values())


def test_classes_beat_the_first_order_entropy():
    """Rows whose scales differ a thousandfold: one distribution for all is far from the best."""
    coarse = network({"w": normal(256, 256) * torch.logspace(-2, 1, 256)[:, None]}, 0.2)
    assert len(coding.encode(coarse)) < 0.8 * coding.first_order_bits(coarse) / 8


def test_an_empty_pattern_costs_nothing():
    assert len(coding.encode(network({"w": torch.zeros(1000, 1000)}, 0.1))) < 60


def test_entropy_by_hand():
    """Four symbols, two of them once and one twice: 1.5 bits each."""
    grid = Grid(np.array([0, 0, 1, 5], np.int32), 1.0)
    assert coding.first_order_bits(Network({"w": Piece(torch.float32, (grid,))})) == pytest.approx(6.0)


def test_published_size_is_of_float32_bytes():
    """Zeros without signs, since whole numbers have none."""
    import bz2

    w = normal(40, 30)
    rounded = (w.double() / 0.1).round() * 0.1 + 0.0
    assert coding.published_bytes(network({"w": w}, 0.1)) == len(bz2.compress(rounded.float().numpy().tobytes(), 9))
