"""Documents from files: plain text, JSON lines and parquet, alone or in folders."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitsandnats.errors import DataError, message

_PROSE = ("txt", "text", "md", "markdown", "rst", "org", "tex", "adoc", "html", "htm", "xml")
_TABLES = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "yaml", "yml", "toml", "ini", "cfg", "sql")
_CODE = ("py", "pyi", "c", "h", "cc", "cpp", "hpp", "rs", "go", "java", "js", "ts", "jl", "r", "rb", "pl", "lua", "sh")
_SUFFIXES = frozenset(f".{suffix}" for suffix in (*_PROSE, *_TABLES, *_CODE))
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def file_documents(path: str | os.PathLike[str], field: str = "text") -> Iterator[str]:
    """The documents of a file, or of all files in a folder and its subfolders, in order of their paths.

    A file of JSON lines (`.jsonl`, `.ndjson`) or parquet holds one document a row, any other file is one document. In
    folders, hidden files and files whose suffix is not one of text or source code are passed over.

    Args:
        path: a file or folder.
        field: of JSON lines and parquet: the field that holds the text.

    Raises:
        DataError: the path does not exist, a file cannot be read, is in no known encoding, or has no such field.
    """
    for file in _files(Path(path)):
        suffix = file.suffix.lower()
        if suffix in (".jsonl", ".ndjson"):
            yield from _json_lines(file, field)
        elif suffix == ".parquet":
            yield from _parquet(file, field)
        else:
            yield _text(file)


def no_field(field: str, there: list[str], where: str) -> DataError:
    """What is said of rows without the field asked for."""
    got = f"fields {', '.join(sorted(there)) or 'none'}"
    return DataError(message(expected=f"a text field {field!r} in {where}", got=got, do="name another with --field"))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            message(expected=f"a text file or folder at {path}", got="nothing there", do="check the path's spelling")
        )
    inside = (p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    return sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        text = content.decode(_MARKS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            message(
                expected=f"UTF-8 text in {path}",
                got=f"a byte that is not, at position {error.start}",
                do="convert the file to UTF-8 or leave it out",
            )
        ) from None
    if "\0" in text:
        got = f"binary data (a zero at position {text.index(chr(0))})"
        raise DataError(message(expected=f"UTF-8 text in {path}", got=got, do="leave it out"))
    return text


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            got = f"none on line {number}"
            raise DataError(message(expected=f"a JSON object a line in {path}", got=got, do="convert the file"))
        if not isinstance(row.get(field), str):
            raise no_field(field, [k for k, v in row.items() if isinstance(v, str)], f"line {number} of {path}")
        yield row[field]


def _parquet(path: Path, field: str) -> Iterator[str]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        do = "pip install 'bitsandnats[data]'"
        raise DataError(message(expected=f"pyarrow, to read {path}", got="none installed", do=do)) from None
    try:
        with parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise no_field(field, list(file.schema_arrow.names), str(path))
            for batch in file.iter_batches(columns=[field]):
                yield from (str(text) for text in batch.column(0).to_pylist() if text is not None)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return DataError(message(expected=f"a readable file at {path}", got=said, do="check the file and its permissions"))
