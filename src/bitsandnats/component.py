"""A task in which only one component of the network moves."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bitsandnats._types import Batch, LossFn, Params
from bitsandnats.errors import InputError, message
from bitsandnats.structure import components
from bitsandnats.structure.types import Slice
from bitsandnats.task import Task


def on_component(task: Task, component: str) -> Task:
    """The task with all weights outside a component held where they are: its λ̂ is the weight-refined LLC.

    The slices that are selected are its parameters, so that nothing else is sampled, pulled, counted in d or
    compressed. Everything else is `fixed`. Checked in `tests/structure/test_components.py`.

    Args:
        task: the task.
        component: as `structure.components.select` reads it, such as `layer.3.head.5`.

    Raises:
        InputError: the model has no such component, or the CPU keeps its weights.
    """
    if task.compute is not None:
        do = "leave the center on the device: a part's own arrays are small"
        raise InputError(message(expected="no component beside center cpu", got=component, do=do))
    shapes = {name: w.shape for name, w in task.center.items()}
    selected = components.select(task.structure, shapes, component)
    whole = {s.name: s for s in selected if s.stop - s.start == _length(task.center[s.name], s.axis)}
    held = {name: w for name, w in task.center.items() if name not in whole}
    center = {_label(s, whole): _part(s, task.center[s.name]) for s in selected}
    return dataclasses.replace(
        task,
        loss=_Placed(task.loss, held, tuple((_label(s, whole), s) for s in selected), frozenset(whole)),
        center=center,
        fixed={**task.fixed, **held},
        structure=None,
        notes=(*task.notes, f"only {component} moves"),
    )


def preview(task: Task, component: str) -> list[tuple[str, int]]:
    """What a component selects: parameter, with the rows or columns that are meant, and number of coordinates.

    Raises:
        InputError: the model has no such component.
    """
    shapes = {name: w.shape for name, w in task.center.items()}
    selected = components.select(task.structure, shapes, component)
    whole = {s.name: s for s in selected if s.stop - s.start == _length(task.center[s.name], s.axis)}
    return [(_label(s, whole), components.count(shapes, [s])) for s in selected]


def sizes(task: Task) -> list[tuple[str, int]]:
    """Every component that has a name, and its number of coordinates."""
    shapes = {name: w.shape for name, w in task.center.items()}
    return [
        (name, components.count(shapes, components.select(task.structure, shapes, name)))
        for name in components.names(task.structure, shapes)
    ]


@dataclass(frozen=True)
class _Placed:
    """A loss of the whole network as a function of some slices of its parameters."""

    loss: LossFn
    held: Params
    parts: Sequence[tuple[str, Slice]]
    whole: frozenset[str]

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        full = dict(self.held)
        for label, part in self.parts:
            if part.name in self.whole:
                full[part.name] = params[label]
            else:
                base = full[part.name]
                full[part.name] = base.slice_scatter(params[label], part.axis, part.start, part.stop)
        return self.loss(full, batch)


def _part(part: Slice, parameter: Tensor) -> Tensor:
    return parameter if parameter.ndim == 0 else part.of(parameter).contiguous()


def _length(parameter: Tensor, axis: int) -> int:
    return parameter.shape[axis] if parameter.ndim else 1


def _label(part: Slice, whole: dict[str, Slice]) -> str:
    """The name of a slice: that of its parameter, with rows or columns where they are not all."""
    if part.name in whole:
        return part.name
    rows = f"{part.start}:{part.stop}"
    return f"{part.name}[{rows}]" if part.axis == 0 else f"{part.name}[:, {rows}]"
