"""Task: what is modelled. Data, an unreduced loss, and the point under study."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitsandnats._functional import FunctionalLoss, Model, places_of, private_copy
from bitsandnats._tree import fetched, map_batch, numel, tensors
from bitsandnats._types import Batch, Data, LossFn, Params, Unit, WeightFn
from bitsandnats.data import as_data
from bitsandnats.errors import DataError, InputError, ModelError, message
from bitsandnats.structure import Structure, read_structure

_PROBE_ITEMS = 4
_PASS_TENSOR_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Task:
    """Data, an unreduced loss, and the weights under study; build it with `Task.from_module`.

    Attributes:
        loss: `(params, batch)` -> losses `[sample]` or `[sample, token]`, nats.
        center: the weights w* that move and are compressed.
        fixed: parameters that do neither (`requires_grad=False`); charged at full precision.
        data: items by index.
        weight: `batch` -> weights of the losses' shape (0/1), or None for ones.
        unit: `sample`, `sequence` or `token`: what L is a mean over and n counts.
        mean_weight: what one item contributes to n (tokens an item for unit `token`, else 1).
        chance_loss: loss of guessing, in nats a unit; None where unknown.
        notes: what was done to the model before (for instance `folded` layer norms).
        structure: layers, heads and matrices by the names of parameters; None where the loss is a bare function.
        subsets: names of parts of the data -> their items; empty where none has a name.
        source: what was loaded, for results: a model of the hub with its commit; None where it has no name of its own.
        compute: where losses are computed and chains move; None = where the weights are (see `paging`).
    """

    loss: LossFn
    center: Params
    fixed: Params
    data: Data
    weight: WeightFn | None
    unit: Unit
    mean_weight: float
    chance_loss: float | None = None
    notes: tuple[str, ...] = ()
    structure: Structure | None = None
    subsets: Mapping[str, range] = field(default_factory=dict)
    source: str | None = None
    compute: torch.device | None = None

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        loss: Callable[[Any, Batch], Tensor],
        data: Any,
        *,
        weight: WeightFn | None = None,
        unit: Unit | None = None,
    ) -> "Task":
        """The task of `module` under `loss` on `data`, at the module's present weights.

        The module keeps its mode, gradients, buffers and device. Its storage serves as the center and is never
        written; train it further and the center moves with it.

        Args:
            module: the network, in evaluation mode; parameters with `requires_grad=False` stay fixed.
            loss: `loss(model, batch)` -> one loss per sample `[sample]` or per sample and token `[sample, token]`,
                in nats, unreduced; `model(...)` calls the network. See `bitsandnats.losses`.
            data: a map-style data set of tensors, tuples or dicts of tensors, or the stacked tensors themselves.
            weight: `weight(batch)` -> 0/1 weights of the losses' shape; None = ones.
            unit: what L is a mean over; by default `token` for losses `[sample, token]`, else `sample`.

        Raises:
            ModelError: no trainable parameters, half-precision or non-finite weights, or a random forward pass.
            DataError: no data, or items that change between readings.
            InputError: the loss is reduced, not finite, or does not fit `unit`.
        """
        parameters = dict(module.named_parameters())
        center = {name: p.detach() for name, p in parameters.items() if p.requires_grad}
        fixed = {name: p.detach() for name, p in parameters.items() if not p.requires_grad}
        _check_parameters(center, fixed)
        buffers = {name: b.detach().clone() for name, b in module.named_buffers()}
        private = private_copy(module)
        places = places_of(private)
        task = cls(
            loss=FunctionalLoss(private, places, {**fixed, **buffers}, loss),
            center=center,
            fixed=fixed,
            data=as_data(data),
            weight=weight,
            unit="sample",
            mean_weight=1.0,
            structure=read_structure(private),
        )
        losses = _probe(task, buffers)
        unit = _resolve_unit(unit, losses)
        units = _mean_tokens(task, losses) if losses.ndim == 2 else 1.0
        chance = getattr(loss, "chance", None)
        probe = task.batch(torch.arange(min(len(task.data), 1024)))
        guess = None if chance is None else float(chance(Model(private, places, {**parameters, **buffers}), probe))
        return dataclasses.replace(
            task,
            unit=unit,
            mean_weight=units if unit == "token" else 1.0,
            chance_loss=guess if guess is None or unit != "sequence" else guess * units,
        )

    @property
    def device(self) -> torch.device:
        """Where losses are computed: where the weights are, unless the CPU keeps them."""
        return self.compute or next(iter(self.center.values())).device

    @property
    def dimension(self) -> int:
        """Number of coordinates that move, d."""
        return numel(self.center)

    @property
    def n(self) -> float:
        """Number of units in the data: samples, sequences or tokens."""
        return len(self.data) * self.mean_weight

    def at(self, center: Params) -> "Task":
        """The same task at other weights."""
        return dataclasses.replace(self, center=center)

    def on(self, data: Any, subsets: Mapping[str, range] | None = None) -> "Task":
        """The same model and loss on other data of the same form, with the names of its parts; n changes with it."""
        task = dataclasses.replace(self, data=as_data(data), subsets=subsets or {})
        probe = task.loss(task.center, task.batch(torch.arange(min(len(task.data), _PROBE_ITEMS))))
        return dataclasses.replace(task, mean_weight=_mean_tokens(task, probe) if self.unit == "token" else 1.0)

    def batch(self, indices: Tensor) -> Batch:
        """The items at `indices`, where losses are computed."""
        return map_batch(lambda t: t.to(self.device), self.data.batch(indices))

    def item_losses(self, params: Params, batch: Batch) -> Float[Tensor, " sample"]:
        """Loss of each item: ℓ_i, or Σ_t w_it ℓ_it over its tokens; nats."""
        losses = self.loss(params, batch)
        if self.weight is not None:
            losses = losses * self.weight(batch).to(losses.dtype)
        return losses.sum(tuple(range(1, losses.ndim))) if losses.ndim > 1 else losses

    def mean_loss(self, item_losses: Tensor) -> Tensor:
        """L of a batch from its items' losses: their mean over the data set's mean weight an item; nats a unit."""
        return item_losses.mean(-1) / self.mean_weight

    @torch.no_grad()
    def all_item_losses(self, params: Params, batch_size: int = 32) -> Float[Tensor, " item"]:
        """Loss of every item of the data, in fixed blocks so that each is the same number every time; nats."""
        params = {name: fetched(w, self.device) for name, w in params.items()}  # once for all blocks
        return torch.cat([self.item_losses(params, b) for b in self.blocks(batch_size)])

    def blocks(self, batch_size: int) -> Iterator[Batch]:
        """The whole data in order, `batch_size` items at a time."""
        for start in range(0, len(self.data), batch_size):
            yield self.batch(torch.arange(start, min(start + batch_size, len(self.data))))


def _check_parameters(center: Params, fixed: Params) -> None:
    if not center:
        raise ModelError(
            message(
                expected="a model with trainable parameters",
                got="none with requires_grad=True" if fixed else "no parameters at all",
                do="set requires_grad_(True) on those to be measured",
            )
        )
    for name, p in {**center, **fixed}.items():
        if p.dtype in (torch.float16, torch.bfloat16) or (name in center and not p.is_floating_point()):
            raise ModelError(
                message(
                    expected="float32 or float64 weights (a sampler's steps vanish in half precision)",
                    got=f"{name} in {str(p.dtype).removeprefix('torch.')}",
                    do="convert the model with .float() first",
                )
            )
        if p.is_floating_point() and not bool(torch.isfinite(p).all()):
            bad = int((~torch.isfinite(p)).sum())
            raise ModelError(
                message(
                    expected="finite weights",
                    got=f"{bad} NaN or infinite values in {name}",
                    do="use an undamaged checkpoint",
                )
            )


def _probe(task: Task, buffers: Params) -> Tensor:
    """Losses of a few items, after checking that they are per sample, finite, repeatable and independent."""
    indices = torch.arange(min(len(task.data), _PROBE_ITEMS))
    before = {name: b.clone() for name, b in buffers.items()}
    with torch.no_grad():
        batch = task.batch(indices)
        losses, again = task.loss(task.center, batch), task.loss(task.center, batch)
        if not isinstance(losses, Tensor) or losses.ndim == 0 or losses.ndim > 2 or len(losses) != len(indices):
            got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(
                message(
                    expected=f"one loss per sample, shape [{len(indices)}] or [{len(indices)}, token]",
                    got=got,
                    do="compute it with reduction='none'",
                )
            )
        if not bool(torch.isfinite(losses).all()):
            raise InputError(
                message(expected="a finite loss", got="NaN or infinity at the given weights", do="check data and model")
            )
        if not torch.equal(losses, again):
            raise ModelError(
                message(
                    expected="the same losses from two passes over the same data",
                    got=f"a difference of {float((losses - again).abs().max()):.3g}",
                    do="turn dropout off with module.eval()",
                )
            )
        changed = [name for name, b in before.items() if not torch.equal(b, buffers[name])]
        drift = 0.0
        if not changed:  # batch norm in training mode may refuse a single item
            alone = task.loss(task.center, map_batch(lambda t: t[:1], batch))
            drift = float((alone[0] - losses[0]).abs().max())
        if changed or drift > 1e-2 * (1 + float(losses[0].abs().max())):
            raise ModelError(
                message(
                    expected="a sample's loss that does not depend on its batch",
                    got=f"buffer {changed[0]} rewritten by a pass" if changed else f"a change of {drift:.3g} alone",
                    do="put batch norm in evaluation mode with module.eval()",
                )
            )
    return losses


def _resolve_unit(unit: Unit | None, losses: Tensor) -> Unit:
    if unit is None:
        return "token" if losses.ndim == 2 else "sample"
    if unit not in ("sample", "sequence", "token"):
        raise InputError(message(expected="unit sample, sequence or token", got=repr(unit), do="choose one"))
    if (unit == "sample") != (losses.ndim == 1):
        raise InputError(
            message(
                expected=f"losses [sample{'' if unit == 'sample' else ', token'}] for unit {unit}",
                got=f"losses with {losses.ndim} axes",
                do="choose the other unit or change the loss",
            )
        )
    return unit


def _mean_tokens(task: Task, probe: Tensor) -> float:
    """Weighted tokens an item, the mean over the data, from one pass over it where there are weights."""
    if task.weight is None:
        return float(math.prod(probe.shape[1:]))
    rows = max(1, _PASS_TENSOR_NUMBERS // max(1, sum(t[:1].numel() for t in tensors(task.batch(torch.arange(1))))))
    total = sum(float(task.weight(b).sum()) for b in task.blocks(rows))
    if not total > 0:
        raise DataError(
            message(
                expected="at least one token of weight 1", got="weights that are all 0", do="check the padding mask"
            )
        )
    return total / len(task.data)
