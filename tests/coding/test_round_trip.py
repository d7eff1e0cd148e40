"""What is decoded is what was coded, bit by bit; what was damaged is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import bitsandnats as bn
from bitsandnats.coarse_grain import coarse_grain, read_checkpoint
from bitsandnats.compressors import coding
from bitsandnats.compressors.coding import Grid, Network, Piece, to_grid
from bitsandnats.compressors.coding.tokens import BITS, STARTS, to_tokens
from bitsandnats.errors import InputError, ModelError, StoreError

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def assert_same(network):
    decoded = coding.decode(coding.encode(network))
    before, after = network.state(), decoded.state()
    assert list(before) == list(after)
    assert all(same(before[name], after[name]) for name in before)
    assert decoded.aliases == network.aliases
    assert decoded.config == network.config
    assert [g.spacing for p in decoded.pieces.values() for g in p.grids] == [
        g.spacing for p in network.pieces.values() for g in p.grids
    ]


def one(tensor, spacing=0.1, dtype=None):
    return Network({"w": Piece(dtype or tensor.dtype, (to_grid(tensor, spacing),))})


TENSORS = st.tuples(
    st.lists(st.integers(0, 9), max_size=3),
    st.sampled_from([0, 1, 3, 40, 5000, 2**20, 2**31 - 1]),
    st.integers(0, 99),
    st.sampled_from(["even", "laplace", "shifted", "rows"]),
    st.floats(1e-30, 1e30, allow_subnormal=False),
    st.sampled_from([torch.float32, torch.float64]),
)


def symbols(shape, spread, seed, kind):
    source = np.random.default_rng(seed)
    if kind == "laplace":
        return np.clip(source.laplace(0, max(spread, 1e-9), shape), -spread, spread).round()
    found = source.integers(-spread, spread, shape, endpoint=True)
    if kind == "shifted":
        return np.abs(found) // 2 + spread // 2
    if kind == "rows" and len(shape) > 1:
        found[: shape[0] // 2] = 0
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(TENSORS, max_size=4), st.none() | st.sampled_from(DTYPES), st.booleans(), st.sampled_from(["", "{}"]))
def test_any_network(tensors, product, further, config):
    pieces, plain = {}, {}
    for i, (shape, spread, seed, kind, spacing, dtype) in enumerate(tensors):
        whole = np.asarray(symbols(tuple(shape), spread, seed, kind)).astype(np.int32)
        pieces[f"layer.{i}.weight"] = Piece(dtype, (Grid(whole, spacing),))
    if product is not None:
        left, right = (np.arange(-6, 6, dtype=np.int32).reshape(s) for s in ((6, 2), (2, 6)))
        pieces["product"] = Piece(product, (Grid(left, 0.25), Grid(right, 0.1)))
    if further:
        plain = {"fixed": torch.arange(5.0), "count": torch.tensor(7), "none": torch.zeros(0, 2)}
        plain["on"] = torch.tensor([True])
    names = [*pieces, *plain]
    aliases = {names[0]: ("tied.weight", "tied again")} if names and further else {}
    assert_same(Network(pieces, plain, aliases, "a network", config))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (1, 1), (5,), (4, 3), (2, 3, 4)])
def test_shapes_and_types(dtype, shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert_same(one(tensor))
    assert_same(one(torch.zeros(shape, dtype=dtype)))


@pytest.mark.parametrize("rows", [1, 50, 300])
def test_classes_of_rows_and_columns(rows):
    """Scales that differ by rows, by columns or by both."""
    source = torch.Generator().manual_seed(rows)
    noise = torch.randn(rows, 80, generator=source)
    by_row, by_column = torch.logspace(-3, 2, rows)[:, None], torch.logspace(-2, 2, 80)
    for tensor in (noise, noise * by_row, noise * by_column, noise * by_row * by_column):
        assert_same(one(tensor))


def test_tokens_are_exact():
    magnitudes = np.concatenate([np.arange(70_000), 2 ** np.arange(17, 32), 2 ** np.arange(17, 33) - 1])
    tokens = to_tokens(magnitudes)
    assert (STARTS[tokens] <= magnitudes).all()
    assert (magnitudes < STARTS[tokens] + (1 << BITS[tokens].astype(np.int64))).all()
    assert (np.diff(STARTS) == 1 << BITS[:-1].astype(np.int64)).all()


def test_values_are_multiples_of_the_spacing():
    """q(θ) = Δ round(θ/Δ), halves to even; and a product of whole numbers is rounded once."""
    tensor = torch.tensor([0.24, -0.26, 0.25, 0.75, 1.0], dtype=torch.float64)
    assert to_grid(tensor, 0.5).symbols.tolist() == [0, -1, 0, 2, 2]
    left, right = Grid(np.array([[3], [-2]], np.int32), 0.1), Grid(np.array([[7, 1]], np.int32), 0.3)
    product = Piece(torch.float64, (left, right)).tensor()
    assert product.tolist() == [[21 * (0.1 * 0.3), 3 * (0.1 * 0.3)], [-14 * (0.1 * 0.3), -2 * (0.1 * 0.3)]]


def test_products_do_not_depend_on_the_order_of_summation():
    source = np.random.default_rng(0)
    left, right = (source.integers(-900, 900, s).astype(np.int32) for s in ((40, 300), (300, 50)))
    mixed = source.permutation(300)
    first = Piece(torch.float32, (Grid(left, 0.01), Grid(right, 0.03))).tensor()
    second = Piece(torch.float32, (Grid(left[:, mixed], 0.01), Grid(right[mixed], 0.03))).tensor()
    assert torch.equal(first, second)


def test_tied_weights_and_buffers():
    """A transformer with tied embeddings and a module with batch norm: decoded, they compute the very same."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
            self.norm = nn.BatchNorm1d(6)
            self.out.weight = self.embed.weight

        def forward(self, x):
            return self.out(self.norm(self.embed(x)))

    module = Tied().eval()
    with torch.no_grad():
        module.norm.running_mean.fill_(0.3)
    x = torch.arange(10)
    task = bn.Task.from_module(module, bn.losses.cross_entropy(), (x, x))
    network = coarse_grain(read_checkpoint(task), 0.05)
    assert_same(network)
    decoded = coding.decode(coding.encode(network))
    other = Tied().eval()
    other.load_state_dict(decoded.state())
    assert other.out.weight is other.embed.weight
    coarse = task.at(network.params())
    expected = coarse.all_item_losses(coarse.center)
    again = bn.Task.from_module(other, bn.losses.cross_entropy(), (x, x))
    assert torch.equal(again.all_item_losses(again.center), expected)


