import re

import pytest

from bitsandnats.data import embedded_corpus
from bitsandnats.errors import DataError, InputError


@pytest.fixture(scope="module")
def corpus():
    return embedded_corpus(400_000)


def paragraphs(documents):
    found = (" ".join(p.split()) for text in documents for p in re.split(r"\n\s*\n", text))
    return {p for p in found if len(p) >= 40}


def test_held_out_text_is_in_no_training_document(corpus):
    train, held_out = paragraphs(corpus.train), paragraphs(corpus.held_out)
    assert held_out
    assert not train & held_out


def test_no_paragraph_occurs_twice(corpus):
    everything = [p for text in corpus.train for p in re.split(r"\n\s*\n", text)]
    long = [" ".join(p.split()) for p in everything if len(" ".join(p.split())) >= 40]
    assert len(long) == len(set(long))


def test_size_and_share(corpus):
    size = sum(len(t.encode()) for t in (*corpus.train, *corpus.held_out))
    held_out = sum(len(t.encode()) for t in corpus.held_out)
    assert 400_000 <= size < 700_000
    assert 0.05 * size <= held_out < 0.25 * size


def test_both_parts_are_in_it(corpus):
    assert "English" in corpus.description
    assert any(text.startswith("import ") or "\nimport " in text for text in corpus.train)


def test_same_again(corpus):
    assert embedded_corpus(400_000) == corpus


def test_smallest():
    tiny = embedded_corpus(1)
    assert tiny.train
    assert tiny.held_out


def test_needs_a_positive_size():
    with pytest.raises(InputError, match="limit_bytes"):
        embedded_corpus(0)


def test_no_sources(tmp_path, monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(DataError, match="standard library"):
        embedded_corpus()


def test_docstrings_are_english_and_not_code(tmp_path, monkeypatch):
    words = " ".join(f"word{i}" for i in range(60))
    for name in "ab":
        code = "\n\n".join(f"{name}_{i} = {list(range(i, i + 20))}" for i in range(9))
        (tmp_path / f"{name}.py").write_text(f'"""{name} {words}\n\nShared paragraph of both: {words}"""\n{code}\n')
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n" * 100)
    (tmp_path / "broken.py").write_text("def f(:\n" * 100)
    (tmp_path / "escape.py").write_text('x = "' + chr(92) + 'd"\n' + "".join(f"escaped_{i} = {i}\n" for i in range(30)))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "c.py").write_text(f'"""skipped {words}"""\n')
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    documents = [*(found := embedded_corpus()).train, *found.held_out]
    assert len(documents) == 5
    assert sum("escaped_9" in d for d in documents) == 1
    assert sum("Shared paragraph" in d for d in documents) == 1
    assert sum("word1" in d for d in documents) == 2
    assert not any("skipped" in d or "def f" in d for d in documents)
    assert not any("word1" in d and "_1 = " in d for d in documents)
