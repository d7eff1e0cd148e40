"""The study's networks: two tasks of arithmetic in one network or in two halves, and a classifier of images."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor, nn

from bitsandnats import losses
from bitsandnats.experiments.images import Images, fashion
from bitsandnats.experiments.loss_kernel.plan import Classes, TwoTasks
from bitsandnats.experiments.small_networks import Net, as_module, train_stack
from bitsandnats.task import Task

_SEEDS = 1_000_000  # networks of one seed; those of another do not overlap


class Arithmetic(NamedTuple):
    """Items of both tasks.

    Attributes:
        inputs: a and b, one of p each, and the task, one of two.
        labels: a + b, or a · b, mod p.
        group: the task.
    """

    inputs: Float[Tensor, "item digit"]
    labels: Int64[Tensor, " item"]
    group: Int64[Tensor, " item"]


class Routed(nn.Module):
    """Two networks side by side; the last number of an input says which of them answers."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Logits, of the one or of the other."""
        return torch.where(x[:, -1:] > 0.5, self.second(x), self.first(x))


def arithmetic(modulus: int) -> Arithmetic:
    """Every pair of residues, once to be added and once to be multiplied."""
    first, second = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
    a, b = first.flatten().repeat(2), second.flatten().repeat(2)
    group = torch.arange(2).repeat_interleave(modulus**2)
    digits = [nn.functional.one_hot(v, count) for v, count in ((a, modulus), (b, modulus), (group, 2))]
    labels = torch.where(group == 0, a + b, a * b) % modulus
    return Arithmetic(torch.cat(digits, 1).float(), labels, group)


def shared_network(tasks: TwoTasks, seed: int, device: str = "cpu") -> Task:
    """One network trained on both tables, on the processor whatever the device is where it is then put."""
    items = arithmetic(tasks.modulus)
    whole = torch.ones(1, len(items.labels))
    nets = train_stack(tasks.recipe, items.inputs, items.labels, whole, [seed]).nets
    return _task(as_module(_one(nets, 0)), (items.inputs, items.labels), device)


def disjoint_network(tasks: TwoTasks, seed: int, device: str = "cpu") -> Task:
    """Two networks of half the width, each trained on its table alone, as one module."""
    items = arithmetic(tasks.modulus)
    own = torch.stack([items.group == task for task in (0, 1)]).float()
    half = tasks.recipe._replace(width=tasks.recipe.width // 2)
    nets = train_stack(half, items.inputs, items.labels, own, [seed + _SEEDS // 2, seed + _SEEDS // 2 + 1]).nets
    module = Routed(as_module(_one(nets, 0)), as_module(_one(nets, 1)))
    return _task(module.eval(), (items.inputs, items.labels), device)


def _task(module: nn.Module, data: tuple[Tensor, ...], device: str) -> Task:
    return Task.from_module(module.to(device), losses.cross_entropy(), tuple(t.to(device) for t in data))


class Classifier(NamedTuple):
    """A trained classifier and the images that its kernel is taken of.

    Attributes:
        task: on what it was trained on.
        inputs: test images, as many of each class as there are, in the order of the classes.
        accuracy: on all test images.
    """

    task: Task
    inputs: Images
    accuracy: float


def classifier(classes: Classes, seed: int, device: str = "cpu") -> Classifier:
    """A network trained on some images of Fashion-MNIST."""
    random = np.random.default_rng([seed, 4])
    train, test = fashion("train"), fashion("t10k")
    train = train.take(random.permutation(len(train))[: classes.train])
    chosen = [random.permutation(np.flatnonzero(test.labels.numpy() == c))[: classes.inputs // 10] for c in range(10)]
    nets = train_stack(classes.recipe, *train, torch.ones(1, len(train)), [seed]).nets
    net = _one(nets, 0)
    module = as_module(net)
    with torch.no_grad():
        accuracy = float((module(test.inputs).argmax(1) == test.labels).float().mean())
    task = _task(module, tuple(train), device)
    return Classifier(task, test.take(np.concatenate(chosen)), accuracy)


def accuracy(task: Task) -> float:
    """Share of the task's own items that the network gets right, by their loss: below ln 2 means more than half."""
    return float((task.all_item_losses(task.center, 4096) < np.log(2)).float().mean())


def pixel_kernel(inputs: Images) -> Float[ndarray, "image other"]:
    """Correlation of the pixels of each two images."""
    return np.corrcoef(inputs.inputs.double().numpy())


def seed_of(seed: int, model: int) -> int:
    """Of a network's first weights."""
    return _SEEDS * seed + 2 * model


def _one(nets: Net, place: int) -> Net:
    return Net(*(w[place] for w in nets))
