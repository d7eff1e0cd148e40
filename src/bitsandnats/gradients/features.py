"""Attribution as inner products: each method's features of items, and the matrices that they give."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray


class Scores(NamedTuple):
    """One method's matrices, signed as influence is: negative helps.

    Attributes:
        raw: −⟨f_q, f_i⟩.
        normalised: minus their cosine; 0 where a feature is 0.
    """

    raw: Float64[ndarray, "query train"]
    normalised: Float64[ndarray, "query train"]


def scores(query: Float64[ndarray, "query feature"], train: Float64[ndarray, "train feature"]) -> Scores:
    """The matrices of a method whose attributions are inner products of features.

    Checked in `tests/truth/test_gradients.py`.

    Args:
        query: features of the queries.
        train: features of the items attributed to.
    """
    raw = -query @ train.T
    length = np.outer(np.linalg.norm(query, axis=1), np.linalg.norm(train, axis=1))
    return Scores(raw, np.divide(raw, length, out=np.zeros_like(raw), where=length > 0))
