"""Text from files, JSON lines, parquet and datasets, in named subsets, tokenized once; padded documents."""

import json
import pickle
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from bitsandnats import hf
from bitsandnats.data import TokenFile, cache_folder
from bitsandnats.errors import DataError, InputError, ModelError, StoreError
from bitsandnats.hf import Texts, load_tokenizer, named_texts, packed, read_documents
from bitsandnats.hf.text import as_texts
from bitsandnats.recipes.subsets import subset_losses

load_task: Any = hf.load_task  # batches of tokens are tensors, which their types do not say
pack_text: Any = packed.pack_text
pack_tokens: Any = packed.pack_tokens
split_packed: Any = packed.split_packed

TEXTS = [f"The cat number {i} sat on {i % 3} mats and looked at the birds.\n" * (1 + i % 3) for i in range(24)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BITSANDNATS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tokenizer(suite_folder):
    return load_tokenizer(suite_folder / "step6")


@pytest.fixture
def rows(tmp_path):
    """The same texts as JSON lines."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"body": t, "id": i}) + "\n" for i, t in enumerate(TEXTS)) + "\n")
    return path


def tokens(task):
    return task.batch(torch.arange(len(task.data)))


# --- where text comes from


def test_json_lines(rows):
    assert read_documents(rows, "body") == TEXTS
    with pytest.raises(DataError, match=r"expected a text field 'text' in line 1 of .*, got fields body; .*--field"):
        read_documents(rows)
    rows.write_text('{"text": "a"}\nnot json\n')
    with pytest.raises(DataError, match=r"a JSON object a line in .*, got none on line 2"):
        read_documents(rows)


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": [*TEXTS, None], "n": list(range(25))}), tmp_path / "t.parquet")
    assert read_documents(tmp_path) == TEXTS
    with pytest.raises(DataError, match=r"field 'body' in .*, got fields n, text"):
        read_documents(tmp_path / "t.parquet", "body")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="expected a readable file at"):
        read_documents(tmp_path / "t.parquet")


def test_datasets_on_disk_and_by_name(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"text": TEXTS, "n": list(range(24))})
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "two")
    assert read_documents(tmp_path / "one") == TEXTS
    assert read_documents(f"dataset:{tmp_path / 'two'}:test") == TEXTS[:1]
    with pytest.raises(DataError, match=r"one split of .*, got splits train, test; write dataset:.*two:train"):
        read_documents(tmp_path / "two")
    with pytest.raises(DataError, match=r"field 'body' in .*, got fields n, text"):
        read_documents(tmp_path / "one", "body")
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or data)
    assert read_documents("dataset:org/pile@v1#small:train[:1%]") == TEXTS
    assert asked == [(("org/pile", "small"), {"split": "train[:1%]", "revision": "v1"})]


def test_a_dataset_that_cannot_be_had():
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match=r"expected the dataset dataset:org/none, got .*; .* it must be cached"):
        read_documents("dataset:org/none")


def test_encodings(tmp_path):
    (tmp_path / "a.txt").write_text("naïve", encoding="utf-16")
    assert read_documents(tmp_path) == ["naïve"]
    (tmp_path / "a.txt").write_bytes(b"text\0binary")
    with pytest.raises(DataError, match=r"UTF-8 text in .*, got binary data \(a zero at position 4\)"):
        read_documents(tmp_path)


def test_names_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.txt").write_text("x")
    assert named_texts(["a=b.txt", "c.txt"]).sources == {"": ["a=b.txt", "c.txt"]}
    named = named_texts(["code=src", "prose=x/y.txt", "code=lib"], "body", "documents")
    assert named == Texts({"code": ["src", "lib"], "prose": ["x/y.txt"]}, "body", "documents")
    assert named.words == "code = src, code = lib, prose = y.txt"
    with pytest.raises(InputError, match=r"a name for each text, or for none, got c.txt without one; write NAME=c.txt"):
        named_texts(["code=src", "c.txt"])
    with pytest.raises(InputError, match="items contexts or documents, got 'lines'"):
        named_texts(["x"], items="lines")


# --- tokenized once


def test_packed_as_pack_does_it(tokenizer, rows):
    whole = pack_text(Texts({"": [str(rows)]}, "body"), tokenizer, 16)
    expected = hf.text_contexts(TEXTS, tokenizer, 16)
    assert torch.equal(tokens_of(whole), expected.int())
    assert whole.largest == int(expected.max())
    assert not whole.padded
    assert whole.subsets == {}
    assert whole.data.batch(torch.tensor([[0, 1], [2, 3]])).shape == (2, 2, 16)


def test_tokenized_once_and_mapped(suite_folder, rows, cache):
    tokenizer = load_tokenizer(suite_folder / "step6")
    calls = []

    class Counting:
        backend_tokenizer, eos_token_id = tokenizer.backend_tokenizer, tokenizer.eos_token_id

        def __call__(self, *args, **options):
            calls.append(1)
            return tokenizer(*args, **options)

    texts = Texts({"": [str(rows)]}, "body")
    first, again = (pack_text(texts, Counting(), 16) for _ in range(2))
    assert len(calls) == 1
    assert first.data.file == again.data.file
    assert first.data.file.parent == cache_folder() / "tokens" == cache / "tokens"
    assert len(pickle.dumps(first.data)) < first.data.file.stat().st_size
    assert torch.equal(pickle.loads(pickle.dumps(first.data)).batch(torch.arange(2)), again.data.batch(torch.arange(2)))
    pack_text(texts, Counting(), 8)
    rows.write_text(rows.read_text().replace("cat", "dog"))
    pack_text(texts, Counting(), 16)
    assert len(calls) == 3
    assert not [p for p in (cache / "tokens").iterdir() if p.name.startswith(".")]


def test_a_task_reads_from_the_file_and_gives_the_same_losses(suite_folder, rows):
    task = load_task(suite_folder / "step6", text=Texts({"": [str(rows)]}, "body"), context=16)
    assert isinstance(task.data, TokenFile)
    plain = load_task(suite_folder / "step6", text=hf.text_contexts(TEXTS, load_tokenizer(suite_folder / "step6"), 16))
    assert task.n == plain.n
    assert torch.equal(task.all_item_losses(task.center), plain.all_item_losses(plain.center))


def test_a_cache_that_cannot_be_written(tokenizer, rows, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BITSANDNATS_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"a cache that can be written at .*; set BITSANDNATS_CACHE"):
        pack_text(Texts({"": [str(rows)]}, "body"), tokenizer, 16)


def test_text_too_short_leaves_nothing(tokenizer, tmp_path, cache):
    (tmp_path / "a.txt").write_text("Too short.")
    with pytest.raises(DataError, match=r"text of prose of at least one context, 64 tokens, got \d+ tokens in 1 doc"):
        pack_text(as_texts({"prose": tmp_path / "a.txt"}), tokenizer, 64)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


# --- padded documents


def test_padded_documents_have_the_losses_of_the_documents(suite_folder, tokenizer, rows):
    texts = Texts({"": [str(rows)]}, "body", "documents")
    for unit in ("token", "sequence"):
        task = load_task(suite_folder / "step6", text=texts, context=16, unit=unit)
        assert len(task.data) == len(TEXTS)
        model = hf.load_model(suite_folder / "step6")[0]
        alone = []
        for text in TEXTS:
            ids = torch.tensor([[*tokenizer(text, add_special_tokens=False)["input_ids"], 0][:16]])
            log_p = model(input_ids=ids).logits.log_softmax(-1)[0, :-1]
            alone.append(-log_p.gather(-1, ids[0, 1:, None]).sum())
        assert torch.allclose(task.all_item_losses(task.center), torch.stack(alone).detach(), atol=1e-4)
        counted = sum(min(len(tokenizer(t, add_special_tokens=False)["input_ids"]) + 1, 16) - 1 for t in TEXTS)
        assert task.n == pytest.approx(counted if unit == "token" else len(TEXTS))


def test_what_is_padded_does_not_matter(suite_folder):
    """Gradients too: of padding nothing is left."""
    given = torch.full((3, 16), -1)
    given[0, :9], given[1], given[2, :2] = torch.arange(9), torch.arange(16), torch.tensor([5, 6])
    task = load_task(suite_folder / "step6", text=given)
    assert task.n == 8 + 15 + 1
    cut = load_task(suite_folder / "step6", text=given[:1, :9])
    gradients = []
    for each, item in ((task, 0), (cut, 0)):
        params = {k: w.clone().requires_grad_() for k, w in each.center.items()}
        loss = each.item_losses(params, each.batch(torch.tensor([item]))).sum()
        gradients.append(torch.autograd.grad(loss, list(params.values())))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_padding_before_text_is_refused(suite_folder):
    for wrong in ([[-1, 3, 4, 5]], [[3, 4, -1, 5]], [[3, -1, -1, -1]], [[3, 4, -2, -2]]):
        with pytest.raises(DataError, match="-1 only behind them as padding"):
            load_task(suite_folder / "step6", text=torch.tensor(wrong))


# --- subsets


def test_subsets_keep_their_items_and_their_losses(suite_folder, tmp_path):
    (tmp_path / "code.txt").write_text("def f(x):\n    return x + 1\n" * 60)
    (tmp_path / "prose.txt").write_text("".join(TEXTS))
    text = {"code": tmp_path / "code.txt", "prose": [tmp_path / "prose.txt"]}
    task = load_task(suite_folder / "step6", text=text, context=16)
    alone = {name: load_task(suite_folder / "step6", text=paths, context=16) for name, paths in text.items()}
    assert list(task.subsets) == ["code", "prose"]
    for name, items in task.subsets.items():
        assert torch.equal(task.batch(torch.tensor(list(items))), tokens(alone[name]))
    exact = subset_losses(task, task.all_item_losses(task.center).numpy())
    for name, part in exact.items():
        whole = float(alone[name].all_item_losses(alone[name].center).mean()) / 15
        assert part["loss"] == pytest.approx(whole, rel=1e-5)
        assert part["items"] == len(alone[name].data)
    some = subset_losses(task)
    assert all(abs(some[name]["loss"] - exact[name]["loss"]) < 4 * some[name]["loss_se"] for name in exact)
    assert task.on(task.data).subsets == {}


def test_every_tenth_of_each_subset_is_held_out(tokenizer, tmp_path):
    for name, times in (("a", 40), ("b", 200)):
        (tmp_path / f"{name}.txt").write_text(f"{name} word\n" * times)
    whole = pack_text(as_texts({n: tmp_path / f"{n}.txt" for n in "ab"}), tokenizer, 8)
    sampling, evaluation = split_packed(whole, 10, 4)
    rows = tokens_of(whole)
    for name, items in whole.subsets.items():
        held_out = [i for i in items if (i - items.start) % 10 == 9]
        assert torch.equal(part_of(sampling, name), rows[[i for i in items if i not in held_out]])
        chosen = np.linspace(0, len(held_out) - 1, min(4, len(held_out))).round().astype(int)
        assert torch.equal(part_of(evaluation, name), rows[[held_out[i] for i in chosen]])
    with pytest.raises(DataError, match="at least 10 contexts of a, to hold one out, got"):
        split_packed(pack_text(as_texts({"a": tmp_path / "a.txt"}), tokenizer, 32), 10, 4)


def tokens_of(found):
    return found.data.batch(torch.arange(len(found.data)))


def part_of(found, name):
    return tokens_of(found)[list(found.subsets[name])]


# --- what does not fit


def test_a_tokenizer_of_another_model(suite_folder, tmp_path, text_file):
    other = shutil.copytree(suite_folder / "step6", tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))
    with pytest.raises(ModelError, match="a tokenizer of at most 200 tokens, the model's vocabulary, got one of 270"):
        hf.series_text(hf.find_series(other), [text_file], 8)


def test_a_context_longer_than_the_models(suite_folder, text_file):
    series = hf.find_series(suite_folder)
    with pytest.raises(InputError, match="a context of at most 16 tokens, the model's positions, got 17"):
        hf.series_text(series, [text_file], 17)
    assert hf.series_text(series, [text_file], None).sampling.context == 16


def test_given_tokens_that_are_too_large(suite_folder):
    with pytest.raises(DataError, match="tokens from 0 to 269, the model's vocabulary, got tokens up to 270"):
        load_task(suite_folder / "step6", text=torch.tensor([[3, 270]]))
    assert pack_tokens(torch.tensor([[3, 270]])).largest == 270
