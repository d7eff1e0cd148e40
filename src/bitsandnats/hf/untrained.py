"""A suite's model before it is trained: what a gradient costs does not depend on the weights."""

import torch

from bitsandnats import _rng
from bitsandnats.hf.load import CausalLMLoss
from bitsandnats.hf.options import TrainOptions
from bitsandnats.hf.train import build_model
from bitsandnats.task import Task


def untrained_task(options: TrainOptions, items: int = 16, device: str | None = None) -> Task:
    """The first weights of a suite on random tokens, to be timed; layer norms are not folded.

    Args:
        options: of the suite.
        items: contexts.
        device: where the weights are; None = the CPU.
    """
    size = (items, options.context)
    tokens = torch.randint(options.vocabulary, size, generator=_rng.generator(options.seed, 0, "batches"))
    return Task.from_module(build_model(options).eval().to(device or "cpu"), CausalLMLoss(), tokens, unit="token")
