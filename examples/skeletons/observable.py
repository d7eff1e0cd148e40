"""Skeleton of an observable: how far each tensor of the network has moved."""

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Params


def squared_distances(center: Params, position: Params) -> Float[Tensor, "chain tensor"]:
    """‖w − w*‖² of each named tensor, in the order of the names; squared units of weight.

    Args:
        center: w*.
        position: the weights of all chains, a leading chain axis on each.
    """
    return torch.stack(
        [(w - center[name]).flatten(1).square().sum(1, dtype=torch.float64) for name, w in position.items()], dim=1
    )


if __name__ == "__main__":  # its truth test: 12 coordinates moved by 2, 3 coordinates left alone
    from bitsandnats.observables import reducers

    center = {"matrix": torch.zeros(3, 4), "bias": torch.zeros(3)}
    position = {"matrix": torch.full((2, 3, 4), 2.0), "bias": torch.zeros(2, 3)}
    seen = squared_distances(center, position)
    assert seen.tolist() == [[48.0, 0.0], [48.0, 0.0]]

    keep = reducers.build("moments")  # what a chain keeps of it: a fold over draws
    state = keep.init()
    for value in (seen, 3 * seen):
        state = keep.update(state, value)
    print({name: tensor.tolist() for name, tensor in keep.result(state).items()})
