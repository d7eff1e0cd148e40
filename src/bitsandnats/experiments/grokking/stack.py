"""Several networks of one shape as the rows of one matrix: their losses, gradients and spectral entropies at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import vmap

from bitsandnats._functional import Model, places_of


class Layout(NamedTuple):
    """Where each parameter lies in a row.

    Attributes:
        shapes: by name, in order.
    """

    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, module: nn.Module) -> "Layout":
        """The layout of a module's parameters."""
        return cls({name: tuple(p.shape) for name, p in module.named_parameters()})

    def row(self, params: dict[str, Tensor]) -> Float[Tensor, " parameter"]:
        """Parameters one behind the other."""
        return torch.cat([params[name].flatten() for name in self.shapes])

    def params(self, row: Float[Tensor, "*run parameter"]) -> dict[str, Tensor]:
        """Views into a row, or into rows."""
        sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        parts = row.split(sizes, dim=-1)
        return {name: part.unflatten(-1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


class Stack:
    """Networks that share a module.

    Args:
        module: from `Network.build`.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layout = Layout.of(module)
        self._module, self._places = module, places_of(module)

        def logits(row: Tensor, inputs: Tensor) -> Tensor:
            return Model(module, self._places, self.layout.params(row))(inputs)

        def stacked(rows: Tensor, inputs: Tensor) -> Tensor:
            if len(rows) == 1:  # plain matrix products are faster than batches of one
                return logits(rows[0], inputs[0]).unsqueeze(0)
            return vmap(logits)(rows, inputs)

        self.logits: Callable[[Tensor, Tensor], Tensor] = stacked
        """Rows and inputs, each with a leading axis of runs -> logits of the same."""

    def losses(
        self,
        rows: Float[Tensor, "run parameter"],
        inputs: Int64[Tensor, "run sample 4"],
        labels: Int64[Tensor, "run sample"],
    ) -> Float[Tensor, " run"]:
        """Mean cross-entropy of each network on its own batch, nats."""
        logits = self.logits(rows, inputs)
        found = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return found.view(labels.shape).mean(1)

    def gradient(
        self,
        rows: Float[Tensor, "run parameter"],
        inputs: Int64[Tensor, "run sample 4"],
        labels: Int64[Tensor, "run sample"],
    ) -> Float[Tensor, "run parameter"]:
        """Gradient of each network's mean cross-entropy, nats a unit of weight."""
        if len(rows) > 1:
            return torch.autograd.grad(self.losses(rows, inputs, labels).sum(), rows)[0]
        params = {name: p.requires_grad_() for name, p in self.layout.params(rows[0].detach()).items()}
        found = nn.functional.cross_entropy(Model(self._module, self._places, params)(inputs[0]), labels[0])
        return torch.cat([g.flatten() for g in torch.autograd.grad(found, list(params.values()))]).unsqueeze(0)

    @torch.no_grad()
    def scores(
        self,
        rows: Float[Tensor, "run parameter"],
        inputs: Int64[Tensor, "run sample 4"],
        labels: Int64[Tensor, "run sample"],
    ) -> tuple[Float[Tensor, " run"], Float[Tensor, " run"]]:
        """Mean cross-entropy and share of right answers of each network, from blocks of samples."""
        losses, right = [], []
        for start in range(0, labels.shape[1], _BLOCK):
            part, own = inputs[:, start : start + _BLOCK], labels[:, start : start + _BLOCK]
            logits = self.logits(rows, part)
            found = nn.functional.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none")
            losses.append(found.view(own.shape))
            right.append((logits.argmax(-1) == own).float())
        return torch.cat(losses, 1).mean(1), torch.cat(right, 1).mean(1)


_BLOCK = 4096


class Entropy:
    r"""The gradient of the mean spectral entropy of each network's matrices, for all networks at once.

    Of $H=-\sum\bar\sigma\ln\bar\sigma$ it is $U\,\mathrm{diag}(h')V^\top=[U\,\mathrm{diag}(h'/\sigma)U^\top]W=SW$, with
    U and σ from the eigenvectors of $WW^\top$ in float64: matrices of one size in one decomposition, and no V. S may
    serve several steps; the W that it is multiplied with is always the present one.
    Checked against `regularisers.spectral_entropy` in `tests/experiments/test_grokking_training.py`.

    Args:
        layout: of the rows.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._names = [name for name, shape in layout.shapes.items() if len(shape) == 2 and min(shape) > 1]
        self._slopes: dict[str, Tensor] = {}

    def refresh(self, rows: Float[Tensor, "run parameter"]) -> None:
        """S at these weights."""
        params = self._layout.params(rows.detach())
        grams = {name: _gram(params[name].double()) for name in self._names}
        by_size: dict[int, list[str]] = {}
        for name, gram in grams.items():
            by_size.setdefault(gram.shape[-1], []).append(name)
        for names in by_size.values():
            values, vectors = torch.linalg.eigh(torch.stack([grams[name] for name in names]))
            sigma = values.clamp_min(0).sqrt()
            most = torch.tensor([max(self._layout.shapes[name]) for name in names]).to(sigma)
            floor = sigma.amax(-1, keepdim=True) * most.view(-1, 1, 1) * torch.finfo(rows.dtype).eps
            kept = sigma > floor
            sigma = torch.where(kept, sigma, 1.0)
            total = (sigma * kept).sum(-1, keepdim=True)
            share = sigma / total
            entropy = -(share * share.log() * kept).sum(-1, keepdim=True)
            slope = torch.where(kept, -(share.log() + entropy) / total / sigma, 0.0)
            products = (vectors * slope.unsqueeze(-2)) @ vectors.transpose(-1, -2)
            self._slopes.update(zip(names, products.to(rows.dtype).unbind(0), strict=True))

    def gradient(self, rows: Float[Tensor, "run parameter"]) -> Float[Tensor, "run parameter"]:
        """∂(mean H)/∂row, by the S of the last `refresh`."""
        params = self._layout.params(rows.detach())
        parts = []
        for name, w in params.items():
            if name in self._slopes:
                slope, wide = self._slopes[name], w.shape[-2] <= w.shape[-1]
                parts.append((slope @ w if wide else w @ slope).flatten(1) / len(self._names))
            else:
                parts.append(torch.zeros_like(w).flatten(1))
        return torch.cat(parts, 1)


def _gram(w: Tensor) -> Tensor:
    """The smaller of WWᵀ and WᵀW."""
    return w @ w.transpose(-1, -2) if w.shape[-2] <= w.shape[-1] else w.transpose(-1, -2) @ w
