"""TracIn: gradient similarities summed over checkpoints of training."""

from collections.abc import Sequence

import numpy as np

from bitsandnats._types import Data
from bitsandnats.errors import InputError, message
from bitsandnats.gradients.features import Scores, scores
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.task import Task


def tracin(checkpoints: Sequence[Task], rates: Sequence[float], train: Data, query: Data) -> Scores:
    """−Σ_k η_k ∇φ(w_k)·∇ℓ(w_k) over checkpoints (Pruthi et al. 2020). Checked in `tests/truth/test_gradients.py`.

    Args:
        checkpoints: the task at each.
        rates: η_k ≥ 0, learning rate at each; as many.
        train: items attributed to.
        query: items whose losses are φ.

    Raises:
        InputError: no checkpoints, not as many rates, or one below 0.
    """
    if not checkpoints or len(checkpoints) != len(rates) or min(rates) < 0:
        raise InputError(
            message(
                expected="checkpoints of training with a learning rate each",
                got=f"{len(checkpoints)} checkpoints and {len(rates)} rates",
                do="give as many rates as checkpoints, none below 0",
            )
        )

    def features(data: Data) -> np.ndarray:
        parts = [item_gradients(task, data).cpu().numpy() * r**0.5 for task, r in zip(checkpoints, rates, strict=True)]
        return np.concatenate(parts, axis=1)

    return scores(features(query), features(train))
