"""GradSim: gradients that point the same way."""

from bitsandnats._types import Data
from bitsandnats.gradients.features import Scores, scores
from bitsandnats.gradients.per_item import item_gradients
from bitsandnats.task import Task


def gradient_similarity(task: Task, train: Data, query: Data) -> Scores:
    """−∇φ·∇ℓ at w*: what γ·BIF tends to as the pull grows. Checked in `tests/truth/test_gradients.py`.

    Args:
        task: loss and weights.
        train: items attributed to.
        query: items whose losses are φ.
    """
    return scores(item_gradients(task, query).cpu().numpy(), item_gradients(task, train).cpu().numpy())
