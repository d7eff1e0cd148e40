"""Rounding for rate and distortion again and again, under the distribution of the symbols of the time before."""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

Flat = Float32[Tensor, " n"]

_ENTRIES = 64  # magnitudes from the last on have its bits


class Thresholds:
    r"""Whole numbers k that make $\tfrac12h(w-k\Delta)^2+\lambda\,\mathrm{bits}(k)$ small, as `rounding.cheapest`.

    For arrays that are rounded at every step of a descent: everything in few passes over flat float32 arrays.
    Checked against `cheapest` in `tests/truth/test_coarse_grain.py`.

    Args:
        steps: ½hΔ² of each number.
        owner: which array each number belongs to.
        price: λ, nats a bit.
    """

    def __init__(self, steps: Flat, owner: Int64[Tensor, " n"], price: float) -> None:
        self._steps, self._price = steps, price
        self._arrays = int(owner.max()) + 1
        self._offsets = owner * _ENTRIES
        self._sizes = torch.bincount(owner, minlength=self._arrays).double().clamp_min(1)[:, None]
        self._magnitudes = torch.arange(_ENTRIES, dtype=torch.float64)

    def rounded(self, values: Flat, before: Flat) -> Flat:
        """Values in units of their spacings, rounded.

        Args:
            values: unrounded.
            before: an earlier rounding, whose distributions say what each symbol takes.
        """
        saved, at_zero = self._bits(before)
        size = values.abs()
        nearest = size.round()
        error = size - nearest
        places = nearest.clamp(max=_ENTRIES - 1).long().add_(self._offsets)
        by_step = error.mul(2).add_(1).mul_(self._steps).sub_(saved[places])
        by_zero = size.square_().sub_(error.square_()).mul_(self._steps).sub_(at_zero[places])
        found = nearest - (by_step < 0).to(nearest.dtype)
        found.masked_fill_(by_zero < by_step.clamp_max_(0), 0.0)
        return found.copysign_(values)

    def _bits(self, symbols: Flat) -> tuple[Float32[Tensor, " entry"], Float32[Tensor, " entry"]]:
        """Price of the bits of each magnitude of each array, less those of the magnitude below, and less those of 0."""
        places = symbols.abs().clamp_(max=_ENTRIES - 1).long().add_(self._offsets)
        counts = torch.bincount(places, minlength=self._arrays * _ENTRIES).double().reshape(self._arrays, _ENTRIES)
        mean = ((counts * self._magnitudes).sum(1, keepdim=True) / self._sizes).clamp_min(1e-3)
        counts[:, 1:] /= 2  # either sign
        prior = (mean / (1 + mean)) ** self._magnitudes / (1 + 2 * mean) + 1e-9
        bits = self._price * ((self._sizes + 1).log2() - (counts + prior).log2())
        saved = torch.diff(bits, prepend=torch.full((self._arrays, 1), torch.inf))  # there is nothing before zero
        return saved.float().reshape(-1), (bits - bits[:, :1]).float().reshape(-1)
