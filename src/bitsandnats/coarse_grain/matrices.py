"""A checkpoint ready to be coarse-grained: its matrices decomposed once, and where its tensors go in a container."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.compressors.coding import Network, Piece
from bitsandnats.compressors.price import check_weights
from bitsandnats.task import Task


class Spectrum(NamedTuple):
    """W = left · diag(values) · right, largest first; float64 on the CPU."""

    left: Float[Tensor, "row rank"]
    values: Float[Tensor, " rank"]
    right: Float[Tensor, "rank column"]


@dataclass(frozen=True)
class Checkpoint:
    """What a search needs of a network; all of its trials share it.

    Attributes:
        task: the network and the data on which its loss is compared.
        plain: fixed parameters and buffers.
        aliases: further names of tied parameters.
        architecture: what tells one architecture from another.
        config: the model's config.json, where there is one.
    """

    task: Task
    plain: Params
    aliases: dict[str, tuple[str, ...]]
    architecture: str
    config: str

    @cached_property
    def weights(self) -> Params:
        """The weights in float64 on the CPU."""
        return {name: w.detach().cpu().double() for name, w in self.task.center.items()}

    @cached_property
    def spectra(self) -> dict[str, Spectrum]:
        """Singular value decompositions of all matrices; those of more axes, of a side of one, are left alone."""
        return {
            name: Spectrum(*torch.linalg.svd(w, full_matrices=False))
            for name, w in self.weights.items()
            if w.ndim == 2 and min(w.shape) > 1
        }

    def network(self, pieces: dict[str, Piece]) -> Network:
        """Coarse pieces, in the order of the parameters, with all that is not coarse-grained."""
        ordered = {name: pieces[name] for name in self.task.center}
        return Network(ordered, self.plain, self.aliases, self.architecture, self.config)

    def params(self, network: Network) -> Params:
        """The coarse weights where the task's are."""
        return {name: w.to(self.task.device) for name, w in network.params().items()}


def read_checkpoint(task: Task) -> Checkpoint:
    """Reads what a container needs from a task: buffers, tied names and configuration where it was made from a module.

    Raises:
        ModelError: the weights are damaged, or no real numbers.
    """
    check_weights(task)
    module: Any = getattr(task.loss, "module", None)
    if module is None:
        return Checkpoint(task, dict(task.fixed), {}, "", "")
    names: dict[int, list[str]] = {}
    for name, p in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(name)
    aliases = {first: tuple(more) for first, *more in names.values() if more}
    persistent = set(module.state_dict())
    buffers = {name: b.detach() for name, b in module.named_buffers() if name in persistent}
    config = getattr(module, "config", None)
    text = "" if config is None or not hasattr(config, "to_json_string") else str(config.to_json_string())
    return Checkpoint(task, {**task.fixed, **buffers}, aliases, type(module).__name__, text)
