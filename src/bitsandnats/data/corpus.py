"""Real text that every Python carries: English documentation and the source code of the standard library."""

import ast
import hashlib
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from bitsandnats.errors import DataError, InputError, message

DEFAULT_BYTES = 6_000_000
_HELD_OUT_ONE_IN = 20
_SHORT_PARAGRAPH = 40
_SHORT_DOCUMENT = 200
_PIECE = 2000
_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "idlelib", "lib2to3", "encodings", "site-packages", "dist-packages", "__pycache__"}
)
_OWN_TO_A_MACHINE = ("_sysconfigdata", "sitecustomize", "usercustomize")
_TOPICS = Path("pydoc_data") / "topics.py"


@dataclass(frozen=True)
class Corpus:
    """Text in two disjoint parts.

    Attributes:
        train: documents to train on and to sample with.
        held_out: documents that share no paragraph with those.
        description: what the text is, in words.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    description: str


def embedded_corpus(limit_bytes: int | None = None) -> Corpus:
    """English documentation and source code from the running interpreter's standard library, deduplicated and split.

    English is the help topics and the docstrings; code is the sources without docstrings. A paragraph (a block
    between blank lines, of 40 characters or more) occurs once in all, so no paragraph of the training part is in the
    held-out part; about a twentieth of the text is held out, whole documents chosen by their hash. The same
    interpreter always gives the same corpus.

    Args:
        limit_bytes: size of both parts together in UTF-8, half of it English where there is so much; None = 6 MB.

    Raises:
        InputError: `limit_bytes` is not positive.
        DataError: the interpreter carries no standard-library sources.
    """
    limit = DEFAULT_BYTES if limit_bytes is None else limit_bytes
    if limit < 1:
        raise InputError(message(expected="limit_bytes of at least 1", got=str(limit), do="ask for more text"))
    root = Path(sysconfig.get_path("stdlib"))
    english: list[str] = []
    code: list[str] = []
    seen: set[bytes] = set()
    sizes = {"english": 0, "code": 0}
    for prose, source in _documents(root):
        for part, kept, text in (("english", english, prose), ("code", code, source)):
            if sizes[part] >= limit / 2:
                continue
            fresh = _without_repeats(text, seen)
            if len(fresh) >= _SHORT_DOCUMENT:
                kept.append(fresh)
                sizes[part] += len(fresh.encode())
        if min(sizes.values()) >= limit / 2:
            break
    documents = tuple(sorted({*english, *code}, key=_digest))
    if len(documents) < 2:
        raise DataError(
            message(
                expected="the standard library's sources beside the interpreter",
                got=f"none readable in {root}",
                do="supply your own text",
            )
        )
    share = _share(documents)
    return Corpus(
        train=documents[share:],
        held_out=documents[:share],
        description=(
            f"Python's own documentation ({sizes['english'] / 1e6:.1f} MB of English) and standard-library sources "
            f"({sizes['code'] / 1e6:.1f} MB of code), deduplicated"
        ),
    )


def split_documents(documents: Sequence[str]) -> Corpus:
    """Given text in two parts: about a twentieth is held out, whole documents chosen by their hash.

    Fewer than twenty documents are first cut between paragraphs, into pieces of about 2,000 characters, so that one
    long document can be held out in part. The same documents, in any order, always give the same parts.

    Raises:
        DataError: there is too little text to hold any out.
    """
    kept = [text for text in documents if text.strip()]
    if len(kept) < _HELD_OUT_ONE_IN:
        kept = [piece for text in kept for piece in _pieces(text)]
    parts = tuple(sorted(set(kept), key=_digest))
    if len(parts) < 2:
        raise DataError(
            message(
                expected="text of at least two documents, or of two thousand characters in paragraphs",
                got=f"{len(parts)} document{'' if len(parts) == 1 else 's'} of {sum(map(len, parts))} characters",
                do="supply more text",
            )
        )
    share, size = _share(parts), sum(len(text.encode()) for text in parts)
    return Corpus(parts[share:], parts[:share], f"{size / 1e6:.3g} MB of given text")


def _pieces(text: str) -> Iterator[str]:
    """The text cut between paragraphs into pieces just long enough."""
    piece: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        piece.append(paragraph)
        if sum(map(len, piece)) >= _PIECE:
            yield "\n\n".join(piece)
            piece = []
    if any(paragraph.strip() for paragraph in piece):
        yield "\n\n".join(piece)


def _share(documents: Sequence[str]) -> int:
    """How many documents from the front hold a twentieth of the text, at least one and never all."""
    wanted = sum(map(len, documents)) / _HELD_OUT_ONE_IN
    reached = next(i for i, size in enumerate(accumulate(map(len, documents)), 1) if size >= wanted)
    return min(reached, len(documents) - 1)


def _documents(root: Path) -> Iterator[tuple[str, str]]:
    """Pairs of (English, code): each help topic alone, then each module's docstrings beside its code."""
    for topic in _topics(root / _TOPICS):
        yield topic, ""
    paths = [p.relative_to(root) for p in root.rglob("*.py")]
    library = (p for p in paths if not _SKIPPED_FOLDERS & set(p.parts) and p != _TOPICS)
    kept = [p for p in library if not p.name.startswith(_OWN_TO_A_MACHINE)]
    # Ordered by hash, so that a small corpus is a fair sample of the library and not its letter A.
    for path in sorted(kept, key=lambda p: _digest(p.as_posix())):
        try:
            text = (root / path).read_text(encoding="utf-8")
            yield _separate(text)
        except (UnicodeDecodeError, SyntaxError, ValueError, OSError, RecursionError):
            continue


def _topics(path: Path) -> Iterator[str]:
    """Texts of Python's help topics."""
    try:
        tree = _parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for value in node.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value.strip()


def _separate(source: str) -> tuple[str, str]:
    """A module's docstrings as one text, and its code without them."""
    docstrings: list[str] = []
    lines = source.split("\n")
    for body in _bodies(_parse(source)):
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            text = inspect.cleandoc(first.value.value)
            if len(text) >= _SHORT_PARAGRAPH:
                docstrings.append(text)
            for index in range(first.lineno - 1, first.end_lineno or first.lineno):
                lines[index] = ""
    return "\n\n".join(docstrings), "\n".join(lines)


def _parse(source: str) -> ast.Module:
    """The syntax tree; a warning about a doubtful escape is the library's affair and must not decide what is kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Bodies that may begin with a docstring; expressions are not entered, which is most of the time of a walk."""
    waiting: list[list[ast.stmt]] = [tree.body]
    while waiting:
        body = waiting.pop()
        if body:
            yield body
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                waiting.append(node.body)
            elif isinstance(node, ast.If | ast.Try | ast.With):
                # A docstring cannot begin such a block, but functions are defined in it.
                waiting.append([s for s in node.body if not isinstance(s, ast.Expr)])


def _without_repeats(text: str, seen: set[bytes]) -> str:
    """`text` without the paragraphs in `seen`, to which the new ones are added; short ones always stay."""
    fresh = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n").expandtabs(4)):
        words = " ".join(paragraph.split())
        if not words:
            continue
        if len(words) >= _SHORT_PARAGRAPH:
            key = _digest(words)
            if key in seen:
                continue
            seen.add(key)
        fresh.append(paragraph.strip("\n").rstrip())
    return "\n\n".join(fresh)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
