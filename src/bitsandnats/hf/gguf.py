"""GGUF files: what is in them, read without decoding the weights."""

from pathlib import Path
from typing import Any

from bitsandnats.errors import ModelError, message
from bitsandnats.hf._quiet import first_line, quiet

HALF = frozenset({"float16", "bfloat16"})
WHOLE = frozenset({"float32", "float64"})
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def gguf_types(file: Path) -> frozenset[str]:
    """Types of the weights as they lie in the file, such as `float16` or `Q4_K`.

    Raises:
        ModelError: the library is missing, or the file is damaged.
    """
    try:
        from gguf import GGUFReader
    except ImportError:
        raise ModelError(
            message(expected="the library that reads GGUF", got="no module gguf", do="pip install 'bitsandnats[gguf]'")
        ) from None
    try:
        found = {tensor.tensor_type.name for tensor in GGUFReader(file).tensors}
    except Exception as error:
        raise ModelError(
            message(expected=f"an undamaged GGUF file, {file}", got=first_line(error), do="copy or download it again")
        ) from None
    return frozenset(_TYPES.get(name, name) for name in found)


def gguf_config(folder: Path, name: str) -> dict[str, Any]:
    """The model's configuration, in transformers' words.

    Raises:
        OSError: transformers cannot read it.
        ValueError: transformers does not know the architecture.
    """
    with quiet():
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(folder, gguf_file=name, local_files_only=True).to_dict()
