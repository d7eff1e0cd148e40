"""Where a model lies and what its folder holds, found out without loading it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from bitsandnats.errors import ModelError, message
from bitsandnats.hf._quiet import first_line
from bitsandnats.hf.fetch import ensure
from bitsandnats.hf.gguf import gguf_config
from bitsandnats.hf.names import parse

_SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def find_folder(reference: str | os.PathLike[str]) -> Path:
    """The folder of a model: `reference` itself, or that of a name on the hub, fetched where the cache lacks it.

    Args:
        reference: a folder, a GGUF file in one, or `org/name` or `org/name@revision`.

    Raises:
        ModelError: no such folder or name, one that may not be read, or a folder that is no model's.
    """
    folder = Path(reference)
    if not folder.exists():
        return ensure(reference).folder
    if (folder / "config.json").is_file():
        return folder
    if gguf_file(reference) is not None:
        return folder.parent
    raise ModelError(
        message(
            expected=f"a model in {reference}, with its config.json",
            got="a folder without one" if folder.is_dir() else "a file",
            do="name the folder that save_pretrained wrote, or one checkpoint of the series",
        )
    )


def gguf_file(reference: str | os.PathLike[str]) -> str | None:
    """The GGUF file that a reference names, in the model's folder; None for a model in transformers' own form."""
    path = Path(reference)
    if path.exists():
        return path.name if path.suffix.lower() == ".gguf" and path.is_file() else None
    name = parse(reference)
    return None if name is None else name.file


@dataclass(frozen=True)
class Sizes:
    """What a model can take, as its configuration says; None where it does not.

    Attributes:
        positions: the longest context.
        vocabulary: number of tokens.
    """

    positions: int | None
    vocabulary: int | None


def read_sizes(reference: str | os.PathLike[str]) -> Sizes:
    """What a model can take, without loading it.

    Raises:
        ModelError: there is no such model, or its configuration cannot be read.
    """
    folder, gguf = find_folder(reference), gguf_file(reference)
    file = folder / (gguf or "config.json")
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if gguf is None else gguf_config(folder, gguf)
        config = {**config, **config.get("text_config", {})}
        positions = config.get("max_position_embeddings", config.get("n_positions"))
        return Sizes(positions, config.get("vocab_size"))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelError(
            message(expected=f"a readable {file}", got=first_line(error), do="copy or save the checkpoint again")
        ) from None


def origin(reference: str | os.PathLike[str]) -> str | None:
    """A model of the hub with the commit that was loaded, for results; None for a folder."""
    if Path(reference).exists():
        return None
    found = ensure(reference)
    return f"{found.name} (commit {found.commit[:12]})"


def stored_dtypes(folder: Path) -> frozenset[str]:
    """Floating-point types of the weights as they lie in the files, such as `float16`.

    Raises:
        ModelError: there are no weights, or a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    found: set[str] = set()
    files = _weight_files(folder)
    for file in files:
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as opened:
                    found |= {opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118 - not a dict
            else:
                found |= _pickled_dtypes(file)
        except (SafetensorError, RuntimeError, OSError, ValueError, EOFError) as error:
            raise ModelError(
                message(
                    expected=f"undamaged weights in {file}",
                    got=first_line(error),
                    do="copy or save the checkpoint again",
                )
            ) from error
    return frozenset(_SAFETENSORS.get(name, name) for name in found)


def _weight_files(folder: Path) -> list[Path]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        single, index = folder / name, folder / f"{name}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, AttributeError):
                names = []
            missing = [n for n in names if not (folder / n).is_file()]
            if names and not missing:
                return [folder / n for n in names]
            raise ModelError(
                message(
                    expected=f"the weight files that {index} lists",
                    got=f"no {missing[0]}" if missing else "an unreadable list",
                    do="copy the checkpoint again",
                )
            )
    raise ModelError(
        message(
            expected=f"weights in {folder} (model.safetensors or pytorch_model.bin)",
            got="a config.json without them",
            do="use a complete checkpoint",
        )
    )


def _pickled_dtypes(file: Path) -> set[str]:
    import torch

    weights = torch.load(file, map_location="meta", weights_only=True)
    return {str(t.dtype).removeprefix("torch.") for t in weights.values() if t.is_floating_point()}
