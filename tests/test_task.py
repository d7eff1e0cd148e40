import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import Dataset, TensorDataset

import bitsandnats as bn
from bitsandnats.errors import InputError, ModelError


class Pairs(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


@pytest.fixture
def xy():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 3, generator=generator), torch.randint(4, (30,), generator=generator)


def test_data_of_every_form(build_mlp, xy):
    x, y = xy
    model = build_mlp(3, 4)
    loss = bn.losses.cross_entropy()
    expected = nn.functional.cross_entropy(model(x), y, reduction="none").detach()

    def from_dict(model, batch):
        return loss(model, (batch["x"], batch["y"]))

    tasks = [
        bn.Task.from_module(model, loss, (x, y)),
        bn.Task.from_module(model, loss, TensorDataset(x, y)),
        bn.Task.from_module(model, loss, Pairs(x, y)),
        bn.Task.from_module(model, loss, [(x[i], int(y[i])) for i in range(30)]),
        bn.Task.from_module(model, from_dict, {"x": x, "y": y}),
    ]
    for task in tasks:
        assert task.n == 30
        assert task.unit == "sample"
        assert task.dimension == 16
        assert torch.allclose(task.all_item_losses(task.center, 7), expected, atol=1e-6)
        assert float(task.mean_loss(task.all_item_losses(task.center))) == pytest.approx(float(expected.mean()))
        chosen = task.batch(torch.tensor([[0, 5], [5, 2]]))
        leaf = chosen["x"] if isinstance(chosen, dict) else chosen[0]
        assert torch.equal(leaf, x[torch.tensor([[0, 5], [5, 2]])])
    assert tasks[0].chance_loss == pytest.approx(math.log(4))
    assert tasks[-1].chance_loss is None


def token_loss(model, batch):
    logits = model(batch["x"])
    flat = nn.functional.cross_entropy(logits.flatten(0, 1), batch["y"].flatten(), reduction="none")
    return flat.view(batch["y"].shape)


@pytest.fixture
def tokens():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 5, 3, generator=generator)
    y = torch.randint(4, (12, 5), generator=generator)
    keep = (torch.arange(5) < torch.randint(1, 6, (12, 1), generator=generator)).long()
    return {"x": x, "y": y, "keep": keep}


def test_units(build_mlp, tokens):
    model = build_mlp(3, 4)
    losses = token_loss(model, tokens).detach()
    token = bn.Task.from_module(model, token_loss, tokens)
    assert (token.unit, token.n, token.mean_weight) == ("token", 60, 5)
    assert float(token.mean_loss(token.all_item_losses(token.center))) == pytest.approx(float(losses.mean()), rel=1e-6)
    sequence = bn.Task.from_module(model, token_loss, tokens, unit="sequence")
    assert (sequence.unit, sequence.n, sequence.mean_weight) == ("sequence", 12, 1)
    assert float(sequence.mean_loss(sequence.all_item_losses(sequence.center))) == pytest.approx(
        float(losses.sum(1).mean()), rel=1e-6
    )


def test_weights(build_mlp, tokens):
    """Padding: L = Σwℓ/Σw over the data set, and a batch uses the data set's mean weight an item."""
    model = build_mlp(3, 4)
    losses, keep = token_loss(model, tokens).detach(), tokens["keep"]
    task = bn.Task.from_module(model, token_loss, tokens, weight=lambda b: b["keep"])
    assert task.n == int(keep.sum())
    assert float(task.mean_loss(task.all_item_losses(task.center))) == pytest.approx(
        float((losses * keep).sum() / keep.sum()), rel=1e-6
    )
    part = task.item_losses(task.center, task.batch(torch.arange(3)))
    by_hand = (losses * keep)[:3].sum() / (3 * keep.sum() / 12)
    assert float(task.mean_loss(part)) == pytest.approx(float(by_hand), rel=1e-6)
    # minibatches are unbiased for L: their mean over all of a partition is L
    means = [task.mean_loss(task.item_losses(task.center, task.batch(torch.arange(i, i + 3)))) for i in range(0, 12, 3)]
    assert float(torch.stack(means).mean()) == pytest.approx(
        float(task.mean_loss(task.all_item_losses(task.center))), rel=1e-6
    )


def test_center_and_fixed(build_mlp, xy):
    model = build_mlp(3, 5, 4)
    model[0].requires_grad_(False)
    task = bn.Task.from_module(model, bn.losses.cross_entropy(), xy)
    assert list(task.center) == ["2.weight", "2.bias"]
    assert list(task.fixed) == ["0.weight", "0.bias"]
    assert task.dimension == 24
    moved = {k: p + 1 for k, p in task.center.items()}
    with torch.no_grad():
        other = build_mlp(3, 5, 4)
        other[2].weight.add_(1)
        other[2].bias.add_(1)
        expected = nn.functional.cross_entropy(other(xy[0]), xy[1], reduction="none")
    assert torch.allclose(task.all_item_losses(moved), expected, atol=1e-6)
    assert task.at(moved).center is moved


