"""Components against ablation, and against masks on the whole network's gradient."""

import copy
import itertools

import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.component import on_component, preview
from bitsandnats.errors import InputError
from bitsandnats.structure import read_structure
from bitsandnats.structure.components import names, select
from bitsandnats.target import LocalPosterior

FAMILIES = ["neox", "gpt2", "llama", "qwen2", "qwen3", "phi3", "gemma2", "neox-tied"]


def shapes(model):
    return {name: p.shape for name, p in model.named_parameters()}


def disjoint(first, second):
    """Whether two selections share no coordinate; rows and columns of one parameter always meet."""
    return not any(
        a.name == b.name and (a.axis != b.axis or (a.start < b.stop and b.start < a.stop))
        for a, b in itertools.product(first, second)
    )


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(24).view(2, 12), use_cache=False).logits


@pytest.fixture(params=FAMILIES)
def model(request, build_transformer):
    return build_transformer(request.param, torch.float64)


def zeroed(model, selected):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for part in selected:
            part.of(model.get_parameter(part.name)).zero_()
    return logits(model)


@pytest.mark.parametrize("which", [1, 10])
def test_zeroing_a_head_is_ablating_its_output(which, model):
    structure = read_structure(model)
    head = structure.heads[which]
    size = head.output.stop - head.output.start
    group = [h for h in structure.heads if h.value == head.value]  # they share keys and values, and lose them together

    def forget(part, inputs):
        x = inputs[0].clone()
        for h in group:
            x[..., h.index * size : (h.index + 1) * size] = 0
        return (x,)

    ablated = copy.deepcopy(model)
    ablated.get_submodule(head.output.name.removesuffix(".weight")).register_forward_pre_hook(forget)
    found = zeroed(model, select(structure, shapes(model), f"layer.{head.layer}.head.{head.index}"))
    expected = logits(ablated)
    assert float((found - expected).abs().max()) < 1e-6 * float(expected.abs().max())
    assert not torch.allclose(found, logits(model))


def test_heads_without_shared_keys_are_disjoint_and_make_up_attention(model):
    structure, own = read_structure(model), shapes(model)
    heads = [select(structure, own, f"layer.1.head.{h}") for h in range(4)]
    values = [h.value for h in structure.heads if h.layer == 1]
    for other in (1, 3):
        assert disjoint(heads[0], heads[other]) == (values[0] != values[other])
    together = select(structure, own, "+".join(f"layer.1.head.{h}" for h in range(4)))
    assert [s for s in select(structure, own, "layer.1.attention") if s in together]
    assert disjoint(together, select(structure, own, "layer.1.mlp"))
    assert disjoint(together, select(structure, own, "layer.0"))


def test_names_all_select_something(model):
    structure = read_structure(model)
    found = names(structure, shapes(model))
    assert {"layer.2", "layer.2.attention", "layer.2.mlp", "layer.2.head.3", "embed", "unembed"} <= set(found)
    assert all(select(structure, shapes(model), name) for name in found)


def test_whole_layers_and_the_rest_are_the_network(model):
    structure, own = read_structure(model), shapes(model)
    final = "transformer.ln_f.*" if "transformer.ln_f.weight" in own else "*norm*"
    parts = "+".join([*(f"layer.{i}" for i in range(3)), "embed", "unembed", final])
    assert sum(p.numel() for p in model.parameters()) == sum(own[s.name].numel() for s in select(structure, own, parts))


@pytest.fixture
def task(build_transformer):
    tokens = torch.randint(40, (24, 12), generator=torch.Generator().manual_seed(0))
    return bn.Task.from_module(build_transformer("gpt2", torch.float64).eval(), bn.hf.CausalLMLoss(), tokens)


@pytest.mark.parametrize("component", ["layer.1.head.2", "layer.0.mlp", "layer.2.head.0+layer.2.head.1", "*.bias"])
def test_gradient_is_a_part_of_the_whole_one(component, task):
    compare(task, component, "loop")


@pytest.mark.parametrize("component", ["layer.0", "0.weight", "*.bias"])
def test_gradient_of_all_chains_at_once(component):
    x, y = torch.randn(24, 3), torch.randint(2, (24,))
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    compare(bn.Task.from_module(model, bn.losses.cross_entropy(), (x, y)), component, "vmap")


def compare(task, component, mode):
    """The gradient of a component is a slice of the network's."""
    part = on_component(task, component)
    batch = task.batch(torch.arange(16).view(2, 8))

    def gradient(task):
        position = {name: w.repeat(2, *(1,) * w.ndim) for name, w in task.center.items()}
        return LocalPosterior(task, 10.0, 1.0, mode).evaluate(position, batch)

    whole, own = gradient(task), gradient(part)
    assert torch.allclose(own.loss, whole.loss)
    own_shapes = {name: w.shape for name, w in task.center.items()}
    selected = select(task.structure, own_shapes, component)
    assert len(selected) == len(part.center)
    for found, s in zip(own.gradient.values(), selected, strict=True):
        assert torch.allclose(found, whole.gradient[s.name].narrow(s.axis + 1, s.start, s.stop - s.start))
    assert sum(n for _, n in preview(task, component)) == part.dimension


def test_only_those_coordinates_move(task):
    before = {name: w.clone() for name, w in task.center.items()}
    part = on_component(task, "layer.1.head.2")
    settings = bn.Settings(step_size=1e-4, gamma=1.0, nbeta=10.0, draws=5, chains=2, batch_size=8, mode="loop")
    assert bn.estimate_llc(part, settings=settings).figures["dimension"] == part.dimension
    assert all(torch.equal(w, before[name]) for name, w in task.center.items())
    assert part.notes[-1] == "only layer.1.head.2 moves"
    assert sum(w.numel() for w in part.fixed.values()) >= task.dimension - part.dimension


def test_pattern_on_a_plain_module():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    structure = read_structure(model)
    assert [s.name for s in select(structure, shapes(model), "*.bias")] == ["0.bias", "2.bias"]
    assert [s.name for s in select(structure, shapes(model), "layer.1")] == ["2.weight", "2.bias"]
    assert names(structure, shapes(model)) == ["layer.0", "layer.1"]
    assert [s.name for s in select(None, shapes(model), "0.*+0.weight")] == ["0.weight", "0.bias"]


@pytest.mark.parametrize(
    ("component", "said"),
    [
        ("layer.9", "choose one such as layer"),
        ("layer.1.head.9", r"layer\.1\.head\."),
        ("layer.1.heads.1", r"got 'layer\.1\.heads\.1'"),
        ("nothing*", "a component of this model"),
    ],
)
def test_what_is_not_there(component, said, build_transformer):
    model = build_transformer("neox")
    with pytest.raises(InputError, match=said):
        select(read_structure(model), shapes(model), component)
