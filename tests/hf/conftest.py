import shutil

import pytest
import torch

pytest.importorskip("transformers")

from bitsandnats.hf import TrainOptions, train_suite

OPTIONS = {
    "layers": 1, "width": 16, "heads": 2, "context": 16, "vocabulary": 270,
    "steps": 6, "batch_size": 4, "warmup": 2, "checkpoints": (0, 2, 4), "evaluation_items": 8,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def documents():
    texts = [f"Line {i}: the cat sat on mat {i * 7} and saw {i % 5} birds in the tree.\n" * 4 for i in range(40)]
    return texts[:34], texts[34:]


@pytest.fixture(scope="session")
def options():
    return TrainOptions(**OPTIONS)


@pytest.fixture(scope="session")
def suite_folder(tmp_path_factory, documents, options):
    return train_suite(tmp_path_factory.mktemp("trained") / "suite", options, *documents)


@pytest.fixture
def checkpoint(tmp_path, suite_folder):
    """A copy of the last checkpoint, away from its suite, to be damaged at will."""
    return shutil.copytree(suite_folder / "step6", tmp_path / "model")


@pytest.fixture
def text_file(tmp_path, documents):
    path = tmp_path / "text.txt"
    path.write_text("".join(documents[1]), encoding="utf-8")
    return path
