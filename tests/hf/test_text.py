import pytest
import torch

from bitsandnats.errors import DataError, InputError
from bitsandnats.hf import load_tokenizer, read_documents, split_contexts, text_contexts


def test_files_and_folders(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name, text in {"a.md": "one", "b/c.py": "two", "b/x.bin": "no", ".hidden/d.txt": "no", "z.txt": " \n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "odd.suffix").write_bytes(b"\xef\xbb\xbfthree")
    assert read_documents(tmp_path) == ["one", "two"]
    assert read_documents([str(tmp_path / "odd.suffix"), tmp_path / "b"]) == ["three", "two"]


def test_missing_path(tmp_path):
    with pytest.raises(DataError, match="got nothing there"):
        read_documents(tmp_path / "nowhere")


def test_nothing_in_it(tmp_path):
    with pytest.raises(DataError, match="got no files"):
        read_documents(tmp_path)
    with pytest.raises(DataError, match="at least one path"):
        read_documents([])
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="got empty files"):
        read_documents(tmp_path)


def test_not_utf8(tmp_path):
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"UTF-8 text in .*latin\.txt, got a byte that is not, at position 2"):
        read_documents(tmp_path)


def test_contexts_hold_the_text_and_its_ends(suite_folder):
    tokenizer = load_tokenizer(suite_folder / "step0")
    contexts = text_contexts(["the cat sat\n", "on a mat. Ünï\n"], tokenizer, 2)
    assert contexts.dtype == torch.int64
    whole = tokenizer.decode(contexts.flatten(), skip_special_tokens=False)
    assert "the cat sat\n<|endoftext|>on a mat. Ünï\n<|endoftext|>".startswith(whole)
    assert len(whole) > 30
    assert tokenizer.eos_token == "<|endoftext|>"


def test_split():
    rest, held_out = split_contexts(torch.arange(24).view(12, 2), every=4)
    assert held_out[:, 0].tolist() == [6, 14, 22]
    assert rest[:, 0].tolist() == [0, 2, 4, 8, 10, 12, 16, 18, 20]
    with pytest.raises(DataError, match="at least 10 contexts"):
        split_contexts(torch.arange(8).view(4, 2))
    with pytest.raises(InputError, match="at least 2"):
        split_contexts(torch.arange(8).view(4, 2), every=1)
