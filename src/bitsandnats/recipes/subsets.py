"""The loss of each named part of the data."""

from typing import Any

import numpy as np

from bitsandnats.data import subset
from bitsandnats.task import Task

_ITEMS = 32


def subset_losses(task: Task, item_losses: np.ndarray | None = None) -> dict[str, dict[str, Any]]:
    r"""Of each named subset its mean loss at w\* with its standard error over items, nats a unit, and its items.

    A mean over units: with weights w an item of loss ℓ_i and w_i units, Σℓ_i / Σw_i. Checked in
    `tests/hf/test_text_sources.py`.

    Args:
        task: the data, in named subsets.
        item_losses: of every item of the data, where they are known; None = of at most 32 items a subset, evenly
            spaced.
    """
    found = {}
    for name, items in task.subsets.items():
        count = len(items) if item_losses is not None else min(_ITEMS, len(items))
        chosen = items.start + np.linspace(0, len(items) - 1, count).round().astype(int)
        part = task.on(subset(task.data, chosen.tolist()))
        losses = (
            part.all_item_losses(part.center).double().cpu().numpy() if item_losses is None else item_losses[chosen]
        )
        losses = losses / part.mean_weight
        error = float(losses.std(ddof=1) / count**0.5) if count > 1 else None
        found[name] = {"loss": float(losses.mean()), "loss_se": error, "items": len(items)}
    return found
