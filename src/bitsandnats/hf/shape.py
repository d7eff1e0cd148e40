"""A model's sizes from its configuration alone: nothing is downloaded, and no weight exists."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bitsandnats.errors import ModelError, message
from bitsandnats.hf._quiet import first_line, quiet
from bitsandnats.hf.checkpointing import checkpoint_layers
from bitsandnats.hf.files import find_folder


class ConfigSizes(NamedTuple):
    """What a configuration says of a model.

    Attributes:
        parameters: in all; tied ones once.
        forward: the pass of `items` contexts, to be counted in whichever way: `forward(items)`.
        kept: bytes that a pass over so many items keeps for its gradient, weights not counted: `kept(items)`.
        head_flops: of one item's logits.
        head_bytes: of the last map's copy in lower precision.
    """

    parameters: int
    forward: Any
    kept: Any
    head_flops: float
    head_bytes: float


def config_sizes(
    config: str | os.PathLike[str], context: int, *, bfloat16: bool = False, checkpointing: bool = False
) -> ConfigSizes:
    """The sizes of the causal language model that a config.json describes, by a pass over tensors without contents.

    Args:
        config: a config.json, or a folder or name of a model that has one.
        context: tokens an item.
        bfloat16: products under autocast.
        checkpointing: layers run again for their gradients.

    Raises:
        ModelError: there is none, or transformers cannot make a causal language model of it.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    path = Path(config)
    path = path if path.is_file() else find_folder(config) / "config.json"
    fake = FakeTensorMode()
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            from transformers import AutoConfig, AutoModelForCausalLM

            fields = json.loads(path.read_text(encoding="utf-8"))
            known = AutoConfig.for_model(fields.pop("model_type"), **fields)
            with fake:
                model = AutoModelForCausalLM.from_config(known, dtype=torch.float32).eval()
    except Exception as error:
        raise ModelError(
            message(
                expected=f"a causal language model's configuration in {path}",
                got=first_line(error),
                do="give its config.json, with model_type",
            )
        ) from error
    if checkpointing:
        checkpoint_layers(model)

    def forward(items: int) -> None:
        with fake, torch.no_grad():
            model.base_model(input_ids=torch.zeros(items, context, dtype=torch.long), use_cache=False)

    def kept(items: int) -> float:
        weights = {id(p) for p in model.parameters()}
        storages: dict[int, tuple[Any, float]] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if not any(id(t) in weights for t in (tensor, tensor._base) if t is not None):
                storages[storage._cdata] = (storage, float(storage.nbytes()))  # held, so that no number comes twice
            return tensor

        with (
            fake,
            torch.enable_grad(),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
            torch.autograd.graph.saved_tensors_hooks(count, lambda t: t),
        ):
            tokens = torch.zeros(items, context, dtype=torch.long)
            output = model.base_model(input_ids=tokens, use_cache=False)[0]
        del output
        return sum(size for _, size in storages.values())

    head = model.get_output_embeddings().weight.numel()
    copy = 2.0 * head if bfloat16 else 0.0
    return ConfigSizes(sum(p.numel() for p in model.parameters()), forward, kept, 2.0 * head * context, copy)
