"""The plan's own types: a model as sizes, work as stages, and what both come to."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["forward", "gradient", "curvature", "look"]
"""What is done with an item: its loss; its gradient; a product with its Hessian; a look at a step."""


@dataclass(frozen=True)
class Shape:
    """A model and its data as sizes.

    Attributes:
        parameters: that move.
        forward_flops: of one item's loss; a product and a sum count as two.
        item_bytes: what a pass keeps for the gradient of one item.
        pass_bytes: what it keeps however few the items: copies of the weights in lower precision.
        items: of the data.
        context: tokens an item; 1 where they are no text.
        unit: `sample`, `sequence` or `token`.
        gradient: forward passes that a gradient costs: 3, or 4 where layers are run again.
    """

    parameters: int
    forward_flops: float | int
    item_bytes: float | int
    pass_bytes: float | int
    items: int
    context: int
    unit: str
    gradient: float = 3.0


@dataclass(frozen=True)
class Stage:
    """A part of the work.

    Attributes:
        name: in words.
        kind: what is done.
        passes: how many times.
        items: of each pass.
        about: the number of passes is a guess: the work decides it on its way.
    """

    name: str
    kind: Kind
    passes: float | int
    items: int
    about: bool = False

    def forwards(self, shape: Shape) -> float:
        """Work in forward passes of one item: a Hessian product, or a look at a step, costs two gradients."""
        gradients = {"forward": 1 / shape.gradient, "gradient": 1, "curvature": 2, "look": 2}
        return gradients[self.kind] * shape.gradient * self.passes * self.items


@dataclass(frozen=True)
class Plan:
    """What a measurement will cost.

    Attributes:
        where: the machine, in words.
        shape: the model.
        stages: the work.
        seconds: of each stage.
        start_seconds: before the first stage: the program and the model are loaded.
        memory: bytes at the peak: of the process on a CPU, of the device on a GPU.
        disk: bytes that are written.
        download: bytes of weights to be fetched where they are not at hand, of all checkpoints.
        times: how often all of it is done: checkpoints of a series.
        arithmetic: how the numbers came about, line by line.
    """

    where: str
    shape: Shape
    stages: tuple[Stage, ...]
    seconds: tuple[float, ...]
    start_seconds: float
    memory: float
    disk: float
    download: float
    times: int = 1
    arithmetic: tuple[str, ...] = field(default=())

    @property
    def flops(self) -> float:
        """Of all stages and checkpoints."""
        return self.times * self.shape.forward_flops * sum(stage.forwards(self.shape) for stage in self.stages)

    @property
    def total_seconds(self) -> float:
        """Of all stages and checkpoints."""
        return self.start_seconds + self.times * sum(self.seconds)

    def as_record(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {**asdict(self), "flops": self.flops, "total_seconds": self.total_seconds}
