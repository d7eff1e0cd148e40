"""What is looked at while chains run: an observable, what is kept of it, and how often."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from bitsandnats import observables
from bitsandnats._types import Params
from bitsandnats.observables import reducers
from bitsandnats.observables.reducers import Reducer


class Watch(NamedTuple):
    """An observable and its reducer.

    Attributes:
        look: (center, position) -> [chain, …].
        keep: what is kept of it.
        every: draws between looks; the first look is at the last of the first `every` draws.
    """

    look: Callable[[Params, Params], Tensor]
    keep: Reducer
    every: int = 1


Observables = Mapping[str, "str | Watch"]
"""By name: a reducer's name for an observable of the registry, or a watch of one's own."""


class Watching:
    """The watches of one group of chains and what they have kept."""

    def __init__(self, watched: Observables) -> None:
        self._watches = {
            name: Watch(observables.registry.build(name), reducers.build(kind)) if isinstance(kind, str) else kind
            for name, kind in watched.items()
        }
        self._states: dict[str, Any] = {name: watch.keep.init() for name, watch in self._watches.items()}
        self._draws = 0

    def look(self, center: Params, position: Params) -> None:
        """Takes in one draw."""
        self._draws += 1
        for name, watch in self._watches.items():
            if self._draws % watch.every == 0:
                self._states[name] = watch.keep.update(self._states[name], watch.look(center, position))

    def results(self) -> dict[str, dict[str, Tensor]]:
        """What is kept so far, by name and kind."""
        return {name: watch.keep.result(self._states[name]) for name, watch in self._watches.items()}
