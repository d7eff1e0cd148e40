"""NNCodec (ISO/IEC 15938-17) as a baseline: run by a Python that has `nncodec`, which pins another NumPy than ours.

    python -m venv /somewhere && /somewhere/bin/pip install nncodec==2.1.3
    NNCODEC_PYTHON=/somewhere/bin/python python benchmarks/codec.py

As a script in that Python: encodes the tensors of an .npz at every quality, and writes sizes and what was decoded.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

QUALITIES = tuple(range(-56, 1))
"""Eight an octave of the step, from 2⁻⁷ to 1."""

SETTINGS: tuple[dict[str, Any], ...] = ({}, {"use_dq": False}, {"opt_qp": True})
"""What differs from the library's defaults: nothing; uniform instead of trellis quantization; qualities by tensor as the
library chooses them."""

FINER = (0, 8)
"""By how much the quality of what is no matrix is finer; by default it is far finer."""


def available() -> str | None:
    """The Python that has it, named by NNCODEC_PYTHON; None where there is none."""
    python = os.environ.get("NNCODEC_PYTHON")
    if not python:
        return None
    found = subprocess.run([python, __file__], capture_output=True, check=False)
    return python if found.returncode == 0 else None


def sweep(python: str, tensors: dict[str, np.ndarray]) -> list[tuple[dict[str, Any], int, dict[str, np.ndarray]]]:
    """Settings, bytes and decoded tensors at every quality, smallest first."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", **{name.replace(".", "|"): t for name, t in tensors.items()})
        subprocess.run([python, __file__, folder], check=True, stdout=subprocess.DEVNULL)
        found = []
        for index, (settings, size) in enumerate(json.loads(Path(folder, "sizes.json").read_text())):
            with np.load(f"{folder}/{index}.npz") as decoded:
                found.append((settings, size, {name.replace("|", "."): decoded[name] for name in decoded.files}))
    return sorted(found, key=lambda f: f[1])


def _main(folder: str) -> None:
    sys.meta_path.insert(0, _NoTorchvision())
    from nncodec.nn import decode, encode  # type: ignore[import-not-found]

    with np.load(f"{folder}/in.npz") as data:
        tensors = {name.replace("|", "."): data[name] for name in data.files}
    sizes = []
    for extra, finer, quality in product(SETTINGS, FINER, QUALITIES):
        settings = {"qp": quality, "nonweight_qp": quality - finer, "qp_density": 3, **extra}
        with contextlib.suppress(Exception):  # a setting that the library refuses is left out
            stream = encode(
                {name: t.copy() for name, t in tensors.items()}, {**settings, "verbose": False, "results": folder}
            )
            decoded = decode(stream, {"lsa": False, "bnf": False})
            named = {name.replace(".", "|"): np.asarray(decoded[name], np.float32) for name in tensors}
            np.savez(f"{folder}/{len(sizes)}.npz", **named)  # pyright: ignore[reportArgumentType]
            sizes.append((settings, len(bytes(stream))))
    Path(folder, "sizes.json").write_text(json.dumps(sizes))


class _NoTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision, which the library imports for data sets that are not used here."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.split(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> Any:
        module = MagicMock(__name__=spec.name, __spec__=spec, __version__="0")
        module.__path__ = []
        return module

    def exec_module(self, module: Any) -> None:
        pass


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _main(sys.argv[1])
    else:
        importlib.metadata.version("nncodec")
