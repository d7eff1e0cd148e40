"""Decoded networks as folders that transformers loads, without loading anything."""

import json
import os
import shutil
from pathlib import Path

from bitsandnats._types import Params
from bitsandnats.compressors.coding import Network, fingerprint
from bitsandnats.errors import ModelError, StoreError, message
from bitsandnats.hf.files import find_folder
from bitsandnats.hf.load import load_model
from bitsandnats.hf.suite import write_folder

_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "vocab.json", "merges.txt",
)  # fmt: skip


def check_config(config: str) -> None:
    """Refuses the configuration of a model that needs code of its own to be rebuilt.

    Raises:
        ModelError: as said.
    """
    named = json.loads(config).get("auto_map") if config else None
    if named:
        expected, got = "an architecture that transformers has", f"custom code ({next(iter(named.values()))})"
        do = "compress its weights in Python and decode them into the module"
        raise ModelError(message(expected=expected, got=got, do=do))


def model_fingerprint(reference: str | os.PathLike[str]) -> bytes:
    """The fingerprint that a container of this model has, from the model itself.

    Raises:
        ModelError: it cannot be loaded.
    """
    model, _ = load_model(reference)
    shapes = {name: (tuple(p.shape), p.dtype) for name, p in model.named_parameters() if p.requires_grad}
    return fingerprint(type(model).__name__, shapes)


def write_model(network: Network, folder: Path, like: str | os.PathLike[str] | None = None) -> None:
    """Writes config.json and model.safetensors as `save_pretrained` does; tied weights once.

    Args:
        network: with a configuration.
        folder: made anew; one that exists is refused.
        like: a model whose tokenizer is put beside.

    Raises:
        StoreError: the folder exists, or cannot be written.
        ModelError: the model needs custom code; or `like` is no model.
    """
    from safetensors.torch import save_file

    check_config(network.config)
    source = None if like is None else find_folder(like)
    if folder.exists():
        got = "one that exists"
        raise StoreError(message(expected=f"a new folder {folder}", got=got, do="choose another --out"))
    weights: Params = {**network.params(), **network.plain}

    def write(partial: Path) -> None:
        (partial / "config.json").write_text(network.config, encoding="utf-8")
        whole = {name: w.contiguous() for name, w in weights.items()}
        save_file(whole, partial / "model.safetensors", metadata={"format": "pt"})
        for name in _TOKENIZER if source is not None else ():
            if source is not None and (source / name).is_file():
                shutil.copyfile(source / name, partial / name)

    try:
        write_folder(folder, write)
    except OSError as error:
        got = error.strerror or type(error).__name__
        expected = f"a folder that can be written at {folder}"
        raise StoreError(message(expected=expected, got=got, do="choose another --out")) from None
