import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from bitsandnats.errors import DataError, InputError, ModelError, StoreError
from bitsandnats.hf import TrainOptions, find_series, load_task, suite_contexts, train_suite
from bitsandnats.hf.options import log_spaced_steps


class KilledError(Exception):
    pass


def kill_at(step):
    def progress(stage, done, total):
        if stage == "train" and done == step:
            raise KilledError

    return progress


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_equal(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(value, right[name]) for name, value in left.items())


def test_a_suite_is_complete_and_loadable(suite_folder, options):
    assert [c.step for c in find_series(suite_folder)] == [0, 2, 4, 6]
    description = json.loads((suite_folder / "suite.json").read_text())
    assert description["complete"]
    assert [c["tokens"] for c in description["checkpoints"]] == [0, 2 * 64, 4 * 64, 6 * 64]
    train, held_out = suite_contexts(suite_folder)
    assert train.shape[1] == held_out.shape[1] == options.context
    assert sorted(p.name for p in suite_folder.iterdir()) == sorted(
        [
            "held_out.safetensors",
            "step0",
            "step2",
            "step4",
            "step6",
            "suite.json",
            "tokenizer.json",
            "train.safetensors",
        ]
    )


def test_held_out_losses_are_those_of_the_saved_models(suite_folder):
    description = json.loads((suite_folder / "suite.json").read_text())
    held_out = suite_contexts(suite_folder)[1]
    for line in description["checkpoints"]:
        task = load_task(suite_folder / f"step{line['step']}", text=held_out[:: -(-len(held_out) // 8)])
        loss = float(task.mean_loss(task.all_item_losses(task.center)))
        assert loss == pytest.approx(line["loss"], abs=1e-4)


def test_training_learns(tmp_path, documents, options):
    longer = dataclasses.replace(options, steps=120, learning_rate=1e-2, checkpoints=(0,))
    lines = json.loads((train_suite(tmp_path, longer, *documents) / "suite.json").read_text())["checkpoints"]
    assert lines[0]["loss"] == pytest.approx(5.6, abs=0.1)
    assert lines[-1]["loss"] < 2.5


@pytest.mark.parametrize("step", [1, 3, 5])
def test_killed_and_resumed_gives_the_same_weights(tmp_path, suite_folder, documents, options, step):
    with pytest.raises(KilledError):
        train_suite(tmp_path, options, *documents, progress=kill_at(step))
    assert not json.loads((tmp_path / "suite.json").read_text())["complete"]
    started = []
    train_suite(tmp_path, options, *documents, progress=lambda stage, done, total: started.append((stage, done)))
    assert started[0] == ("train", step - step % 2)
    for label in ("step0", "step2", "step4", "step6"):
        assert_equal(weights(tmp_path / label), weights(suite_folder / label))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in suite_folder.iterdir())


def test_killed_while_tokenizing_starts_over(tmp_path, suite_folder, documents, options):
    def progress(stage, done, total):
        if (stage, done) == ("tokenize", 1):
            raise KilledError

    with pytest.raises(KilledError):
        train_suite(tmp_path, options, *documents, progress=progress)
    train_suite(tmp_path, options, *documents)
    assert_equal(weights(tmp_path / "step6"), weights(suite_folder / "step6"))


def test_finished_suites_are_used_as_they_are(suite_folder, documents, options):
    before = (suite_folder / "step6" / "model.safetensors").stat().st_mtime_ns
    told = []
    train_suite(suite_folder, options, *documents, progress=lambda *args: told.append(args))
    assert not told
    assert (suite_folder / "step6" / "model.safetensors").stat().st_mtime_ns == before


def test_other_options_or_text_are_refused(suite_folder, documents, options):
    with pytest.raises(StoreError, match="got width: 16 there, 32 asked; choose another folder"):
        train_suite(suite_folder, dataclasses.replace(options, width=32), *documents)
    with pytest.raises(StoreError, match="held_out: "):
        train_suite(suite_folder, options, documents[0], ["other text"])


def test_damaged_folders(tmp_path, documents, options):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="got a file"):
        train_suite(tmp_path / "file", options, *documents)
    (tmp_path / "suite.json").write_text("{")
    with pytest.raises(StoreError, match="readable"):
        train_suite(tmp_path, options, *documents)


def test_damaged_state(tmp_path, documents, options):
    with pytest.raises(KilledError):
        train_suite(tmp_path, options, *documents, progress=kill_at(3))
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(StoreError, match="delete this file to train from the beginning"):
        train_suite(tmp_path, options, *documents)


def test_seed_matters_and_global_randomness_does_not(tmp_path, suite_folder, documents, options):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    train_suite(tmp_path / "again", options, *documents)
    assert torch.equal(torch.get_rng_state(), before)
    assert_equal(weights(tmp_path / "again" / "step6"), weights(suite_folder / "step6"))
    train_suite(tmp_path / "other", dataclasses.replace(options, seed=1), *documents)
    name = "gpt_neox.embed_in.weight"
    assert not torch.equal(weights(tmp_path / "other" / "step0")[name], weights(suite_folder / "step0")[name])


def test_divergence_is_not_saved(tmp_path, documents, options):
    with pytest.raises(ModelError, match="finite loss in training"):
        train_suite(tmp_path, dataclasses.replace(options, learning_rate=1e30, clip=1e30), *documents)
    assert [c.step for c in find_series(tmp_path)] == [0]


def test_text_too_short_or_too_uniform(tmp_path, documents, options):
    with pytest.raises(DataError, match="held-out text, got none"):
        train_suite(tmp_path, options, documents[0], ["  "])
    with pytest.raises(DataError, match="at least one context"):
        train_suite(tmp_path, options, documents[0], ["cat"])
    with pytest.raises(DataError, match="repeated pieces for 270 tokens"):
        train_suite(tmp_path, options, ["aaaa"], documents[1])
    assert train_suite(tmp_path, options, *documents) == tmp_path


def test_impossible_options():
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"context": 1}, {"vocabulary": 256}, {"width": 12, "heads": 4}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            TrainOptions(**wrong)
    with pytest.raises(InputError, match="checkpoints from 0 to 768"):
        TrainOptions(checkpoints=(0, 1000))


def test_log_spaced_steps():
    assert log_spaced_steps(768) == (0, 1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768)
    assert log_spaced_steps(100) == (0, 1, 2, 4, 8, 16, 32, 64, 96, 100)
    assert log_spaced_steps(1) == (0, 1)


def test_importing_the_room_does_not_import_transformers():
    code = "import sys, bitsandnats.hf; assert not {'transformers', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
