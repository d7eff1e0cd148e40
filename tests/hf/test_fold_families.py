"""Saved models of every family: folded on loading, same losses, nothing moved that did not move before."""

import pytest
import torch

from bitsandnats.hf import load_task
from bitsandnats.hf._quiet import quiet

FOLDED = {  # norms folded, norms left, new fixed biases
    "neox": (7, 0, ["lm_head.bias"]),
    "neox-tied": (6, 1, []),
    "gpt2": (6, 1, []),
    "gpt2-untied": (7, 0, ["lm_head.bias"]),
    "llama": (7, 0, []),
    "llama-tied": (6, 1, []),
    "qwen2": (7, 0, []),
    "qwen3": (7, 6, []),
}


@pytest.fixture(scope="module")
def contexts():
    return torch.randint(40, (6, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path, build_transformer):
    def save(name):
        with quiet():
            build_transformer(name).save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("name", FOLDED)
def test_folded_on_loading(name, saved, contexts):
    folder = saved(name)
    plain, folded = (load_task(folder, text=contexts, fold=fold) for fold in (False, True))
    assert torch.allclose(folded.all_item_losses(folded.center), plain.all_item_losses(plain.center), rtol=1e-5)
    count, left, biases = FOLDED[name]
    norms = {key for key in plain.center if "norm" in key or ".ln_" in key}
    assert set(folded.center) == set(plain.center) - norms
    assert folded.dimension == plain.dimension - sum(plain.center[key].numel() for key in norms)
    assert [key for key in folded.fixed if key not in norms] == biases
    assert len({key.rsplit(".", 1)[0] for key in folded.fixed if key in norms}) == left
    assert folded.notes[0] == f"{count} layer norms folded into the linear maps behind (function-preserving)"
    assert any("left as they are and fixed" in note for note in folded.notes) == bool(left)
    assert plain.notes == ()
    assert folded.structure.heads == plain.structure.heads
    assert folded.structure.matrices == plain.structure.matrices
    assert len(folded.structure.heads) == 12


@pytest.mark.parametrize("name", ["qwen2", "gpt2-untied"])
def test_folding_where_it_is_known_how(name, saved, contexts):
    folder = saved(name)
    assert load_task(folder, text=contexts, fold=None).notes == load_task(folder, text=contexts, fold=True).notes


def test_not_folding_is_said(saved, contexts):
    task = load_task(saved("gemma2"), text=contexts, fold=None)
    assert task.notes == ("layer norms not folded: not known how for this architecture",)
    assert task.fixed == {}


def test_parameters_that_no_longer_move_are_not_sampled(saved, contexts):
    """Gradients of the folded task reach every moving parameter and no other."""
    task = load_task(saved("qwen3"), text=contexts, fold=True)
    params = {key: p.clone().requires_grad_() for key, p in task.center.items()}
    gradients = torch.autograd.grad(
        task.mean_loss(task.item_losses(params, task.batch(torch.arange(3)))), params.values()
    )
    assert all(bool(g.any()) for g in gradients)