def test_tied_weights_are_one(xy):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    model = Tied()
    task = bn.Task.from_module(model, bn.losses.cross_entropy(), (xy[0], xy[1] % 3))
    assert list(task.center) == ["a.weight"]
    w = torch.eye(3)
    logits = torch.tanh(xy[0])
    expected = nn.functional.cross_entropy(logits, xy[1] % 3, reduction="none")
    assert torch.allclose(task.all_item_losses({"a.weight": w}), expected, atol=1e-6)


class Everything(nn.Module):
    """A recurrent layer that keeps a list of its weights, a tie, a buffer, a layer used twice, one that is frozen."""

    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(3, 4, batch_first=True)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)
        self.again = self.norm
        self.scale = nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.register_buffer("shift", torch.tensor([0.1, 0.2, 0.3, 0.4]))

    def forward(self, x):
        hidden = self.recurrent(x[:, None].expand(-1, 2, -1))[0][:, 1]
        return self.second(self.norm(torch.tanh(self.first(hidden)))) * self.scale + self.shift


@pytest.mark.parametrize("through", [lambda task: task, copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])
def test_weights_reach_every_place(through, xy):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Everything().eval()
    task = through(bn.Task.from_module(model, bn.losses.cross_entropy(), xy))
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    assert list(task.center) == names
    held = dict(model.named_parameters())
    moved = {name: (0.9 * w + 0.1).requires_grad_() for name, w in task.center.items()}
    logits = functional_call(copy.deepcopy(model), moved, (xy[0],))
    expected = nn.functional.cross_entropy(logits, xy[1], reduction="none")
    found = task.loss(moved, xy)
    assert torch.equal(found, expected)
    ours, theirs = (torch.autograd.grad(losses.sum(), list(moved.values())) for losses in (found, expected))
    assert all(torch.equal(a, b) and bool(a.any()) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(task.loss(task.center, xy), nn.functional.cross_entropy(model(xy[0]), xy[1], reduction="none"))
    assert all(p is held[name] for name, p in model.named_parameters())


def test_weights_are_taken_out_again_after_an_error(xy):
    calls = []

    class Fails(nn.Linear):
        def forward(self, x):
            if calls:
                raise RuntimeError("no")
            return super().forward(x)

    task = bn.Task.from_module(Fails(3, 4), bn.losses.cross_entropy(), xy)
    before = task.loss(task.center, xy)
    calls.append(1)
    with pytest.raises(RuntimeError, match="no"):
        task.loss({k: w + 1 for k, w in task.center.items()}, xy)
    calls.clear()
    assert torch.equal(task.loss(task.center, xy), before)
    assert torch.equal(task.loss({}, xy), before)


def test_on_other_data(build_mlp, xy, tokens):
    task = bn.Task.from_module(build_mlp(3, 4), bn.losses.cross_entropy(), xy)
    part = task.on((xy[0][:7], xy[1][:7]))
    assert (part.n, task.n) == (7, 30)
    assert part.center is task.center
    padded = bn.Task.from_module(build_mlp(3, 4), token_loss, tokens, weight=lambda b: b["keep"])
    few = {k: v[:4] for k, v in tokens.items()}
    assert padded.on(few).n == int(few["keep"].sum())


def test_losses_by_hand(build_mlp):
    model = build_mlp(2, 2, dtype=torch.float64)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.ones(6, 2, dtype=torch.float64)
    task = bn.Task.from_module(model, bn.losses.gaussian(0.5), (x, y))
    assert torch.allclose(task.all_item_losses(task.center), ((model(x) - y) ** 2).sum(1).detach() / 0.5)
    assert task.chance_loss == 0.0
    one = bn.Task.from_module(build_mlp(2, 1, dtype=torch.float64), bn.losses.gaussian(1.0), (x, y[:, 0]))
    assert one.all_item_losses(one.center).shape == (6,)
    spread = bn.Task.from_module(model, bn.losses.gaussian(2.0), (x, x))
    assert spread.chance_loss == pytest.approx(float(x.var(0, correction=0).sum()) / 8)
    with pytest.raises(InputError, match="expected sigma > 0, got sigma = 0"):
        bn.losses.gaussian(0.0)


def test_cross_entropy_keeps_double_precision(build_mlp, xy):
    """A float64 model's losses stay float64: Hessians and small differences need it."""
    model = build_mlp(3, 4, dtype=torch.float64)
    task = bn.Task.from_module(model, bn.losses.cross_entropy(), (xy[0].double(), xy[1]))
    assert task.all_item_losses(task.center).dtype == torch.float64


def test_a_loss_may_only_call_the_model(build_mlp, xy):
    def loss(model, batch):
        return model.forward(batch[0]).sum(1)

    with pytest.raises(ModelError, match=r"expected a loss that only calls model\(...\), got model.forward"):
        bn.Task.from_module(build_mlp(3, 4), loss, xy)

    def reads(model, batch):
        return model(batch[0]).sum(1) * (0.0 if model.training else 1.0)

    bn.Task.from_module(build_mlp(3, 4), reads, xy)


def test_frozen(build_mlp, xy):
    task = bn.Task.from_module(build_mlp(3, 4), bn.losses.cross_entropy(), xy)
    with pytest.raises(AttributeError):
        task.unit = "token"
