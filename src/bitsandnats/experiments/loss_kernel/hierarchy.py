"""The classes of Fashion-MNIST in WordNet 3.0, and how far they are apart there."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

PARENTS = {
    "T-shirt/top": "shirt",
    "shirt": "garment",
    "trouser": "garment",
    "pullover": "sweater",
    "sweater": "garment",
    "coat": "overgarment",
    "overgarment": "garment",
    "dress": "woman's clothing",
    "woman's clothing": "clothing",
    "garment": "clothing",
    "clothing": "covering",
    "sandal": "shoe",
    "sneaker": "shoe",
    "shoe": "footwear",
    "ankle boot": "footwear",
    "footwear": "covering",
    "covering": "artifact",
    "bag": "container",
    "container": "instrumentality",
    "instrumentality": "artifact",
}
"""Each class's hypernyms up to `artifact`, first senses, as `wn WORD -hypen` of WordNet 3.0 (Debian's `wordnet-base`)
gives them: T-shirt for T-shirt/top, gym shoe for sneaker, boot for ankle boot. Clothing has a second hypernym there,
consumer goods, which leads to `artifact` too and to no class by a shorter way."""

ORDER = (
    *("T-shirt/top", "shirt", "pullover", "coat", "trouser", "dress"),
    *("sandal", "sneaker", "ankle boot", "bag"),
)
"""The classes as the tree has them side by side."""


def tree_distance(names: tuple[str, ...]) -> Float[ndarray, "one other"]:
    """Steps between each two classes: up to their nearest common hypernym, and down.

    Checked in `tests/experiments/test_loss_kernel_study.py`.
    """
    lines = [ancestors(name) for name in names]
    found = np.zeros((len(names), len(names)))
    for i, own in enumerate(lines):
        for j, other in enumerate(lines):
            meeting = next(name for name in own if name in other)
            found[i, j] = own.index(meeting) + other.index(meeting)
    return found


def ancestors(name: str) -> list[str]:
    """A class and its hypernyms, the nearest first."""
    line = [name]
    while line[-1] in PARENTS:
        line.append(PARENTS[line[-1]])
    return line
