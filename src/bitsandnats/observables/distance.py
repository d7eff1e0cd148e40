"""How far a chain is from w*."""

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._tree import fetched
from bitsandnats._types import Params


def distance(center: Params, position: Params) -> Float[Tensor, " chain"]:
    """‖w − w*‖ of each chain; units of weight."""
    away = ((w - fetched(center[name], w.device)).flatten(1) for name, w in position.items())
    return torch.stack([d.square().sum(1, dtype=torch.float64) for d in away]).sum(0).sqrt()
