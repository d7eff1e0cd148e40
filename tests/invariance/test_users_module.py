"""The user's module keeps its mode, gradients, buffers, device and every bit of its weights."""

import copy

import pytest
import torch
from torch import nn

import bitsandnats as bn

SMALL = {"nbeta": 100.0, "gamma": 100.0, "step_size": 1e-4, "batch_size": 16, "chains": 2, "draws": 12, "burn_in": 3}


class Net(nn.Module):
    """Every kind of thing that could be touched: batch norm, dropout, a frozen layer, a gradient, tied weights."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Linear(16, 16).requires_grad_(False)
        self.last = nn.Linear(16, 10)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        return self.last(self.drop(torch.tanh(self.frozen(self.norm(self.first(x))))))


@pytest.fixture
def net(digits):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net()
        x, y = digits["train"]
        nn.functional.cross_entropy(net(x), y).backward()  # leaves gradients and running statistics behind
    return net.eval()


def photograph(module):
    return {
        "state": copy.deepcopy(module.state_dict()),
        "grad": {k: None if p.grad is None else p.grad.clone() for k, p in module.named_parameters()},
        "requires_grad": {k: p.requires_grad for k, p in module.named_parameters()},
        "training": {k: m.training for k, m in module.named_modules()},
        "device": {k: p.device for k, p in module.named_parameters()},
        "identity": {k: (id(p), p.data_ptr(), p._version) for k, p in module.named_parameters()},
        "hooks": {k: (len(m._forward_hooks), len(m._backward_hooks)) for k, m in module.named_modules()},
    }


def same(a, b):
    assert all(torch.equal(v, b["state"][k]) for k, v in a["state"].items())
    assert list(a["state"]) == list(b["state"])
    for k, g in a["grad"].items():
        assert g is b["grad"][k] is None or torch.equal(g, b["grad"][k])
    for part in ("requires_grad", "training", "device", "identity", "hooks"):
        assert a[part] == b[part], part


def calls(tmp_path):
    return {
        "task": lambda task: None,
        "llc": lambda task: bn.estimate_llc(task, **SMALL),
        "llc from noise, vmap": lambda task: bn.estimate_llc(
            task, settings=bn.Settings(**SMALL, start="noise", mode="vmap", sampler="rmsprop_sgld")
        ),
        "critical": lambda task: bn.critical_point(bn.compressors.quantize(), task, tolerance=0.5),
        "calibrate": lambda task: bn.calibrate(task, given={"nbeta": 50.0, "gamma": 1000.0}),
        "study": lambda task: bn.study(
            {"a1": task, "a2": task}, settings=SMALL, out=tmp_path / "run", tolerances=[0.5]
        ),
    }


@pytest.mark.parametrize("call", list(calls(None)))
def test_nothing_is_touched(call, net, digits, tmp_path):
    before = photograph(net)
    task = bn.Task.from_module(net, bn.losses.cross_entropy(), digits["train"])
    center = {k: p.clone() for k, p in task.center.items()}
    calls(tmp_path)[call](task)
    same(before, photograph(net))
    assert all(torch.equal(p, center[k]) for k, p in task.center.items())


def test_later_changes_of_the_module_mode_do_not_reach_the_task(net, digits):
    task = bn.Task.from_module(net, bn.losses.cross_entropy(), digits["train"])
    batch = task.batch(torch.arange(20))
    before = task.item_losses(task.center, batch)
    net.train()
    net.norm.running_mean.add_(1.0)
    assert torch.equal(task.item_losses(task.center, batch), before)
    net(digits["train"][0])  # in training mode this rewrites the module's buffers, not the task's
    assert torch.equal(task.item_losses(task.center, batch), before)
    assert net.training
    assert net.drop.training


def test_the_center_shares_storage(net, digits):
    task = bn.Task.from_module(net, bn.losses.cross_entropy(), digits["train"])
    assert {k: p.data_ptr() for k, p in task.center.items()} == {
        k: p.data_ptr() for k, p in net.named_parameters() if p.requires_grad
    }
    assert set(task.fixed) == {"frozen.weight", "frozen.bias"}
    assert not any(p.requires_grad for p in task.center.values())