@pytest.fixture(scope="module")
def data():
    source = torch.Generator().manual_seed(1)
    network = Network({"w": Piece(torch.float32, (to_grid(torch.randn(30, 20, generator=source), 0.2),))}, config="{}")
    return coding.encode(network)


def test_every_flipped_bit_is_refused(data):
    for place in range(len(data)):
        bad = bytearray(data)
        bad[place] ^= 1 << (place % 8)
        with pytest.raises(StoreError, match=r"model\.bnz"):
            coding.decode(bytes(bad), "model.bnz")


def test_every_truncation_is_refused(data):
    for length in range(len(data)):
        with pytest.raises(StoreError, match="expected"):
            coding.decode(data[:length])
    with pytest.raises(StoreError, match="checksum"):
        coding.decode(data + b"\0")


def test_another_version_is_named(data):
    with pytest.raises(StoreError, match=r"version 2 in these bytes, got version 3"):
        coding.decode(data[:3] + b"\3" + data[4:])


def test_another_architecture_is_refused(data):
    network = coding.decode(data)
    coding.check_architecture(data, network)
    with pytest.raises(StoreError, match="architecture"):
        coding.check_architecture(data, one(torch.zeros(3, 3)))


def test_files(tmp_path, data):
    network = coding.decode(data)
    path = tmp_path / "model.bnz"
    assert coding.save(network, path) == path.stat().st_size == len(data)
    assert torch.equal(coding.load(path).params()["w"], network.params()["w"])
    with pytest.raises(StoreError, match=r"no\.bnz"):
        coding.load(tmp_path / "no.bnz")
    with pytest.raises(StoreError, match="written"):
        coding.save(network, tmp_path / "missing" / "model.bnz")
    coding.save_weights(network, tmp_path / "w.pt")
    assert torch.equal(torch.load(tmp_path / "w.pt", weights_only=True)["w"], network.params()["w"])
    with pytest.raises(StoreError, match="exists"):
        coding.save_weights(network, tmp_path / "w.pt")
    assert {p.name for p in tmp_path.iterdir()} == {"model.bnz", "w.pt"}


def test_nothing_partial_under_the_final_name(tmp_path, data, monkeypatch):
    path = tmp_path / "model.bnz"
    path.write_bytes(b"before")

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(StoreError, match="No space left"):
        coding.save(coding.decode(data), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_bad_input():
    with pytest.raises(InputError, match="spacing above 0"):
        to_grid(torch.ones(2), 0.0)
    with pytest.raises(ModelError, match="finite"):
        to_grid(torch.tensor([1.0, float("nan")]), 0.1)
    with pytest.raises(ModelError, match="wider spacing"):
        to_grid(torch.tensor([1e30]), 1e-3)
    huge = Grid(np.full((3, 3), 2**30, np.int32), 1.0)
    with pytest.raises(ModelError, match="wider spacing"):
        Piece(torch.float32, (huge, huge)).tensor()
