"""Reducers: associative folds over draws, so that parts of a run can be merged in any grouping."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bitsandnats.errors import InputError, message


class Reducer(NamedTuple):
    """What to keep of an observable.

    `init() -> state`; `update(state, value [chain, …]) -> state`; `merge(earlier, later) -> state`;
    `result(state) -> {suffix: tensor}`, where `trace` tensors have axes (chain, draw, …), the others (chain, …).
    """

    init: Callable[[], Any]
    update: Callable[[Any, Tensor], Any]
    merge: Callable[[Any, Any], Any]
    result: Callable[[Any], dict[str, Tensor]]


def trace() -> Reducer:
    """Keeps every draw."""
    return Reducer(list, _append, lambda a, b: [*a, *b], lambda kept: {"trace": torch.stack(kept, 1)})


def thin(every: int) -> Reducer:
    """Keeps the last of every `every` draws.

    Raises:
        InputError: `every` < 1.
    """
    if every < 1:
        raise InputError(message(expected="thin ≥ 1", got=str(every), do="give a positive number of draws"))

    def update(state: tuple[int, list[Tensor]], value: Tensor) -> tuple[int, list[Tensor]]:
        seen, kept = state
        return seen + 1, _append(kept, value) if (seen + 1) % every == 0 else kept

    def merge(a: tuple[int, list[Tensor]], b: tuple[int, list[Tensor]]) -> tuple[int, list[Tensor]]:
        if a[0] % every:
            raise InputError(
                message(
                    expected=f"parts of a multiple of {every} draws",
                    got=f"one of {a[0]}",
                    do="cut the run at multiples of thin",
                )
            )
        return a[0] + b[0], [*a[1], *b[1]]

    return Reducer(lambda: (0, []), update, merge, lambda state: {"trace": torch.stack(state[1], 1)})


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations, in float64."""

    count: int
    mean: Tensor | None
    squares: Tensor | None


def moments() -> Reducer:
    """Keeps the mean and the variance over draws of each chain (Chan et al.'s merge)."""
    return Reducer(lambda: Moments(0, None, None), _add_to_moments, merge_moments, _moments_result)


def _append(kept: list[Tensor], value: Tensor) -> list[Tensor]:
    kept.append(value.detach().cpu().clone())  # the fold owns its list: init makes a fresh one
    return kept


def _add_to_moments(state: Moments, value: Tensor) -> Moments:
    value = value.detach().double()
    return merge_moments(state, Moments(1, value, torch.zeros_like(value)))


def merge_moments(a: Moments, b: Moments) -> Moments:
    """The moments of both parts together."""
    if a.mean is None or a.squares is None:
        return b
    if b.mean is None or b.squares is None:
        return a
    count = a.count + b.count
    delta = b.mean - a.mean
    mean = a.mean + delta * (b.count / count)
    squares = a.squares + b.squares + delta.square() * (a.count * b.count / count)
    return Moments(count, mean, squares)


def _moments_result(state: Moments) -> dict[str, Tensor]:
    assert state.mean is not None
    assert state.squares is not None
    return {"mean": state.mean.cpu(), "variance": (state.squares / max(state.count - 1, 1)).cpu()}


def build(name: str) -> Reducer:
    """The reducer called `trace`, `moments` or `thin(k)`.

    Raises:
        InputError: no such reducer.
    """
    if name == "trace":
        return trace()
    if name == "moments":
        return moments()
    if name.startswith("thin(") and name.endswith(")") and name[5:-1].isdigit():
        return thin(int(name[5:-1]))
    raise InputError(message(expected="reducer trace, moments or thin(k)", got=repr(name), do="choose one"))
