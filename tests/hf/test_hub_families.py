"""Every family as the hub's cache holds it: shards, half precision, ties, odd heads; the weights as they were saved."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open

import bitsandnats as bn
from bitsandnats.component import on_component
from bitsandnats.hf import load_task
from bitsandnats.hf._quiet import quiet
from bitsandnats.settings import Settings

TIED = {"tie_word_embeddings": True}
KINDS = {  # family, changes, key-value heads, whether the unembedding is the embedding
    "neox": ("neox", {}, 4, False),
    "neox-tied": ("neox-tied", {}, 4, True),
    "gpt2": ("gpt2", {}, 4, True),
    "gpt2-untied": ("gpt2-untied", {}, 4, False),
    "llama": ("llama", {}, 2, False),
    "llama-tied": ("llama-tied", {}, 4, True),
    "qwen2": ("qwen2", {}, 1, False),
    "qwen2-tied": ("qwen2", TIED, 1, True),
    "qwen3": ("qwen3", {}, 2, False),
    "qwen3-tied": ("qwen3", TIED, 2, True),
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CONTEXTS = torch.randint(40, (6, 12), generator=torch.Generator().manual_seed(0))
STEPS = Settings(
    step_size=1e-4, gamma=10.0, nbeta=10.0, batch_size=3, chains=1, draws=2, mode="loop", micro_batch="whole"
)


@pytest.fixture
def cached(tmp_path, hub_cache, put_in, build_transformer):
    """A model in float32, its weights rounded, and where the cache of the hub has it."""

    def make(kind, dtype, shard=None):
        family, changes, *_ = KINDS[kind]
        folder = tmp_path / "saved"
        with quiet():
            saved = build_transformer(family, **changes).to(DTYPES[dtype])
            saved.save_pretrained(folder, **({} if shard is None else {"max_shard_size": shard}))
        model = build_transformer(family, **changes)  # not the saved one, whose tables of positions are rounded too
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.to(DTYPES[dtype]))
        return model, put_in(hub_cache, "lab/model", "step3", folder)

    return make


def digests(snapshot):
    """Content of every file, through its link into the blobs."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in snapshot.iterdir()}


def stored(snapshot):
    """Every tensor in the shards, and how many shards there are."""
    files = sorted(snapshot.glob("*.safetensors"))
    found = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    return found, len(files)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("neox", "float32"), *((k, d) for k in KINDS for d in ("float16", "bfloat16"))]
)
def test_a_family_in_shards(kind, dtype, cached):
    model, snapshot = cached(kind, dtype, shard="6KB")
    _, _, key_values, tied = KINDS[kind]
    on_disk, shards = stored(snapshot)
    index = json.loads((snapshot / "model.safetensors.index.json").read_text())["weight_map"]
    assert shards > 1
    assert set(index.values()) == {p.name for p in snapshot.glob("*.safetensors")}
    assert {w.dtype for w in on_disk.values()} == {DTYPES[dtype]}
    before = digests(snapshot)

    task = load_task("lab/model@step3", text=CONTEXTS)
    assert task.source == f"lab/model@step3 (commit {snapshot.name[:12]})"
    wanted = dict(model.named_parameters())
    assert set(task.center) == set(wanted)  # of tied ones once
    for name, w in task.center.items():
        assert w.dtype == torch.float32
        assert torch.equal(w, wanted[name])
        if name in on_disk:
            assert torch.equal(w, on_disk[name].float())
    said = () if dtype == "float32" else (f"weights stored in {dtype}, upcast to float32",)
    assert task.notes == said
    assert (task.dimension == sum(w.numel() for w in on_disk.values())) or tied
    embedding = model.get_input_embeddings().weight
    assert (model.get_output_embeddings().weight is embedding) == tied

    with torch.no_grad():
        losses = task.item_losses(task.center, CONTEXTS)
        logits = model(input_ids=CONTEXTS).logits
    exact = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), CONTEXTS[:, 1:], reduction="none")
    assert torch.allclose(losses, exact.sum(1), rtol=1e-5)

    assert task.structure is not None
    heads = [h for h in task.structure.heads if h.layer == 1]
    assert len(heads) == 4
    assert len({h.key for h in heads}) == key_values

    estimate = bn.estimate_llc(on_component(task, "layer.1.head.2"), settings=STEPS)
    assert estimate.tree["draws"].dataset.sizes["draw"] == 2
    assert all(torch.equal(w, wanted[name]) for name, w in task.center.items())
    assert digests(snapshot) == before


def test_one_file_gives_what_shards_give(cached, tmp_path):
    _, snapshot = cached("qwen3-tied", "bfloat16")
    assert not (snapshot / "model.safetensors.index.json").exists()
    whole = load_task("lab/model@step3", text=CONTEXTS)
    cached("qwen3-tied", "bfloat16", shard="6KB")
    # saved over the same folder: the cache now has an index beside the one file, as some repositories do
    parts = load_task("lab/model@step3", text=CONTEXTS)
    assert whole.center.keys() == parts.center.keys()
    assert all(torch.equal(w, parts.center[name]) for name, w in whole.center.items())


def test_half_precision_moves_in_single(cached):
    """Steps of √ε = 10⁻⁴ would vanish in bfloat16; the master weights take them."""
    cached("llama", "bfloat16", shard="6KB")
    task = load_task("lab/model@step3", text=CONTEXTS)
    settings = STEPS.model_copy(update={"step_size": 1e-8, "draws": 3})
    found = bn.estimate_llc(task, settings=settings).tree["draws"].dataset["distance_squared"].values[0]
    assert found[1] == pytest.approx(1e-8 * task.dimension, rel=0.2)
    assert found[2] == pytest.approx(2e-8 * task.dimension, rel=0.2)
