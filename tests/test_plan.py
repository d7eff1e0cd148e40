"""The plan: counts against hand arithmetic and against what runs, and refusals."""

import json

import pytest
import torch

import bitsandnats as bn
from bitsandnats import plan
from bitsandnats.plan.work import counted_flops
from bitsandnats.settings import Settings

SETTINGS = Settings(sampler="rmsprop_sgld", step_size=1e-6, gamma=1.0, nbeta=10.0, chains=2, draws=5, batch_size=8)
NEOX = {
    "model_type": "gpt_neox", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 256, "vocab_size": 500, "max_position_embeddings": 64,
}  # fmt: skip


def test_flops_by_hand(build_transformer):
    """Products of weights: 2 a weight and token; attention: 2 T² a layer and width, of which causality leaves half."""
    task = bn.Task.from_module(build_transformer("neox"), bn.hf.CausalLMLoss(), torch.randint(40, (9, 16)))
    layer = 4 * 16 * 16 + 2 * 16 * 32
    by_hand = 2 * 16 * (3 * layer + 40 * 16) + 3 * 2 * 16 * 16 * 16
    assert plan.forward_flops(task) == by_hand
    shape = plan.task_shape(task)
    assert (shape.parameters, shape.items, shape.context) == (task.dimension, 9, 16)


def test_same_from_the_configuration(tmp_path):
    """A model that is never made has the sizes of one that is."""
    transformers = pytest.importorskip("transformers")
    from bitsandnats.hf.shape import config_sizes

    (tmp_path / "config.json").write_text(json.dumps(NEOX))
    sizes = config_sizes(tmp_path / "config.json", 32)
    fields = {k: v for k, v in NEOX.items() if k != "model_type"}
    model = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**fields)).eval()
    task = bn.Task.from_module(model, bn.hf.CausalLMLoss(), torch.randint(500, (4, 32)))
    shape = plan.task_shape(task)
    assert sizes.parameters == task.dimension
    assert counted_flops(lambda: sizes.forward(1)) + sizes.head_flops == shape.forward_flops
    assert sizes.kept(2) - sizes.kept(1) == pytest.approx(shape.item_bytes, rel=0.25)  # the logits apart


def test_stages_are_what_runs(wave_task):
    """The stages of chains add up to the passes that the chains make."""
    calls = {"items": 0}
    loss = wave_task.loss

    def counting(params, batch):
        calls["items"] += len(batch[0])
        return loss(params, batch)

    import dataclasses

    from bitsandnats.run import sample

    task = dataclasses.replace(wave_task, loss=counting)
    settings = SETTINGS.model_copy(update={"mode": "loop", "baseline": "batch"})
    shape = plan.Shape(task.dimension, 1.0, 1.0, 0.0, len(task.data), 1, "sample")
    sample(task, settings)
    names = ("slope at w*", "L(w*), batches", "draws")
    wanted = sum(s.passes * s.items for s in plan.llc_work(settings, shape) if s.name in names)
    assert calls["items"] == wanted


def test_gpu_by_hand():
    shape = plan.Shape(1_000_000, 2e9, 1e6, 2e6, 100, 128, "token")
    stages = (plan.Stage("draws", "gradient", 10, 8),)
    found = plan.plan_on_gpu("H200", shape, stages, SETTINGS.model_copy(update={"precision": "bfloat16"}))
    assert found.flops == 10 * 8 * 3 * 2e9
    assert found.seconds[0] == pytest.approx(found.flops / (0.4 * 989.4e12) + 10 * 11 * 4e6 / 4.8e12)
    assert found.memory == pytest.approx(4.25 * 4e6 + 2e6 + 8 * 1e6)
    kept = SETTINGS.model_copy(update={"precision": "bfloat16", "center": "cpu"})
    paged = plan.plan_on_gpu("H200", shape, stages, kept)
    # w* is not there, nor the slope at it in a quarter of its bits
    assert paged.memory == pytest.approx(found.memory - 1.25 * 4e6)
    assert paged.seconds[0] == pytest.approx(found.seconds[0] + 10 * 1.25 * 4e6 / 64e9)
    for wrong, said in (({"gpu": "h9"}, "a100, h100, h200"), ({"utilisation": 0.0}, "utilisation")):
        given = {"gpu": "h200", "utilisation": 0.4, **wrong}
        with pytest.raises(bn.errors.InputError, match=said):
            plan.plan_on_gpu(given["gpu"], shape, stages, SETTINGS, utilisation=given["utilisation"])
    large = plan.Shape(10**11, 2e14, 1e9, 0.0, 100, 128, "token")
    with pytest.raises(bn.errors.InputError, match="150 GB"):
        plan.plan_on_gpu("h200", large, stages, SETTINGS)


def test_at_hand(digit_task):
    shape = plan.task_shape(digit_task)
    stages = (*plan.llc_work(SETTINGS, shape), *plan.compress_work(shape, tolerances=1, items=20))
    found = plan.plan_at_hand(digit_task, stages, SETTINGS)
    assert len(found.seconds) == len(stages)
    assert all(s > 0 for s in found.seconds)
    assert found.memory > 1e8
    assert json.loads(json.dumps(found.as_record()))["flops"] == found.flops
