"""One random stream a chain: it depends on the seed, the chain's index and the purpose, on nothing else."""

import numpy as np
import torch

_PURPOSES = ("noise", "batches", "start", "probe", "control", "compress")


def generator(seed: int, chain: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose stream is a function of `(seed, chain, purpose)` only.

    Args:
        seed: the user's seed, any non-negative integer.
        chain: index of the chain, 0 where there is none.
        purpose: one of `noise`, `batches`, `start`, `probe`, `control`, `compress`.
        device: where the numbers are made.
    """
    entropy = np.random.SeedSequence([seed, chain, _PURPOSES.index(purpose)])
    return torch.Generator(device=device).manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))
