"""How far a chain is from w*."""

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Params


def distance(center: Params, position: Params) -> Float[Tensor, " chain"]:
    """‖w − w*‖ of each chain; units of weight."""
    squares = [(w - center[name]).flatten(1).square().sum(1, dtype=torch.float64) for name, w in position.items()]
    return torch.stack(squares).sum(0).sqrt()
