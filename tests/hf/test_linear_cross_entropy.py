"""Cross-entropy by chunks against the plain formula: losses, gradients, second derivatives; and whole models."""

from typing import Any

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.hf import linear_cross_entropy as room
from bitsandnats.hf import loss as loss_room
from bitsandnats.hf.linear_cross_entropy import linear_cross_entropy


def _inputs(bias: bool, dtype: torch.dtype) -> tuple[list[Any], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((50, 8), (37, 8), (37,))
    hidden, weight, offset = (torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes)
    return [hidden, weight, offset if bias else None], torch.randint(37, (50,), generator=generator)


def _chunked(inputs: list[Any], labels: torch.Tensor) -> torch.Tensor:
    return linear_cross_entropy(inputs[0], inputs[1], inputs[2], labels)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("weights", ["equal", "unequal"])
def test_equals_plain(bias, weights, monkeypatch):
    monkeypatch.setitem(room._NUMBERS, "cpu", 37 * 17)
    inputs, labels = _inputs(bias, torch.float64)
    outer = torch.full((50,), 0.3, dtype=torch.float64) if weights == "equal" else torch.arange(50.0).double()
    given = [t for t in inputs if t is not None]
    plain = nn.functional.cross_entropy(nn.functional.linear(inputs[0], inputs[1], inputs[2]), labels, reduction="none")
    chunked = _chunked(inputs, labels)
    torch.testing.assert_close(chunked, plain)
    wanted = torch.autograd.grad(plain, given, outer)
    torch.testing.assert_close(torch.autograd.grad(chunked, given, outer, retain_graph=True), wanted)
    torch.testing.assert_close(torch.autograd.grad(chunked, given, outer), wanted)  # again, from the same graph


def test_second_derivative(monkeypatch):
    monkeypatch.setitem(room._NUMBERS, "cpu", 37 * 17)
    inputs, labels = _inputs(True, torch.float64)
    found = []
    for losses in (
        _chunked(inputs, labels),
        nn.functional.cross_entropy(nn.functional.linear(inputs[0], inputs[1], inputs[2]), labels, reduction="none"),
    ):
        first = torch.autograd.grad(losses.mean(), inputs, create_graph=True)
        squares = torch.stack([g.square().sum() for g in first]).sum()
        found.append(torch.autograd.grad(squares, inputs))
    torch.testing.assert_close(*found)


def test_bfloat16(monkeypatch):
    monkeypatch.setitem(room._NUMBERS, "cpu", 37 * 17)
    inputs, labels = _inputs(True, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = nn.functional.cross_entropy(
            nn.functional.linear(inputs[0], inputs[1], inputs[2]).float(), labels, reduction="none"
        )
        chunked = _chunked(inputs, labels)
    torch.testing.assert_close(chunked, plain, rtol=0.02, atol=0.02)
    for left, right in zip(
        torch.autograd.grad(chunked.sum(), inputs), torch.autograd.grad(plain.sum(), inputs), strict=True
    ):
        assert left.dtype == torch.float32
        assert (left - right).norm() < 0.02 * right.norm()


@pytest.mark.parametrize("name", ["neox", "neox-tied", "gpt2", "llama", "gemma2"])
def test_models(name, build_transformer, monkeypatch):
    model = build_transformer(name, torch.float64)
    tokens = torch.randint(40, (5, 12), generator=torch.Generator().manual_seed(0))
    task = bn.Task.from_module(model, bn.hf.CausalLMLoss(), tokens)
    plain = _loss_and_gradient(task, tokens)
    monkeypatch.setattr(loss_room, "_PLAIN", 0)
    monkeypatch.setitem(room._NUMBERS, "cpu", 40 * 16)
    calls = []
    monkeypatch.setattr(loss_room, "linear_cross_entropy", lambda *a: calls.append(1) or linear_cross_entropy(*a))
    torch.testing.assert_close(_loss_and_gradient(task, tokens), plain)
    assert bool(calls) == (name != "gemma2")  # whose logits are bent after the last map


def _loss_and_gradient(task, tokens):
    leaves = {k: w.detach().requires_grad_() for k, w in task.center.items()}
    losses = task.loss(leaves, tokens)
    return losses.detach(), torch.autograd.grad(losses.sum(), list(leaves.values()))
