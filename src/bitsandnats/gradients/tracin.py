"""TracIn: gradient similarities summed over checkpoints of training."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from bitsandnats._types import Data
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.similarity import gradient_similarity
from bitsandnats.task import Task


def tracin(
    checkpoints: Sequence[Task], rates: Sequence[float], train: Data, query: Data
) -> Float64[ndarray, "query train"]:
    """−Σ_k η_k ∇φ(w_k)·∇ℓ(w_k) over checkpoints (Pruthi et al. 2020). Checked in `tests/truth/test_gradients.py`.

    Args:
        checkpoints: the task at each.
        rates: η_k, learning rate at each; as many.
        train: items attributed to.
        query: items whose losses are φ.

    Raises:
        InputError: no checkpoints, or not as many rates.
    """
    if not checkpoints or len(checkpoints) != len(rates):
        raise InputError(
            message(
                expected="checkpoints of training with a learning rate each",
                got=f"{len(checkpoints)} checkpoints and {len(rates)} rates",
                do="give as many rates as checkpoints",
            )
        )
    parts = [rate * gradient_similarity(task, train, query) for task, rate in zip(checkpoints, rates, strict=True)]
    return np.sum(parts, axis=0)
