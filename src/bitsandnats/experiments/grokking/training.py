"""Several networks trained together, each on its own data and under its own regulariser, and kept now and then."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from bitsandnats._rng import generator
from bitsandnats.experiments.grokking.arithmetic import split, whole_table
from bitsandnats.experiments.grokking.networks import Network, fresh
from bitsandnats.experiments.grokking.stack import Entropy, Stack


class Regime(NamedTuple):
    """How a network is regularised.

    Attributes:
        name: in tables.
        decay: AdamW's weight decay.
        noise: σ of the weights at which gradients are taken.
        spectral: λ_s of the mean spectral entropy.
    """

    name: str
    decay: float
    noise: float = 0.0
    spectral: float = 0.0


class Recipe(NamedTuple):
    """What the runs of one training share.

    Attributes:
        operation: of the table.
        modulus: p.
        fraction: of the pairs, to train on.
        network: its shape.
        rate: AdamW's learning rate; its β are 0.9 and 0.98.
        batch_size: pairs a step; None = all.
        epochs: of training.
        entropy_every: steps that one decomposition of the matrices serves, for spectral entropy.
    """

    operation: str
    modulus: int
    fraction: float
    network: Network
    rate: float
    batch_size: int | None
    epochs: int
    entropy_every: int = 1


class Batches(NamedTuple):
    """Tables with a leading axis of runs."""

    inputs: Int64[Tensor, "run pair 4"]
    labels: Int64[Tensor, "run pair"]


class Kept(NamedTuple):
    """One training run, at the epochs at which it was looked at.

    Attributes:
        epochs: of training before each.
        train_loss, test_loss: nats a pair.
        train_accuracy, test_accuracy: shares.
        weights: one row an epoch.
    """

    epochs: tuple[int, ...]
    train_loss: Float[np.ndarray, " epoch"]
    test_loss: Float[np.ndarray, " epoch"]
    train_accuracy: Float[np.ndarray, " epoch"]
    test_accuracy: Float[np.ndarray, " epoch"]
    weights: Float[np.ndarray, "epoch parameter"]


def growing_epochs(most: int) -> tuple[int, ...]:
    """⌊1.3^k⌋ up to some epoch, each once."""
    found, k = set(), 0
    while (epoch := int(1.3**k)) <= most:
        found.add(epoch)
        k += 1
    return tuple(sorted(found))


def train(
    recipe: Recipe,
    runs: Sequence[tuple[Regime, int]],
    *,
    device: str = "cpu",
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[Kept]:
    """Trains one network a run, all of them in each step; a run's seed decides its data, first weights and batches.

    Args:
        recipe: what they share.
        runs: regime and seed of each.
        device: where all of it lives.
        told: of epochs done and in all.
    """
    module = recipe.network.build(recipe.modulus)
    stack = Stack(module)
    train_set, test_set = training_tables(recipe, [seed for _, seed in runs], device)
    rows = torch.stack([stack.layout.row(fresh(module, seed)) for _, seed in runs]).to(device).requires_grad_()
    step = stepper_of(stack, rows, recipe, runs)
    epochs, kept = growing_epochs(recipe.epochs), []
    orders = [np.random.default_rng([seed, 1]) for _, seed in runs]
    count = train_set.labels.shape[1]
    size = count if recipe.batch_size is None else min(recipe.batch_size, count)
    for epoch in range(1, epochs[-1] + 1):
        if size == count:
            step(train_set.inputs, train_set.labels)
        else:
            order = torch.from_numpy(np.stack([source.permutation(count) for source in orders])).to(device)
            inputs = torch.take_along_dim(train_set.inputs, order.unsqueeze(-1), 1)
            labels = torch.take_along_dim(train_set.labels, order, 1)
            for start in range(0, count, size):
                step(inputs[:, start : start + size], labels[:, start : start + size])
        if epoch == epochs[len(kept)]:
            scores = [*stack.scores(rows, *train_set), *stack.scores(rows, *test_set)]
            kept.append((*(s.cpu().numpy() for s in scores), rows.detach().cpu().numpy().copy()))
            told(epoch, epochs[-1])
    columns = [np.stack(column, axis=1) for column in zip(*kept, strict=True)]
    return [
        Kept(epochs, columns[0][i], columns[2][i], columns[1][i], columns[3][i], columns[4][i])
        for i in range(len(runs))
    ]


def training_tables(recipe: Recipe, seeds: Sequence[int], device: str) -> tuple[Batches, Batches]:
    """What each seed trains on and is tested on, with a leading axis of seeds.

    Args:
        recipe: operation, modulus and fraction.
        seeds: of the splits.
        device: where.
    """
    table = whole_table(recipe.operation, recipe.modulus)
    parts = [split(table, recipe.fraction, seed) for seed in seeds]
    stacked = []
    for own in zip(*parts, strict=True):
        inputs, labels = (torch.stack(tensors).to(device) for tensors in zip(*own, strict=True))
        stacked.append((inputs, labels))
    return Batches(*stacked[0]), Batches(*stacked[1])


def stepper_of(
    stack: Stack, rows: Tensor, recipe: Recipe, runs: Sequence[tuple[Regime, int]]
) -> Callable[[Tensor, Tensor], None]:
    """One step of AdamW for all rows, with the noise and the spectral entropy of those that have them.

    Args:
        stack: of the rows' network.
        rows: one network each; changed in place.
        recipe: rate, and how long a decomposition serves.
        runs: regime and seed of each row.
    """
    return _Stepper(stack, rows, recipe, runs).step


class _Stepper:
    """One step of AdamW for all rows, with the noise and the spectral entropy of those that have them."""

    def __init__(self, stack: Stack, rows: Tensor, recipe: Recipe, runs: Sequence[tuple[Regime, int]]) -> None:
        self._stack, self._rows, self._every, self._steps = stack, rows, recipe.entropy_every, 0
        regimes = [regime for regime, _ in runs]
        decays = [regime.decay for regime in regimes]
        alike = len(set(decays)) == 1  # if not, they are a pass of their own
        own = decays[0] if alike else 0.0
        self._optimizer = torch.optim.AdamW([rows], lr=recipe.rate, betas=(0.9, 0.98), weight_decay=own, fused=True)
        shrink = [[1 - recipe.rate * decay] for decay in decays]
        self._shrink = None if alike else torch.tensor(shrink, device=rows.device)
        self._noisy = {i: r.noise for i, r in enumerate(regimes) if r.noise}
        self._sources = {i: generator(runs[i][1], 0, "noise", rows.device) for i in self._noisy}
        spectral = [i for i, r in enumerate(regimes) if r.spectral]
        self._spectral = torch.tensor(spectral, dtype=torch.long, device=rows.device)
        self._scales = torch.tensor([[regimes[i].spectral] for i in spectral], device=rows.device)
        self._entropy = Entropy(stack.layout)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        at = self._rows
        if self._noisy:
            noise = torch.zeros_like(self._rows)
            for i, sigma in self._noisy.items():
                noise[i].normal_(generator=self._sources[i]).mul_(sigma)
            at = noise.add_(self._rows.detach()).requires_grad_()
        gradient = self._stack.gradient(at, inputs, labels)
        if len(self._spectral):
            own = at.detach()[self._spectral]
            if self._steps % self._every == 0:
                self._entropy.refresh(own)
            gradient.index_add_(0, self._spectral, self._entropy.gradient(own) * self._scales)
        if self._shrink is not None:
            with torch.no_grad():
                self._rows.mul_(self._shrink)
        self._rows.grad = gradient
        self._optimizer.step()
        self._steps += 1
