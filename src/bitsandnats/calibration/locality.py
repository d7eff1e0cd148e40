"""How far draws may go: the loss that weight noise costs, and the loss that still counts as local."""

import numpy as np
import torch

from bitsandnats import _tree
from bitsandnats._rng import generator
from bitsandnats.task import Task

NOISE_ITEMS = 32
_LARGEST_EXCESS = 0.1  # nats a unit
_LARGEST_CHANCE_SHARE = 0.08  # of the way to chance; the verdict's line is 0.1
_MEANINGFUL_WAY = 0.5  # nats below chance from which that share is asked for


def noise_excess(task: Task, variance: float, *, draws: int, items: int, seed: int) -> np.ndarray:
    """Loss increase under plain Gaussian weight noise, no chain and no gradient; nats a unit, one number a draw.

    Args:
        task: the checkpoint.
        variance: of the noise on each weight, squared units of weight.
        draws: independent perturbations.
        items: items of the data (evenly spaced) on which the losses are compared.
        seed: of the noise.
    """
    batch = task.batch(torch.linspace(0, len(task.data) - 1, min(items, len(task.data))).round().long())
    random = generator(seed, 0, "control", task.device)
    with torch.no_grad():
        reference = task.mean_loss(task.item_losses(task.center, batch))
        values = [
            task.mean_loss(
                task.item_losses(_tree.axpy(variance**0.5, _tree.gaussian(task.center, random), task.center), batch)
            )
            - reference
            for _ in range(draws)
        ]
    return torch.stack(values).double().cpu().numpy()


def allowed_excess(task: Task) -> float:
    """Excess loss up to which draws count as local: 0.1 nat, and 8 % of the way to chance; nats a unit."""
    return min(_LARGEST_EXCESS, chance_limit(task) or _LARGEST_EXCESS)


def chance_limit(task: Task) -> float | None:
    """8 % of the way from L(w*) to the loss of guessing, nats a unit; None where that is unknown or means little."""
    if task.chance_loss is None:
        return None
    way = task.chance_loss - _center_loss(task)
    return _LARGEST_CHANCE_SHARE * way if way > _MEANINGFUL_WAY else None


@torch.no_grad()
def _center_loss(task: Task) -> float:
    """L(w*) on the probe's items, nats a unit."""
    batch = task.batch(torch.linspace(0, len(task.data) - 1, min(NOISE_ITEMS, len(task.data))).round().long())
    return float(task.mean_loss(task.item_losses(task.center, batch)))
