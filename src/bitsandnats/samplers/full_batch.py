"""What the full-batch samplers share: all weights side by side, with the loss and gradient that were found there."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bitsandnats._types import Params
from bitsandnats.errors import InputError, message
from bitsandnats.samplers.types import Info
from bitsandnats.target import LocalPosterior


class Place(NamedTuple):
    """Where the chains are, and what the target says there, so that it need not be asked again.

    Attributes:
        position: the leaves, views of `weights`.
        weights: all leaves side by side.
        gradient: ∇L(w), likewise.
        item_losses: nats an item.
        loss: L(w), nats a unit.
    """

    position: Params
    weights: Float[Tensor, "chain parameter"]
    gradient: Float[Tensor, "chain parameter"]
    item_losses: Float[Tensor, "chain sample"]
    loss: Float[Tensor, " chain"]


class Surface(NamedTuple):
    """The energy U(w) = nβL(w) + ½γ‖w−w*‖² of flat weights, on all data.

    Attributes:
        target: the local posterior.
        center: w*, flat.
        slope: ∇L(w*), flat, where the target follows it.
    """

    target: LocalPosterior
    center: Float[Tensor, " parameter"]
    slope: Float[Tensor, " parameter"] | None

    def place(self, position: Params) -> Place:
        """The first place: a copy of `position` (leading chain axis), evaluated."""
        weights = torch.cat([w.flatten(1) for w in position.values()], dim=1)
        empty = weights.new_zeros(len(weights), 0)
        return self.evaluate(Place(_views(weights, position), weights, torch.empty_like(weights), empty, empty.sum(1)))

    def evaluate(self, place: Place) -> Place:
        """The same weights with loss and gradient found anew; the gradient is written in place."""
        found = self.target.evaluate(place.position, None)
        torch.cat([found.gradient[name].flatten(1) for name in place.position], dim=1, out=place.gradient)
        return place._replace(item_losses=found.item_losses, loss=found.loss)

    def force(self, place: Place, out: Tensor) -> Tensor:
        """∇U = nβ∇L + γ(w−w*), written to `out`."""
        torch.sub(place.weights, self.center, out=out)
        return out.mul_(self.target.gamma).add_(place.gradient, alpha=self.target.nbeta)

    def energy_change(self, before: Place, after: Place) -> Float[Tensor, " chain"]:
        """U(after) − U(before), nats, in float64: item by item, so that what they have in common cancels first."""
        losses = self.target.task.mean_loss(after.item_losses.double() - before.item_losses.double())
        moved = after.weights.double() - before.weights.double()
        middle = (after.weights.double() + before.weights.double()) / 2 - self.center.double()
        return self.target.nbeta * losses + self.target.gamma * torch.linalg.vecdot(moved, middle)

    def variate(self, place: Place) -> Float[Tensor, " chain"]:
        """C of a place, nats, see `Variate`."""
        assert self.target.variate is not None
        directions, shares = self.target.variate
        moved = place.weights - self.center
        along = torch.cat([moved, place.gradient]) @ directions.T  # both at once: the directions are read once
        d, g = along.double().chunk(2)
        return ((self.target.nbeta * g + self.target.gamma * d) * d - 1) @ shares.double() / 2

    def info(self, place: Place, own: dict[str, Tensor]) -> Info:
        """Info of a place; `own` are the sampler's own statistics."""
        if self.target.variate is not None:
            own = {**own, "variate": self.variate(place)}
        if self.target.statistics == "none":
            finite = torch.isfinite(place.loss) & torch.isfinite(place.weights).all(1)
            return Info(place.item_losses, place.loss, ~finite, own)
        d = place.weights - self.center
        pairs = {
            "distance_squared": (d, d),
            "displacement_gradient": (d, place.gradient),
            "gradient_squared": (place.gradient, place.gradient),
        }
        if self.slope is not None:
            pairs["displacement_slope"] = (d, self.slope.expand_as(d))
        sums = {name: torch.linalg.vecdot(left.double(), right.double()) for name, (left, right) in pairs.items()}
        finite = torch.isfinite(place.loss) & torch.isfinite(torch.stack(list(sums.values()))).all(0)
        return Info(place.item_losses, place.loss, ~finite, {**sums, **own})


def surface(target: LocalPosterior) -> Surface:
    """The target's energy as a function of flat weights.

    Raises:
        InputError: the weights are of several floating types, so that they cannot lie side by side.
    """
    center = list(target.task.center.values())
    kinds = sorted({str(w.dtype) for w in center})
    if len(kinds) > 1:
        raise InputError(
            message(
                expected="weights of one floating type for a full-batch sampler",
                got=" and ".join(kinds),
                do="cast the model with .float() or .double()",
            )
        )
    flat = torch.cat([w.flatten() for w in center])
    slope = None if target.slope is None else torch.cat([target.slope[name].flatten() for name in target.task.center])
    return Surface(target, flat, slope)


def beside(place: Place) -> Place:
    """A copy of a place in storage of its own."""
    weights = place.weights.clone()
    return place._replace(position=_views(weights, place.position), weights=weights, gradient=place.gradient.clone())


def _views(weights: Tensor, like: Params) -> Params:
    parts = weights.split([w[0].numel() for w in like.values()], dim=1)
    return {name: part.view(w.shape) for part, (name, w) in zip(parts, like.items(), strict=True)}


def accepted(accept: Tensor, before: Place, after: Place) -> Place:
    """Each chain where it ends: at `after` where `accept`, else at `before`, whose tensors are rewritten."""
    rows = accept[:, None]
    torch.where(rows, after.weights, before.weights, out=before.weights)
    torch.where(rows, after.gradient, before.gradient, out=before.gradient)
    return before._replace(
        item_losses=torch.where(rows, after.item_losses, before.item_losses),
        loss=torch.where(accept, after.loss, before.loss),
    )
