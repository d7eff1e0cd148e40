"""The weights themselves, for small models and for moments."""

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._tree import fetched
from bitsandnats._types import Params


def weights(center: Params, position: Params) -> Float[Tensor, "chain parameter"]:
    """W − w*, every coordinate in the order of the names; units of weight."""
    return torch.cat([(w - fetched(center[name], w.device)).flatten(1) for name, w in position.items()], dim=1).double()
