"""Cross-entropy of a linear map's outputs, a few rows at a time: the logits never exist as a whole."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_NUMBERS = {"cpu": 1 << 22, "cuda": 1 << 26}  # logits at a time


def linear_cross_entropy(
    hidden: Float[Tensor, "row width"],
    weight: Float[Tensor, "vocabulary width"],
    bias: Float[Tensor, " vocabulary"] | None,
    labels: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    r"""$-\log\mathrm{softmax}(Wh_i+b)_{y_i}$ of each row i, nats, in the precision of autocast where that is on.

    The gradient is made along with the losses, as if all of them were summed, and scaled afterwards: so it costs no
    more products than that of the plain formula. Where the losses are weighted unequally later on, or differentiated
    twice, the logits are made once more. Checked against the plain formula in `tests/hf/test_linear_cross_entropy.py`.

    Args:
        hidden: h, what the last map reads.
        weight: W.
        bias: b, or None.
        labels: y, the right answers.
    """
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (hidden, weight, bias))
    return _Function.apply(hidden, weight, bias, labels, wanted)  # type: ignore[no-any-return]


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, wanted: bool) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias, labels)
        losses, ctx.unit_gradient = _chunks(hidden, weight, bias, labels, wanted)
        return losses

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels = ctx.saved_tensors
        scale = outer[0]
        made, ctx.unit_gradient = ctx.unit_gradient, None  # scaled in place, so good for one use
        if made is not None and not torch.is_grad_enabled() and bool((scale == scale[0]).all()):
            rows, columns, offsets = (None if g is None else g.mul_(scale[0].to(g.dtype)) for g in made)
            return rows, columns, offsets, None, None
        inputs = [t for t in (hidden, weight, bias) if t is not None and t.requires_grad]
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            losses = _plain(hidden, weight, bias, labels)
        found = iter(torch.autograd.grad(losses, inputs, scale, create_graph=again))
        return (
            *(next(found) if t is not None and t.requires_grad else None for t in (hidden, weight, bias)),
            None,
            None,
        )


def _chunks(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, wanted: bool
) -> tuple[Tensor, tuple[Tensor | None, ...] | None]:
    """Losses, and the gradient of their sum where it is wanted."""
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    w, h = weight.detach().to(dtype), hidden.detach().to(dtype)
    losses: list[Tensor] = []
    rows = torch.empty_like(hidden) if wanted else None
    columns = torch.zeros_like(weight) if wanted else None
    offsets = None if bias is None or not wanted else torch.zeros_like(bias)
    size = max(_NUMBERS.get(kind, _NUMBERS["cuda"]) // len(weight), 16)
    with torch.autocast(kind, enabled=False):
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            own = labels[part, None]
            logits = h[part] @ w.t()
            logits = logits.float() if dtype in (torch.float16, torch.bfloat16) else logits
            if bias is not None:
                logits += bias.detach()
            total = logits.logsumexp(1, keepdim=True)
            losses.append((total - logits.gather(1, own)).squeeze(1))
            if rows is None or columns is None:
                continue
            excess = logits.sub_(total).exp_()  # softmax less the answer
            excess.scatter_add_(1, own, excess.new_full(own.shape, -1.0))
            if offsets is not None:
                offsets += excess.sum(0)
            excess = excess.to(dtype)
            rows[part] = excess @ w
            if columns.dtype == dtype:
                columns.addmm_(excess.t(), h[part])
            else:
                columns += excess.t() @ h[part]
    return torch.cat(losses), (rows, columns, offsets) if wanted else None


def _plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    logits = nn.functional.linear(hidden, weight, bias)
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return nn.functional.cross_entropy(logits, labels, reduction="none")
