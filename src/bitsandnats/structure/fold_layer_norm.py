"""Layer norms folded into the linear maps behind them: the same function, without their scale and shift."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bitsandnats.errors import ModelError, message
from bitsandnats.structure.dataflow import Dataflow, trace
from bitsandnats.structure.parts import is_norm, is_transposed, scales_and_shifts, weight_of

_TIED = "since the matrix behind is tied to the embeddings or to another one"
_NO_MAP = "since no linear map reads what they give, as with norms of queries and keys"
_OTHERS = "since something other than linear maps reads what they give"
_MIXED = "since a linear map behind reads something else too"
_NOT_LINEAR = "since the weight is not a plain factor"


@dataclass(frozen=True)
class Folded:
    """A model whose layer norms only normalise.

    Attributes:
        module: the folded copy.
        notes: what was folded and what was left, in words.
    """

    module: nn.Module
    notes: tuple[str, ...]


class _Plan(NamedTuple):
    """What becomes of each norm that has parameters: the linear maps to fold it into, or why it is left."""

    readers: dict[str, tuple[str, ...]]
    left: dict[str, str]


def fold_layer_norm(module: nn.Module) -> Folded:
    """A copy of a language model with each layer norm folded into the linear maps that read it.

    A norm (LayerNorm, RMSNorm) gives g⊙x̂ + b and a map W(g⊙x̂ + b) + c, which is (W diag g) x̂ + (Wb + c): exact up to
    rounding. Compression is told apart by it: unfolded, norm weights near 1 set the one range of a global quantizer.
    Which maps read which norm is seen in the data flow of one pass, so that no architecture need be known.
    Where a map had no bias, Wb becomes a bias that stays fixed (`requires_grad=False`), so that no new parameters
    move. A norm that cannot be folded keeps its parameters, and they become fixed: one in front of an output matrix
    that is tied to the embeddings, one that no linear map reads (of queries and keys), one that anything else reads
    too, and one whose weight is no plain factor.

    Args:
        module: a causal language model that is called with `input_ids`; not changed.

    Raises:
        ModelError: no such model, or one none of whose norms can be folded.

    Source: arXiv 2510.12077, appendix B. Checked by `tests/structure/test_fold_layer_norm.py` on every family.
    """
    plan = _plan(module)
    folded = copy.deepcopy(module)
    parts = dict(folded.named_modules())
    biases = []
    for norm, readers in plan.readers.items():
        biases += _fold(parts[norm], {name: parts[name] for name in readers})
    for norm in plan.left:
        parts[norm].requires_grad_(False)
    return Folded(folded, _notes(plan, biases))


def can_fold(module: nn.Module) -> bool:
    """Whether `fold_layer_norm` can fold any norm of the module."""
    try:
        _plan(module)
    except ModelError:
        return False
    return True


def _plan(module: nn.Module) -> _Plan:
    flow = trace(module)
    parts = {} if flow is None else dict(module.named_modules())
    norms = list(dict.fromkeys(call.name for call in flow.calls if call.kind == "norm")) if flow else []
    with_parameters = [name for name in norms if any(True for _ in parts[name].parameters())]
    readers, left = {}, {}
    for name in with_parameters:
        assert flow is not None
        maps, reason = _readers(flow, name, parts), ""
        if not maps:
            reason = _NO_MAP
        elif _others_read(flow, name):
            reason = _OTHERS
        elif not all(_reads_only(flow, linear, name) for linear in maps):
            reason = _MIXED
        elif not _alone(module, [weight_of(parts[linear]) for linear in maps]):
            reason = _TIED
        elif not scales_and_shifts(parts[name]):
            reason = _NOT_LINEAR
        if reason:
            left[name] = reason
        else:
            readers[name] = maps
    if not norms or (with_parameters and len(left) == len(norms)):
        kind = getattr(getattr(module, "config", None), "model_type", None)
        raise ModelError(
            message(
                expected="a language model (called with input_ids) with layer norms in front of linear maps",
                got=type(module).__name__ + (f" of type {kind}" if isinstance(kind, str) else ""),
                do="measure it without folding",
            )
        )
    return _Plan(readers, left)


def _readers(flow: Dataflow, norm: str, parts: dict[str, nn.Module]) -> tuple[str, ...]:
    """The linear maps that are given the norm's output as it is."""
    names = [c.name for c in flow.calls if c.verbatim is not None and flow.calls[c.verbatim].name == norm]
    return tuple(dict.fromkeys(name for name in names if not is_norm(parts[name])))


def _others_read(flow: Dataflow, norm: str) -> bool:
    """Whether the norm's output goes anywhere else: into a sum, an activation, a norm, the model's own output."""
    own = {i for i, call in enumerate(flow.calls) if call.name == norm}
    direct = [c for c in flow.calls if c.kind == "linear" and c.verbatim in own]
    others = [c.sources for c in flow.calls if not any(c is d for d in direct)]
    return any(own & sources for sources in (*others, flow.result))


def _reads_only(flow: Dataflow, linear: str, norm: str) -> bool:
    """Whether every call of a linear map reads that norm."""
    origins = [c.verbatim for c in flow.calls if c.name == linear]
    return all(i is not None and flow.calls[i].name == norm for i in origins)


def _alone(module: nn.Module, weights: Sequence[Tensor]) -> bool:
    """Whether none of the weights is used by another part of the module."""
    uses = Counter(id(p) for part in module.modules() for p in part.parameters(recurse=False))
    return all(uses[id(weight)] == 1 for weight in weights)


@torch.no_grad()
def _fold(norm: nn.Module, readers: dict[str, nn.Module]) -> list[str]:
    """Moves scale and shift of `norm` into linear maps, all of a private copy; names of biases that this made."""
    scale, shift = norm._parameters.get("weight"), norm._parameters.get("bias")
    made = []
    for name, linear in readers.items():
        weight = weight_of(linear)
        product = weight.double().T if is_transposed(linear) else weight.double()  # [outputs, inputs]
        if shift is not None:
            added = (product @ shift.double()).to(weight.dtype)
            if isinstance(linear.bias, Tensor):
                linear.bias.add_(added)
            else:
                linear.bias = nn.Parameter(added, requires_grad=False)
                made.append(f"{name}.bias")
        if scale is not None:
            scaled = product * scale.double()
            weight.copy_(scaled.T if is_transposed(linear) else scaled)
    for name, p in list(norm._parameters.items()):
        if p is not None and isinstance(norm, nn.LayerNorm | nn.RMSNorm):
            norm._parameters[name] = None  # their functions take None for 1 and 0
        elif p is not None:  # other norms multiply by their weight: a constant one, which is no parameter
            del norm._parameters[name]
            norm.register_buffer(name, torch.full_like(p, float(name == "weight")))
    return made


def _notes(plan: _Plan, biases: Sequence[str]) -> tuple[str, ...]:
    """What was done, in words."""
    count = len(plan.readers)
    norms = "layer norm" if count == 1 else "layer norms"
    notes = [f"{count} {norms} folded into the linear maps behind (function-preserving)"] if count else []
    if biases:
        which = f"of {biases[0]}" if len(biases) == 1 else f"of {len(biases)} linear maps, {biases[0]} the first,"
        notes.append(f"the shift {which} became a fixed bias, since the map had none")
    for reason in dict.fromkeys(plan.left.values()):
        left = [name for name, why in plan.left.items() if why == reason]
        which = left[0] if len(left) == 1 else f"{len(left)} norms, {left[0]} the first"
        notes.append(f"layer norms left as they are and fixed, {reason}: {which}")
    return tuple(notes)
