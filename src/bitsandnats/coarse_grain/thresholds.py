"""Rounding for rate and distortion again and again, under the distribution of the symbols of the time before."""

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

Flat = Float32[Tensor, " n"]

_ENTRIES = 64  # magnitudes from the last on have its bits


class Thresholds:
    r"""Whole numbers k that make $\tfrac12h(w-k\Delta)^2+\lambda\,\mathrm{bits}(k)$ small, as `rounding.cheapest`.

    For arrays that are rounded at every step of a descent: in few passes over flat float32 arrays, and most of them over
    those numbers alone that do not go to zero by themselves. Bits are those of the distributions of the last rounding.
    Checked against `cheapest` in `tests/truth/test_coarse_grain.py`.

    Args:
        steps: ½hΔ² of each number.
        owner: which array each number belongs to.
        price: λ, nats a bit.
        about: the values at first, in units of their spacings; none will be more than 1 away.
        before: an earlier rounding, to begin with.
    """

    def __init__(self, steps: Flat, owner: Int64[Tensor, " n"], price: float, about: Flat, before: Flat) -> None:
        self._steps, self._price = steps, price
        self._arrays = int(owner.max()) + 1
        largest = max(float(about.abs().max()), float(before.abs().max())) + 1
        self._entries = min(_ENTRIES, int(largest) + 2)
        self._offsets = owner * self._entries
        self._sizes = torch.bincount(owner, minlength=self._arrays).double()[:, None]
        self._most = (self._sizes + 1).log2()
        self._magnitudes = torch.arange(self._entries, dtype=torch.float64)
        some = before.nonzero().squeeze(1)
        self._counts = self._counted(before[some].abs(), self._offsets[some])

    def rounded(self, values: Flat) -> Flat:
        """Values in units of their spacings, rounded."""
        saved, at_zero = self._bits()
        nearest = values.round()
        some = nearest.nonzero().squeeze(1)  # the others stay at zero
        own, near, steps, offsets = values[some], nearest[some].abs_(), self._steps[some], self._offsets[some]
        size = own.abs()
        error = size - near
        places = near.clamp(max=self._entries - 1).long().add_(offsets)
        by_step = error.mul(2).add_(1).mul_(steps).sub_(saved[places])
        by_zero = size.square_().sub_(error.square_()).mul_(steps).sub_(at_zero[places])
        near -= (by_step < 0).to(near.dtype)
        near.masked_fill_(by_zero < by_step.clamp_max_(0), 0.0)
        self._counts = self._counted(near, offsets)
        return nearest.zero_().index_copy_(0, some, near.copysign_(own))

    def _counted(self, sizes: Flat, offsets: Int64[Tensor, " n"]) -> Float64[Tensor, "array entry"]:
        """How often each magnitude occurs in each array; zeros are all that are not among the sizes, too."""
        places = sizes.clamp(max=self._entries - 1).long().add_(offsets)
        counts = torch.bincount(places, minlength=self._arrays * self._entries).double()
        counts = counts.reshape(self._arrays, self._entries)
        counts[:, :1] = self._sizes - counts[:, 1:].sum(1, keepdim=True)
        return counts

    def _bits(self) -> tuple[Float32[Tensor, " entry"], Float32[Tensor, " entry"]]:
        """Price of the bits of each magnitude of each array, less those of the magnitude below, and less those of 0."""
        counts = self._counts.clone()
        mean = ((counts @ self._magnitudes)[:, None] / self._sizes.clamp_min(1)).clamp_min_(1e-3)
        counts[:, 1:] /= 2  # either sign
        prior = (mean / (1 + mean)) ** self._magnitudes / (1 + 2 * mean) + 1e-9
        bits = self._price * (self._most - (counts + prior).log2())
        saved = torch.diff(bits, prepend=torch.full((self._arrays, 1), torch.inf))  # there is nothing before zero
        return saved.float().reshape(-1), (bits - bits[:, :1]).float().reshape(-1)
