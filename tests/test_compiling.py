import numpy as np
import pytest
import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.compiling import compiled, repeated_layers
from bitsandnats.component import on_component
from bitsandnats.errors import InputError
from bitsandnats.paging import center_in
from bitsandnats.run import sample
from bitsandnats.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own

SETTINGS = {"step_size": 1e-4, "gamma": 100.0, "nbeta": 30.0, "chains": 2, "draws": 6, "batch_size": 4}


@pytest.fixture
def counted(monkeypatch):
    """Layers captured and differentiated ahead of time, without a compiler; what was captured is counted."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    backend = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr("bitsandnats.compiling._BACKEND", backend)
    yield backend
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def task():
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    tokens = torch.randint(64, (12, 16))
    return bn.Task.from_module(GPTNeoXForCausalLM(config).eval(), bn.hf.CausalLMLoss(), tokens)


@pytest.mark.parametrize("sampler", ["sgld", "rmsprop_sgld", "rmsprop_sgld(initial='one')"])
def test_same_draws(task, counted, sampler):
    settings = Settings(**SETTINGS, sampler=sampler, baseline="batch", mode="loop")
    plain = sample(task, settings)
    found = sample(task, settings.model_copy(update={"compile": True}))
    for name, trace in plain["draws"].dataset.items():
        assert np.allclose(found["draws"][name], trace, rtol=1e-3, atol=1e-4), name
    # for three layers, two chains, six steps: with a gradient and without, one item and several; and the update
    assert counted.frame_count <= 4 + 2 * ("rmsprop" in sampler)


def test_estimate_with_its_verdict(task, counted):
    given = {"step_size": 1e-4, "gamma": 100.0, "nbeta": 30.0, "chains": 2, "draws": 20, "batch_size": 4}
    plain, found = (bn.estimate_llc(task, **given, compile=on) for on in (False, True))
    assert found.llc == pytest.approx(plain.llc, rel=0.02)
    assert found.tree.attrs["mode"] == "loop"


def test_wrapped_losses(task, counted):
    """A part of the network, w* by the CPU, lower precision: the module's loss is found inside."""
    for other in (on_component(task, "layer.1.mlp"), center_in(task, "cpu")):
        settings = Settings(**SETTINGS, mode="loop", precision="bfloat16")
        plain, found = (sample(other, settings.model_copy(update={"compile": on})) for on in (False, True))
        assert np.allclose(found["draws"]["loss"], plain["draws"]["loss"], rtol=1e-2)


def test_layers_run_again_for_their_gradients(counted):
    from transformers import LlamaConfig, LlamaForCausalLM

    from bitsandnats.hf.checkpointing import checkpoint_layers

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64
    )
    model = LlamaForCausalLM(config).eval()
    checkpoint_layers(model)
    task = bn.Task.from_module(model, bn.hf.CausalLMLoss(), torch.randint(64, (12, 16)))
    settings = Settings(**SETTINGS, mode="loop")
    plain, found = (sample(task, settings.model_copy(update={"compile": on})) for on in (False, True))
    assert np.allclose(found["draws"]["loss"], plain["draws"]["loss"], rtol=1e-4)


def test_repeated_layers():
    blocks = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(2)]
    stacked = nn.Sequential(nn.Linear(2, 3), nn.ModuleList(blocks))
    assert repeated_layers(stacked) == list(stacked[1])
    once = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    assert repeated_layers(once) == [once]
    nested = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]) for _ in range(2)])
    assert repeated_layers(nested) == list(nested)


def test_bad_input(task, monkeypatch):
    import dataclasses

    bare = dataclasses.replace(task, loss=lambda params, batch: task.loss(params, batch))
    with pytest.raises(InputError, match="the loss of a module for compile"):
        compiled(bare)
    with pytest.raises(InputError, match="mode auto or loop beside compile"):
        sample(task, Settings(**SETTINGS, mode="vmap", compile=True))

    def broken(graph, inputs):
        raise RuntimeError("no compiler to be found")

    monkeypatch.setattr("bitsandnats.compiling._BACKEND", broken)
    with pytest.raises(InputError, match=r"can compile on this machine, got .*no compiler to be found"):
        compiled(task)
    torch._dynamo.reset()

    def wrong(graph, inputs):
        return lambda *args: [5 * out.sin() for out in graph(*args)]

    monkeypatch.setattr("bitsandnats.compiling._BACKEND", wrong)
    with pytest.raises(InputError, match="the same losses from compiled layers"):
        compiled(task)
    torch._dynamo.reset()


def test_keys_of_older_results():
    """Stored results of plain layers are found as before; those of compiled ones are others."""
    assert "compile" not in Settings(**SETTINGS).values()
    assert Settings(**SETTINGS, compile=True).values()["compile"] is True
