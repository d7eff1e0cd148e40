"""Everything global that a training depends on, put back as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Random states (torch on all devices, NumPy, Python) are afterwards what they were; autocast is off meanwhile.

    Nothing here draws from them, but a data set or a model's forward pass might.

    Args:
        model: whose device's autocast is turned off.
    """
    kinds = {p.device.type for p in model.parameters()} | {"cpu"}
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode(False):
            before = {kind: torch.is_autocast_enabled(kind) for kind in kinds}
            for kind in kinds:
                torch.set_autocast_enabled(kind, False)
            try:
                yield
            finally:
                for kind, enabled in before.items():
                    torch.set_autocast_enabled(kind, enabled)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
