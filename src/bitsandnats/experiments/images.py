"""Small images that are there without a network: scikit-learn's digits, and Fashion-MNIST from Debian's package."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from bitsandnats.errors import DataError, InputError, message

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts its files."""

VARIABLE = "BITSANDNATS_FASHION_MNIST"
"""Names another folder with the same four files, where the package cannot be installed."""

SETS = ("digits", "fashion")
CLASSES = {
    "digits": tuple(str(i) for i in range(10)),
    "fashion": (
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
}
WORDS = {
    "digits": "scikit-learn's digits, 8 × 8 pixels",
    "fashion": "Fashion-MNIST (Debian's dataset-fashion-mnist), averaged over 4 × 4 pixels to 7 × 7",
}


class Images(NamedTuple):
    """Images with their labels.

    Attributes:
        inputs: brightness from 0 to 1, a row an image.
        labels: classes, from 0.
    """

    inputs: Float[Tensor, "image pixel"]
    labels: Int64[Tensor, " image"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Images":
        """Some of them."""
        chosen = torch.as_tensor(np.asarray(indices))
        return Images(self.inputs[chosen], self.labels[chosen])


def folder() -> Path:
    """Where the files of Fashion-MNIST are looked for."""
    return Path(os.environ.get(VARIABLE) or FOLDER)


def available() -> tuple[str, ...]:
    """The sets that are installed."""
    return tuple(name for name in SETS if name != "fashion" or (folder() / "train-images-idx3-ubyte.gz").is_file())


def split_images(name: str, *, train: int, queries: int, seed: int) -> tuple[Images, Images]:
    """Images to train on and others to ask about, drawn without replacement.

    Args:
        name: one of `SETS`; queries of Fashion-MNIST come from its test set.
        train: how many to train on.
        queries: how many others.
        seed: of the draw.

    Raises:
        InputError: an unknown set, too many images, or a package is missing.
        DataError: a file is not as it should be.
    """
    check_set(name)
    random = np.random.default_rng([seed, SETS.index(name)])
    if name == "fashion":
        first, second = fashion("train"), fashion("t10k")
        _check_count(name, train, len(first))
        _check_count(name, queries, len(second))
        return first.take(random.permutation(len(first))[:train]), second.take(
            random.permutation(len(second))[:queries]
        )
    whole = digits()
    _check_count(name, train + queries, len(whole))
    order = random.permutation(len(whole))
    return whole.take(order[queries : queries + train]), whole.take(order[:queries])


def check_set(name: str) -> None:
    """Refuses images that are not known or not installed.

    Raises:
        InputError: as said.
    """
    if name not in SETS:
        raise InputError(message(expected=f"data among {', '.join(SETS)}", got=repr(name), do="choose one"))
    if name not in available():
        do = f"run: apt-get install dataset-fashion-mnist; or name its folder in {VARIABLE}; or leave it out"
        raise InputError(message(expected=f"Fashion-MNIST in {folder()}", got="none", do=do))


def digits() -> Images:
    """The 1,797 handwritten digits of scikit-learn.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        do = "run: pip install 'bitsandnats[studies]'"
        raise InputError(message(expected="scikit-learn, for its digits", got="none installed", do=do)) from error
    pixels, labels = load_digits(return_X_y=True)
    return Images(torch.as_tensor(pixels / 16, dtype=torch.float32), torch.as_tensor(labels, dtype=torch.int64))


def fashion(part: str, *, pool: int = 4) -> Images:
    """Fashion-MNIST, averaged over squares of pixels.

    Args:
        part: `train` (60,000 images) or `t10k` (10,000).
        pool: side of the squares; 1 leaves 28 × 28 pixels.

    Raises:
        DataError: a file is missing or of another form.
    """
    pixels = _idx(folder() / f"{part}-images-idx3-ubyte.gz", 3).reshape(-1, 28 // pool, pool, 28 // pool, pool)
    labels = _idx(folder() / f"{part}-labels-idx1-ubyte.gz", 1)
    means = pixels.mean((2, 4), dtype=np.float64).reshape(len(pixels), -1) / 255
    return Images(torch.as_tensor(means, dtype=torch.float32), torch.as_tensor(labels.astype(np.int64)))


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An array of bytes in the format of MNIST's files: 0, 0, 8, axes; then lengths of 4 bytes; then the bytes."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(
            message(expected=f"{path}", got=type(error).__name__, do="run: apt-get install dataset-fashion-mnist")
        ) from None
    head = 4 + 4 * dimensions
    shape = tuple(int(v) for v in np.frombuffer(raw[4:head], dtype=">u4"))
    if raw[:4] != bytes((0, 0, 8, dimensions)) or len(raw) != head + int(np.prod(shape)):
        raise DataError(
            message(expected=f"bytes with {dimensions} axes in {path}", got="another form", do="install it again")
        )
    return np.frombuffer(raw[head:], dtype=np.uint8).reshape(shape)


def _check_count(name: str, wanted: int, there: int) -> None:
    if not 1 <= wanted <= there:
        raise InputError(message(expected=f"at most the {there} images of {name}", got=str(wanted), do="take fewer"))
