"""The callback in transformers' own Trainer: what is trained is the same to the last bit, and the table is there."""

from typing import Any

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import bitsandnats as bn

SETTINGS = {
    "nbeta": 30.0, "gamma": 1000.0, "step_size": 1e-5, "batch_size": 4, "chains": 1, "burn_in": 1, "draws": 6,
    "start": "center", "mode": "loop",
}  # fmt: skip


@pytest.fixture(scope="module")
def contexts():
    return torch.randint(40, (24, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def trained(build_transformer, contexts, tmp_path, recwarn):
    """Trains a tiny model; the weights it ends with."""
    from transformers import Trainer, TrainingArguments

    def run(*callbacks):
        with torch.random.fork_rng(devices=[]):
            model = build_transformer("neox", attention_dropout=0.1, hidden_dropout=0.1)
            data: Any = [{"input_ids": row, "labels": row} for row in contexts]
            arguments = TrainingArguments(
                output_dir=str(tmp_path / "trainer"),
                max_steps=4,
                per_device_train_batch_size=4,
                learning_rate=1e-3,
                seed=3,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
                dataloader_pin_memory=False,
            )
            Trainer(model, arguments, train_dataset=data, callbacks=list(callbacks)).train()
            return {name: p.detach().clone() for name, p in model.named_parameters()}, torch.get_rng_state()

    return run


@pytest.mark.filterwarnings("default")  # those of the trainer are not ours
def test_the_callback_measures_and_changes_nothing(trained, contexts, tmp_path):
    monitor = bn.Monitor(
        contexts, bn.hf.CausalLMLoss(), at=(0, 2, 4), out=tmp_path / "run", settings=SETTINGS, tolerances=(0.1,)
    )
    alone, state = trained()
    watched, state_watched = trained(bn.hf.trainer_callback(monitor))
    assert [name for name in alone if not torch.equal(alone[name], watched[name])] == []
    assert torch.equal(state, state_watched)
    rows = bn.open_run(tmp_path / "run").summary()["checkpoints"]
    assert [(row["step"], row["failed"]) for row in rows] == [(0, None), (2, None), (4, None)]
    assert len({row["llc"]["llc"] for row in rows}) == 3
    assert len({row["loss"] for row in rows}) == 3
    assert bn.open_run(tmp_path / "run").summary()["model"]["unit"] == "token"
