"""LocalPosterior: the tempered, localised density. Temperature exists here and nowhere else."""

import functools
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from bitsandnats._tree import map_batch, tensors
from bitsandnats._types import Batch, Params
from bitsandnats.precision import Precision, computing
from bitsandnats.target.graphs import Graphs
from bitsandnats.task import Task


class Evaluation(NamedTuple):
    """The target at one position a chain, all from the same weights and batch.

    Attributes:
        item_losses: loss of each item, nats an item.
        loss: L_B(w), nats a unit.
        gradient: ∇L_B(w) by parameter name, a leading chain axis on each.
    """

    item_losses: Float[Tensor, "chain sample"]
    loss: Float[Tensor, " chain"]
    gradient: Params


class Variate(NamedTuple):
    r"""A statistic whose mean is exactly 0: $C=\tfrac12\sum_is_i[(v_i\cdot\nabla U)(v_i\cdot(w-w^*))-1]$, nats.

    Attributes:
        directions: v_i, orthonormal, the leaves side by side.
        shares: s_i, what the loss has of the stiffness in each.
    """

    directions: Float[Tensor, "direction parameter"]
    shares: Float[Tensor, " direction"]


@dataclass(frozen=True)
class LocalPosterior:
    r"""The density $p(w)\propto\exp\{-n\beta L(w)-\tfrac\gamma2\lVert w-w^*\rVert^2\}$ around a task's center.

    Its negative log-density is $U(w;B)=n\beta L_B(w)+\tfrac\gamma2\lVert w-w^*\rVert^2$, with gradient
    $n\beta\,g+\gamma(w-w^*)$, $g=\nabla L_B$. Positions carry a leading chain axis.

    Attributes:
        task: data, loss and center w*.
        nbeta: nβ.
        gamma: γ.
        mode: `loop` evaluates chains one by one, `vmap` all at once; a chain's numbers do not depend on its group.
        micro_batch: items a forward pass at most; None = the whole batch.
        slope: ∇L(w*), where its part in the estimate is to be followed; of any type.
        slope_scale: what `slope` is to be multiplied with.
        statistics: `step`: samplers sum d·d, d·g, g·g and d·slope, d = w−w*, on their way; `none`: they do not.
        gradient: `plain`: ∇L_B(w); `control`: ∇L_B(w) − ∇L_B(w*) + ∇L(w*), with `slope` over all data, which takes the
            noise of batches at w* out of every step for one more evaluation.
        variate: statistic of known mean that samplers with accept/reject follow; None = none.
        precision: of the products behind the gradient; the loss is computed as `task.loss` says, see `precision`.
        compile: samplers may run what they do to weights through `torch.compile`; `task.loss` is compiled or not.
    """

    task: Task
    nbeta: float
    gamma: float
    mode: Literal["loop", "vmap"] = "loop"
    micro_batch: int | None = None
    slope: Params | None = None
    slope_scale: float = 1.0
    statistics: Literal["step", "none"] = "step"
    gradient: Literal["plain", "control"] = "plain"
    variate: Variate | None = None
    precision: Precision = "float32"
    compile: bool = False
    _graphs: Graphs = field(default_factory=Graphs, init=False, repr=False, compare=False)

    def evaluate(self, position: Params, batch: Batch | None) -> Evaluation:
        """Losses and gradient of L at `position`.

        Args:
            position: weights, each with a leading chain axis.
            batch: items with axes (chain, sample, …); None = all data, the same for every chain.
        """
        found = self._evaluate(position, batch)
        if self.gradient == "plain" or batch is None:
            return found
        assert self.slope is not None
        chains = len(found.loss)
        center = {name: w.expand(chains, *w.shape) for name, w in self.task.center.items()}
        there = self._evaluate(center, batch).gradient
        return found._replace(gradient={k: g - there[k] + self.slope[k] for k, g in found.gradient.items()})

    def _evaluate(self, position: Params, batch: Batch | None) -> Evaluation:
        if self.mode == "vmap":
            return self._evaluate_vmap(position, batch)
        chains = len(next(iter(position.values())))
        parts = []
        for c in range(chains):
            leaves = {name: w[c].detach().requires_grad_() for name, w in position.items()}
            own = None if batch is None else map_batch(lambda t, c=c: t[c], batch)
            parts.append(self._evaluate_one(leaves, own))
        if chains == 1:  # no copy of the gradient
            losses, loss, gradient = parts[0]
            return Evaluation(losses[None], loss[None], {k: g[None] for k, g in gradient.items()})
        return Evaluation(
            torch.stack([p[0] for p in parts]),
            torch.stack([p[1] for p in parts]),
            {name: torch.stack([p[2][name] for p in parts]) for name in position},
        )

    def _evaluate_one(self, leaves: Params, batch: Batch | None) -> tuple[Tensor, Tensor, Params]:
        items = len(self.task.data) if batch is None else len(tensors(batch)[0])
        losses: list[Tensor] = []
        scale = 1 / (items * self.task.mean_weight)
        for start, stop in _chunks(items, self.micro_batch):
            part = self._slice(batch, start, stop)
            with torch.enable_grad():
                own = self.task.item_losses(leaves, part)
                value = own.sum() * scale
            if value.requires_grad:
                with computing(self.precision, value.device):
                    # into the leaves' own `.grad`: parts are added as they come, so that there is one array of them
                    torch.autograd.backward(value, inputs=list(leaves.values()))
            losses.append(own.detach())
        item_losses = torch.cat(losses) if len(losses) > 1 else losses[0]
        gradient = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in leaves.items()}
        return item_losses, self.task.mean_loss(item_losses), gradient

    def _evaluate_vmap(self, position: Params, batch: Batch | None) -> Evaluation:
        chains = len(next(iter(position.values())))
        if chains == 1:  # some kernels round differently for one: a chain's numbers must not depend on its group
            pair = self._evaluate_vmap(
                {name: w.expand(2, *w.shape[1:]) for name, w in position.items()},
                None if batch is None else map_batch(lambda t: t.expand(2, *t.shape[1:]), batch),
            )
            return Evaluation(pair.item_losses[:1], pair.loss[:1], {k: g[:1] for k, g in pair.gradient.items()})
        names, shared = list(position), batch is None
        batch = self._slice(batch, 0, len(self.task.data)) if batch is None else batch

        evaluated = functools.partial(self._all_chains, names, None if shared else 0)
        weights = list(position.values())
        plain = self.precision == "float32"  # other precisions are set by switches that a trace does not hold
        losses, loss, *gradient = self._graphs.run(evaluated, weights, batch) if plain else evaluated(weights, batch)
        return Evaluation(losses, loss, dict(zip(names, gradient, strict=True)))

    def _all_chains(
        self, names: list[str], batch_axis: int | None, weights: list[Tensor], batch: Batch
    ) -> tuple[Tensor, ...]:
        """Losses of the items, of the chains, and gradients by name, at weights with a leading chain axis."""
        leaves = [w.detach().requires_grad_() for w in weights]
        params = dict(zip(names, leaves, strict=True))
        with torch.enable_grad():
            losses = vmap(self.task.item_losses, in_dims=(0, batch_axis))(params, batch)
            loss = self.task.mean_loss(losses)
            with computing(self.precision, loss.device):
                gradient = torch.autograd.grad(loss.sum(), leaves, materialize_grads=True)
        return losses.detach(), loss.detach(), *gradient

    def _slice(self, batch: Batch | None, start: int, stop: int) -> Batch:
        if batch is None:
            return self.task.batch(torch.arange(start, stop))
        return batch if (start, stop) == (0, len(tensors(batch)[0])) else map_batch(lambda t: t[start:stop], batch)


def _chunks(items: int, size: int | None) -> list[tuple[int, int]]:
    size = items if size is None else size
    return [(start, min(start + size, items)) for start in range(0, items, size)]
