"""Rounding for rate and distortion again and again, under the distribution of the symbols of some times before."""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

Flat = Float32[Tensor, " n"]

_ENTRIES = 64  # magnitudes from the last on have its bits
_RENEWED = 5  # roundings that one distribution serves: counting takes as long as rounding


class Thresholds:
    r"""Whole numbers k that make $\tfrac12h(w-k\Delta)^2+\lambda\,\mathrm{bits}(k)$ small, as `rounding.cheapest`.

    For arrays that are rounded at every step of a descent: in few passes over flat float32 arrays, by arithmetic alone,
    since masks and their indices take many times as long. Checked against `cheapest` in
    `tests/truth/test_coarse_grain.py`.

    Args:
        steps: ½hΔ² of each number.
        owner: which array each number belongs to.
        price: λ, nats a bit.
        about: the values at first, in units of their spacings; none will be more than 1 away.
        before: an earlier rounding, whose distributions say what each symbol takes at first.
    """

    def __init__(self, steps: Flat, owner: Int64[Tensor, " n"], price: float, about: Flat, before: Flat) -> None:
        self._steps, self._price = steps, price
        self._arrays = int(owner.max()) + 1
        largest = max(float(about.abs().max()), float(before.abs().max())) + 1
        self._entries = min(_ENTRIES, int(largest) + 2)
        self._offsets = owner * self._entries
        self._sizes = torch.bincount(owner, minlength=self._arrays).double().clamp_min(1)[:, None]
        self._most = (self._sizes + 1).log2()
        self._magnitudes = torch.arange(self._entries, dtype=torch.float64)
        self._saved, self._at_zero = self._bits(before.abs())
        self._served = 0

    def rounded(self, values: Flat) -> Flat:
        """Values in units of their spacings, rounded; now and then, new distributions."""
        size = values.abs()
        nearest = size.round()
        error = size - nearest
        places = self._places(nearest)
        by_step = torch.addcmul(self._steps, error, self._steps, value=2).sub_(self._saved.index_select(0, places))
        by_zero = size.add_(error).mul_(nearest).mul_(self._steps).sub_(self._at_zero.index_select(0, places))
        nearest += by_step.sign().clamp_max_(0)  # one less where that is cheaper
        by_zero -= by_step.clamp_max_(0)
        nearest *= by_zero.sign_().add_(1).clamp_max_(1)  # nothing where that is cheaper still
        self._served += 1
        if self._served == _RENEWED:
            self._saved, self._at_zero = self._bits(nearest)
            self._served = 0
        return nearest.copysign_(values)

    def _places(self, sizes: Flat) -> Int64[Tensor, " n"]:
        """Where magnitudes stand in the tables of their arrays."""
        return sizes.clamp(max=self._entries - 1).long().add_(self._offsets)

    def _bits(self, sizes: Flat) -> tuple[Float32[Tensor, " entry"], Float32[Tensor, " entry"]]:
        """Price of the bits of each magnitude of each array, less those of the magnitude below, and less those of 0."""
        counts = torch.bincount(self._places(sizes), minlength=self._arrays * self._entries).double()
        counts = counts.reshape(self._arrays, self._entries)
        mean = ((counts @ self._magnitudes)[:, None] / self._sizes).clamp_min_(1e-3)
        counts[:, 1:] /= 2  # either sign
        prior = (mean / (1 + mean)) ** self._magnitudes / (1 + 2 * mean) + 1e-9
        bits = self._price * (self._most - (counts + prior).log2())
        saved = torch.diff(bits, prepend=torch.full((self._arrays, 1), torch.inf))  # there is nothing before zero
        return saved.float().reshape(-1), (bits - bits[:, :1]).float().reshape(-1)
